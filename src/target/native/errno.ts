import { constants } from 'node:os';
import { TargetError } from '../../core/index.ts';

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.errno).map(([name, value]) => [value, name]),
);

/** Errnos of 100 and more that Node does not list and that our calls can meet (include/uapi/asm-generic/errno.h). */
const MORE_NAMES: Readonly<Record<number, string>> = { 524: 'ENOTSUPP', 530: 'ENOIOCTLCMD' };

/** `EPERM` for 1; `errno 999` for a number without a name. */
export function errnoName(errno: number): string {
  return NAMES.get(errno) ?? MORE_NAMES[errno] ?? `errno ${errno}`;
}

/** What can be done about an errno of a call that looks into, or changes, another process. */
const HINTS: Readonly<Record<string, string>> = {
  EPERM:
    'run ckpt as root, or with CAP_SYS_PTRACE; where Yama restricts tracing see /proc/sys/kernel/yama/ptrace_scope; ' +
    'a process that is being traced already (strace, gdb) must be let go first',
  EACCES: 'run ckpt as root, or as the same user as the target with CAP_SYS_PTRACE',
  ESRCH: 'the process or thread has ended',
  ENOSYS: "this kernel lacks the system call; 'ckpt check' tells what works here",
  ENOMEM: 'memory or the number of mappings has run out (see /proc/sys/vm/max_map_count)',
  EMFILE: 'too many open files: raise the limit (ulimit -n)',
};

/** A system call that the kernel refused, ours or one made inside a target. */
export class SystemCallError extends TargetError {
  readonly errno: string;
  readonly call: string;

  /**
   * @param call what was called, for people: `ptrace SEIZE of thread 17`
   * @param errno its name: `EPERM`
   */
  constructor(call: string, errno: string, pid?: number) {
    const hint = HINTS[errno];
    super(`${call} failed: ${errno}`, {
      ...(hint === undefined ? {} : { hint }),
      data: { call, errno, ...(pid === undefined ? {} : { pid }) },
    });
    this.errno = errno;
    this.call = call;
  }
}
