import type { Native } from '../native/calls.ts';

const STANDARD_INPUT = 0;
/** Of terminals (include/uapi/asm-generic/ioctls.h): which process group may read. */
const GET_GROUP = 0x540f;
const SET_GROUP = 0x5410;
const SIG_BLOCK = 0;
const SIG_SETMASK = 2;
const SIGNAL_SET_BYTES = 8;
/** SIGTTOU, as a bit of a mask: what a background process gets that changes the terminal. */
const TERMINAL_OUTPUT = 1n << 21n;

/**
 * Puts a process group into the foreground of our terminal, as a shell does for a job, if we are there ourselves.
 * @returns what takes the terminal back
 */
export function lendTerminal(native: Native, ownGroup: number, group: number): () => void {
  if (group === ownGroup || foregroundGroup(native) !== ownGroup) return () => undefined;
  setForegroundGroup(native, group);
  return () => setForegroundGroup(native, ownGroup);
}

function foregroundGroup(native: Native): number | undefined {
  const group = new Int32Array(1);
  const bytes = new Uint8Array(group.buffer);
  const { errno } = native.tryCall('ioctl', STANDARD_INPUT, GET_GROUP, native.addressOf(bytes));
  return errno === undefined ? group[0] : undefined;
}

/** The terminal asks with SIGTTOU whether somebody in the background may; blocked, it lets us. */
function setForegroundGroup(native: Native, group: number): void {
  const before = new Uint8Array(8);
  const mask = new Uint8Array(BigUint64Array.of(TERMINAL_OUTPUT).buffer);
  const addresses = [native.addressOf(mask), native.addressOf(before)] as const;
  native.tryCall('rt_sigprocmask', SIG_BLOCK, addresses[0], addresses[1], SIGNAL_SET_BYTES);
  const wanted = new Uint8Array(Int32Array.of(group).buffer);
  native.tryCall('ioctl', STANDARD_INPUT, SET_GROUP, native.addressOf(wanted));
  native.tryCall('rt_sigprocmask', SIG_SETMASK, addresses[1], 0, SIGNAL_SET_BYTES);
}
