import type { DescMessage } from '@bufbuild/protobuf';
import { FILE_SCHEMA } from './schema-files.ts';
import { compileSchema } from './schema-language.ts';
import { MEMORY_SCHEMA } from './schema-memory.ts';
import { NAMESPACE_SCHEMA } from './schema-namespaces.ts';
import { TASK_SCHEMA } from './schema-tasks.ts';

/** First word of ordinary images; the magic of their kind follows (criu/include/magic.h). */
export const COMMON_MAGIC = 0x54564319;
/** First word of images that no restore needs: statistics, caches. */
export const SERVICE_MAGIC = 0x55105940;

/** Bytes behind an entry, which some of its fields count. */
export type PayloadRule =
  /** The sum of these fields, each so many bytes a unit. */
  | {
      readonly kind: 'counted';
      readonly fields: readonly string[];
      readonly unitBytes: number;
      readonly roundedTo: number;
    }
  /** As many messages as a field says, each with its length in front and so many bytes behind it. */
  | {
      readonly kind: 'messages';
      readonly count: string;
      readonly message: string;
      readonly field: string;
      readonly roundedTo: number;
    }
  /** The rest of the file, or, if a flag is set, entries of another kind with their payload. */
  | { readonly kind: 'rest'; readonly unless: string; readonly message: string; readonly field: string };

/** What an image file is, told by its magic. */
export interface ImageKind {
  /** As CRIU and crit name it: `PAGEMAP`. */
  readonly name: string;
  /** Message of the entries; undefined where their layout is not known here. */
  readonly message?: string;
  /** Message of the first entry, where that is another one. */
  readonly firstMessage?: string;
  /** Set for the inventory, which has no word in front of its magic. */
  readonly bare?: boolean;
  readonly payload?: PayloadRule;
}

const counted = (fields: readonly string[], roundedTo = 1, unitBytes = 1): PayloadRule => ({
  kind: 'counted',
  fields,
  unitBytes,
  roundedTo,
});

