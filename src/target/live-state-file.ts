import type { BigIntStats } from 'node:fs';
import { parseDescriptorInfo } from '../procfs/index.ts';
import type { OpenFile, OpenFileKind } from './live-state-format.ts';
import type { RawFile } from './live-state-raw.ts';
import type { RawPipe } from './live-state-sharing.ts';

/** What the kernel calls files without a place in any file system (the argument of anon_inode_getfile). */
const ANONYMOUS_KINDS: Readonly<Record<string, OpenFileKind>> = {
  'anon_inode:[eventfd]': 'eventfd',
  'anon_inode:[eventpoll]': 'epoll',
  'anon_inode:[signalfd]': 'signalfd',
  'anon_inode:[timerfd]': 'timerfd',
  'anon_inode:inotify': 'inotify',
  'anon_inode:[userfaultfd]': 'userfaultfd',
  'anon_inode:[io_uring]': 'io_uring',
  'anon_inode:[pidfd]': 'pidfd',
};

/** Majors of terminals: tty and serial lines, the newer serial lines, pty slaves (Documentation/admin-guide/devices.txt). */
const TERMINAL_MAJORS: ReadonlySet<number> = new Set([4, 204, 188, 136, 137, 138, 139, 140, 141, 142, 143]);
/** /dev/tty and /dev/console; 5:2 is the multiplexer that masters of ptys come from. */
const TERMINALS: ReadonlySet<string> = new Set(['5:0', '5:1']);
const NULL_DEVICE = '1:3';
const DELETED = ' (deleted)';

/** Makes a record of a descriptor; undefined if fdinfo says nothing of it. */
export function describeFile(
  raw: RawFile,
  description: number | undefined,
  pipe: RawPipe | undefined,
): OpenFile | undefined {
  const info = parseDescriptorInfo(raw.info);
  if (info === undefined) return undefined;
  return {
    descriptor: raw.descriptor,
    path: raw.path,
    kind: kindOf(raw.path, raw.stat),
    deleted: raw.path.endsWith(DELETED),
    flags: info.flags,
    closeOnExec: info.closeOnExec,
    position: info.position,
    device: deviceOf(raw.stat),
    inode: String(raw.stat?.ino ?? 0),
    sizeBytes: Number(raw.stat?.size ?? 0),
    description: description ?? null,
    details: info.details,
    pipe:
      pipe === undefined
        ? null
        : { unread: Buffer.from(pipe.unread).toString('base64'), capacityBytes: pipe.capacityBytes },
  };
}

/** `254:1`: of a device its own numbers, else of the file system. */
export function deviceOf(stat: BigIntStats | undefined): string {
  if (stat === undefined) return '0:0';
  const isDevice = stat.isCharacterDevice() || stat.isBlockDevice();
  return deviceText(isDevice ? stat.rdev : stat.dev);
}

function kindOf(path: string, stat: BigIntStats | undefined): OpenFileKind {
  const anonymous = ANONYMOUS_KINDS[path];
  if (anonymous !== undefined) return anonymous;
  if (path.startsWith('pidfd:[')) return 'pidfd';
  if (stat === undefined) return 'other';
  if (stat.isFIFO()) return path.startsWith('pipe:[') ? 'pipe' : 'fifo';
  if (stat.isSocket()) return 'socket';
  if (stat.isDirectory()) return 'directory';
  if (stat.isCharacterDevice()) return characterKind(deviceOf(stat));
  if (stat.isBlockDevice()) return 'device';
  if (path.startsWith('/memfd:') && path.endsWith(DELETED)) return 'memfd';
  return stat.isFile() && path.startsWith('/') ? 'file' : 'other';
}

function characterKind(device: string): OpenFileKind {
  if (device === NULL_DEVICE) return 'null';
  const isTerminal = TERMINALS.has(device) || TERMINAL_MAJORS.has(Number.parseInt(device, 10));
  return isTerminal ? 'terminal' : 'device';
}

/** As glibc's gnu_dev_major and gnu_dev_minor unpack what stat gives. */
function deviceText(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xffff_f000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffff_ff00n);
  return `${major}:${minor}`;
}

/**
 * The terminal that stat names by the number of its device, as the kernel packs it there
 * (include/linux/kdev_t.h, new_encode_dev): `/dev/pts/3`; null for none.
 */
export function terminalPath(terminalNumber: number): string | null {
  if (terminalNumber === 0) return null;
  const major = (terminalNumber >>> 8) & 0xfff;
  const minor = (terminalNumber & 0xff) | ((terminalNumber >>> 12) & 0xfff00);
  if (major >= 136 && major <= 143) return `/dev/pts/${(major - 136) * 256 + minor}`;
  if (major === 4) return minor < 64 ? `/dev/tty${minor}` : `/dev/ttyS${minor - 64}`;
  return `device ${major}:${minor}`;
}
