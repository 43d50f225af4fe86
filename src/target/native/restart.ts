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

/** restart_syscall on x86-64: goes on with what the kernel remembers of an interrupted call. */
const RESTART_SYSCALL = 219n;
const CALL_BYTES = 2;
/** mov $number, %eax; syscall */
const NUMBERED_CALL_BYTES = 7;

/**
 * Registers with which a thread that comes back through rt_sigreturn does by itself what the kernel does for one that
 * leaves a stop in `registers`: an interrupted call is made again. rt_sigreturn makes the kernel forget how much was
 * left of it (nanosleep, poll, futex with a timeout), so such a call begins anew with the whole time.
 * @param readCode bytes of the program before an address
 */
export function withRestartDone(
  registers: Registers,
  readCode: (address: bigint, length: number) => Uint8Array,
): Registers {
  const copy = registers.copy();
  if (registers.architecture.name !== 'x86_64') {
    // The first argument of the call, which its result has replaced, is not to be had there.
    if (isRestart(registers)) copy.result = EINTR;
    return copy;
  }
  const number = BigInt.asIntN(64, registers.get('orig_rax'));
  if (number >= 0n && isRestart(registers)) {
    copy.set('rax', number);
    copy.set('rip', registers.instructionPointer - BigInt(CALL_BYTES));
  }
  if (number >= 0n && copy.get('rax') === RESTART_SYSCALL) {
    const original = callNumberInCode(copy.instructionPointer, readCode);
    if (original !== undefined) copy.set('rax', original);
  }
  return copy;
}

/** The number that the code loads before the call at `address`: the kernel has put restart_syscall in its place. */
function callNumberInCode(
  address: bigint,
  readCode: (address: bigint, length: number) => Uint8Array,
): number | undefined {
  const code = readCode(address + BigInt(CALL_BYTES - NUMBERED_CALL_BYTES), NUMBERED_CALL_BYTES);
  if (code[0] !== 0xb8 || code[5] !== 0x0f || code[6] !== 0x05) return undefined;
  return new DataView(code.buffer, code.byteOffset).getUint32(1, true);
}

function isRestart(registers: Registers): boolean {
  return RESTART_CODES.has(registers.result);
}