/** Kinds by the hexadecimal digits of their magic, which are a place on the map of Russia each. */
const KINDS: Readonly<Record<string, ImageKind>> = {
  58313116: { name: 'INVENTORY', message: 'inventory_entry', bare: true },
  50273030: { name: 'PSTREE', message: 'pstree_entry' },
  55053847: { name: 'CORE', message: 'core_entry' },
  57492820: { name: 'MM', message: 'mm_entry' },
  56084025: { name: 'PAGEMAP', message: 'pagemap_entry', firstMessage: 'pagemap_head' },
  54432030: { name: 'IDS', message: 'task_kobj_ids_entry' },
  56303138: { name: 'FILES', message: 'file_entry' },
  56213732: { name: 'FDINFO', message: 'fdinfo_entry' },
  51403912: { name: 'FS', message: 'fs_entry' },
  48453499: { name: 'MEMFD_INODE', message: 'memfd_inode_entry' },
  57093306: { name: 'STATS', message: 'stats_entry' },
  54123737: { name: 'VMAS', message: 'vma_entry' },
  54023547: { name: 'CREDS', message: 'creds_entry' },
  59383330: { name: 'CGROUP', message: 'cgroup_entry' },
  64413049: { name: 'SECCOMP', message: 'seccomp_entry' },
  55344201: { name: 'SIGACT', message: 'sa_entry' },
  57464056: { name: 'ITIMERS', message: 'itimer_entry' },
  52603957: { name: 'POSIX_TIMERS', message: 'posix_timer_entry' },
  57113925: { name: 'RLIMIT', message: 'rlimit_entry' },
  59255647: { name: 'SIGNAL', message: 'siginfo_entry' },
  50363636: { name: 'REG_FILES', message: 'reg_file_entry' },
  59255641: { name: 'EXT_FILES', message: 'ext_file_entry' },
  61394011: { name: 'NS_FILES', message: 'ns_file_entry' },
  56513555: { name: 'PIPES', message: 'pipe_entry' },
  56453709: { name: 'PIPES_DATA', message: 'pipe_data_entry', payload: counted(['bytes']) },
  58364939: { name: 'FIFO', message: 'fifo_entry' },
  59333054: { name: 'FIFO_DATA', message: 'pipe_data_entry', payload: counted(['bytes']) },
  54373943: { name: 'UNIXSK', message: 'unix_sk_entry' },
  56443851: { name: 'INETSK', message: 'inet_sk_entry' },
  60454618: { name: 'PACKETSK', message: 'packet_sock_entry' },
  58005614: { name: 'NETLINK_SK', message: 'netlink_sk_entry' },
  56264026: { name: 'SK_QUEUES', message: 'sk_packet_entry', payload: counted(['length']) },
  51465506: { name: 'TCP_STREAM', message: 'tcp_stream_entry', payload: counted(['inq_len', 'outq_len']) },
  44523722: { name: 'EVENTFD_FILE', message: 'eventfd_file_entry' },
  45023858: { name: 'EVENTPOLL_FILE', message: 'eventpoll_file_entry' },
  44433746: { name: 'EVENTPOLL_TFD', message: 'eventpoll_tfd_entry' },
  57323820: { name: 'SIGNALFD', message: 'signalfd_entry' },
  50493712: { name: 'TIMERFD', message: 'timerfd_entry' },
  48424431: { name: 'INOTIFY_FILE', message: 'inotify_file_entry' },
  54562009: { name: 'INOTIFY_WD', message: 'inotify_wd_entry' },
  55096122: { name: 'FANOTIFY_FILE', message: 'fanotify_file_entry' },
  56506035: { name: 'FANOTIFY_MARK', message: 'fanotify_mark_entry' },
  59433025: { name: 'TTY_FILES', message: 'tty_file_entry' },
  59453036: { name: 'TTY_INFO', message: 'tty_info_entry' },
  59413026: { name: 'TTY_DATA', message: 'tty_data_entry' },
  57143751: { name: 'TUNFILE', message: 'tunfile_entry' },
  54323616: { name: 'FILE_LOCKS', message: 'file_lock_entry' },
  59133954: { name: 'REMAP_FPATH', message: 'remap_file_path_entry' },
  52583605: {
    name: 'GHOST_FILE',
    message: 'ghost_file_entry',
    payload: { kind: 'rest', unless: 'chunks', message: 'ghost_chunk_entry', field: 'len' },
  },
  55563928: { name: 'MNTS', message: 'mnt_entry' },
  57373951: { name: 'NETDEV', message: 'net_device_entry' },
  55933752: { name: 'NETNS', message: 'netns_entry' },
  54473203: { name: 'UTSNS', message: 'utsns_entry' },
  55474906: { name: 'USERNS', message: 'userns_entry' },
  61157326: { name: 'PIDNS' },
  43114433: { name: 'TIMENS', message: 'timens_entry' },
  53115007: { name: 'IPC_VAR', message: 'ipc_var_entry' },
  46283044: { name: 'IPCNS_SHM', message: 'ipc_shm_entry', payload: counted(['size'], 4) },
  55453737: {
    name: 'IPCNS_MSG',
    message: 'ipc_msg_entry',
    payload: { kind: 'messages', count: 'qnum', message: 'ipc_msg', field: 'msize', roundedTo: 8 },
  },
  59573019: { name: 'IPCNS_SEM', message: 'ipc_sem_entry', payload: counted(['nsems'], 8, 2) },
  61404013: { name: 'CPUINFO', message: 'cpuinfo_entry' },
  67343323: { name: 'BINFMT_MISC', message: 'binfmt_misc_entry' },
  49353943: { name: 'AUTOFS', message: 'autofs_entry' },
  57506142: { name: 'BPFMAP_FILE', message: 'bpfmap_file_entry' },
  64324033: {
    name: 'BPFMAP_DATA',
    message: 'bpfmap_data_entry',
    payload: counted(['keys_bytes', 'values_bytes']),
  },
  59423047: { name: 'APPARMOR' },
  54435556: { name: 'PIDFD', message: 'pidfd_entry' },
  57004059: { name: 'IRMAP_CACHE', message: 'irmap_cache_entry' },
};

/** What a magic stands for; undefined for one that is not known here. */
export function imageKindOf(magic: number): ImageKind | undefined {
  return KINDS[magic.toString(16)];
}

let messages: ReadonlyMap<string, DescMessage> | undefined;

/** The layout of a message by its name in CRIU's sources. */
export function messageNamed(name: string): DescMessage {
  // Compiled when it is first asked for: most commands never do.
  messages ??= compileSchema(MEMORY_SCHEMA + TASK_SCHEMA + FILE_SCHEMA + NAMESPACE_SCHEMA);
  const found = messages.get(name);
  if (found === undefined) throw new RangeError(`no message is named ${name}`);
  return found;
}
