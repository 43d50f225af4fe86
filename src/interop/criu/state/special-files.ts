import type { OpenFileKind } from '../../../target/index.ts';
import type { MessageFields } from '../images/messages.ts';
import { type FileRecord, PLAIN_FILE } from './file-record.ts';
import { signed } from './numbers.ts';

/** Fields of an entry FILES that are files of the kernel without a place in a file system. */
type SpecialField = 'efd' | 'epfd' | 'ify' | 'ffy' | 'sgfd' | 'tfd' | 'nsf' | 'tunf' | 'bpf' | 'pidfd';

interface SpecialKind {
  readonly kind: OpenFileKind;
  readonly path: string | ((file: MessageFields) => string);
  /** The lines of fdinfo, as the kernel prints them, but runs of blanks made one. */
  readonly details?: (file: MessageFields) => string[];
}

const KINDS: Readonly<Record<SpecialField, SpecialKind>> = {
  efd: {
    kind: 'eventfd',
    path: 'anon_inode:[eventfd]',
    details: (file) => [`eventfd-count: ${file.big('counter').toString(16)}`],
  },
  epfd: {
    kind: 'epoll',
    path: 'anon_inode:[eventpoll]',
    details: (file) => file.messages('tfd').map(watchedText),
  },
  ify: {
    kind: 'inotify',
    path: 'anon_inode:inotify',
    details: (file) => file.messages('wd').map(inotifyText),
  },
  ffy: { kind: 'other', path: 'anon_inode:[fanotify]' },
  sgfd: {
    kind: 'signalfd',
    path: 'anon_inode:[signalfd]',
    details: (file) => [`sigmask: ${file.big('sigmask').toString(16).padStart(16, '0')}`],
  },
  tfd: { kind: 'timerfd', path: 'anon_inode:[timerfd]', details: timerLines },
  nsf: {
    kind: 'other',
    path: (file) => `${namespaceName(file.number('ns_cflag'))}:[${file.number('ns_id')}]`,
  },
  tunf: { kind: 'device', path: '/dev/net/tun' },
  bpf: { kind: 'other', path: 'anon_inode:bpf-map' },
  pidfd: {
    kind: 'pidfd',
    path: 'anon_inode:[pidfd]',
    details: (file) => [`Pid: ${file.number('nspid')}`],
  },
};

/** CLONE_NEW* (include/uapi/linux/sched.h) by the names in /proc/PID/ns. */
const NAMESPACES: Readonly<Record<number, string>> = {
  128: 'time',
  131072: 'mnt',
  33554432: 'cgroup',
  67108864: 'uts',
  134217728: 'ipc',
  268435456: 'user',
  536870912: 'pid',
  1073741824: 'net',
};

/** A file that is not in any file system. */
export function describeSpecial(field: SpecialField, file: MessageFields): FileRecord {
  const { kind, path, details } = KINDS[field];
  return {
    ...PLAIN_FILE,
    path: typeof path === 'string' ? path : path(file),
    kind,
    flags: file.optionalNumber('flags') ?? 0,
    details: details?.(file) ?? [],
  };
}

function namespaceName(flag: number): string {
  return NAMESPACES[flag] ?? 'namespace';
}

/** fs/eventpoll.c, ep_show_fdinfo */
function watchedText(watched: MessageFields): string {
  const base = `tfd: ${watched.number('tfd')} events: ${watched.number('events').toString(16)} `;
  return `${base}data: ${watched.big('data').toString(16)}`;
}

/** fs/notify/fdinfo.c, inotify_fdinfo */
function inotifyText(watch: MessageFields): string {
  const digits = (field: string) => watch.big(field).toString(16);
  return `inotify wd:${digits('wd')} ino:${digits('i_ino')} sdev:${digits('s_dev')} mask:${digits('mask')}`;
}

/** fs/timerfd.c, timerfd_show */
function timerLines(timer: MessageFields): string[] {
  const pair = (seconds: string, nanoseconds: string) => `(${timer.big(seconds)}, ${timer.big(nanoseconds)})`;
  return [
    `clockid: ${signed(timer.number('clockid'))}`,
    `ticks: ${timer.big('ticks')}`,
    `settime flags: 0${timer.number('settime_flags').toString(8)}`,
    `it_value: ${pair('vsec', 'vnsec')}`,
    `it_interval: ${pair('isec', 'insec')}`,
  ];
}
