import type { Registers } from './registers.ts';

const EINTR = -4n;
/** "Restart the call unless a handler runs" (include/linux/errno.h): what the kernel itself uses for pause and select. */
const ERESTARTNOHAND = -514n;
/** Results of an interrupted call that the kernel turns into a restart before the thread runs on. */
const RESTART_CODES: ReadonlySet<bigint> = new Set([-512n, -513n, ERESTARTNOHAND, -516n]);

/**
 * Calls that end with EINTR when a stop interrupts them, though no signal handler ran (signal(7), "Interruption of
 * system calls by stop signals"), by their numbers on x86-64: read (of inotify), semop, semtimedop, rt_sigtimedwait,
 * io_getevents, io_pgetevents, epoll_wait, epoll_pwait, epoll_pwait2, and accept, recvfrom, recvmsg and accept4 with
 * a timeout. An EINTR of theirs means that nothing was done.
 */
const INTERRUPTED_BY_STOPS: ReadonlySet<bigint> = new Set([
  0n,
  43n,
  45n,
  47n,
  65n,
  128n,
  208n,
  220n,
  232n,
  281n,
  288n,
  333n,
  441n,
]);

/** The system call that the thread was stopped in, by its number; undefined if it ran its own code. */
export function interruptedCall(registers: Registers): number | undefined {
  if (registers.architecture.name !== 'x86_64') return undefined;
  const number = BigInt.asIntN(64, registers.get('orig_rax'));
  return number >= 0n && isRestart(registers) ? Number(number) : undefined;
}

/**
 * Has a call that our stop ended with EINTR start again, unless a signal handler runs first: the kernel decides that
 * when the thread goes on, as it does for calls that restart by themselves.
 * @returns whether the registers were changed
 */
export function restartable(registers: Registers): boolean {
  if (registers.architecture.name !== 'x86_64' || registers.result !== EINTR) return false;
  if (!INTERRUPTED_BY_STOPS.has(BigInt.asIntN(64, registers.get('orig_rax')))) return false;
  registers.result = ERESTARTNOHAND;
  return true;
}

/**
 * Registers with which a thread does by itself what the kernel does for one in `registers` as it leaves a stop: an
 * interrupted call is made again. A call with a remembered remainder (nanosleep, poll, futex with a timeout) begins
 * anew with the whole time, for only the kernel knows what is left.
 */
export function withRestartDone(registers: Registers): Registers {
  const copy = registers.copy();
  if (registers.architecture.name !== 'x86_64') return copy;
  const number = registers.get('orig_rax');
  if (BigInt.asIntN(64, number) < 0n || !isRestart(registers)) return copy;
  copy.set('rax', number);
  copy.set('rip', registers.instructionPointer - 2n);
  return copy;
}

function isRestart(registers: Registers): boolean {
  return RESTART_CODES.has(registers.result);
}
