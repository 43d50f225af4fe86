import { UnsupportedError } from '../../core/index.ts';
import type { MapsEntry } from '../../procfs/index.ts';
import type { Architecture } from './architecture.ts';

/** Addresses of instructions in the target's own code. */
export interface Gadgets {
  /** A system call, then a return: to the address on the stack (x86-64) or in x30 (aarch64). */
  readonly callAndReturn: bigint;
  /** Length of the system call instruction. */
  readonly callBytes: number;
  /** Calls rt_sigreturn. */
  readonly signalReturn: bigint;
}

/** Byte patterns of the two. */
interface Patterns {
  readonly callAndReturn: readonly number[];
  readonly callBytes: number;
  readonly signalReturn: readonly (readonly number[])[];
}

const PATTERNS: Readonly<Record<Architecture['name'], Patterns>> = {
  x86_64: {
    callAndReturn: [0x0f, 0x05, 0xc3],
    callBytes: 2,
    // mov $15, %rax or %eax; syscall
    signalReturn: [
      [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05],
      [0xb8, 0x0f, 0, 0, 0, 0x0f, 0x05],
    ],
  },
  aarch64: {
    // svc #0; ret
    callAndReturn: [0x01, 0, 0, 0xd4, 0xc0, 0x03, 0x5f, 0xd6],
    callBytes: 4,
    // mov x8, #139; svc #0
    signalReturn: [[0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4]],
  },
};

/** Code is read in pieces of this size: the C library has what is looked for near its beginning. */
const PIECE_BYTES = 1 << 17;
const PAGE_BYTES = 4096;

/**
 * Looks for the instructions that injected calls need in the executable mappings of a process: the C library and the
 * vDSO have them.
 * @param read reads memory: address, destination; returns bytes read
 * @throws UnsupportedError if the program has none
 */
export function findGadgets(
  architecture: Architecture,
  mappings: readonly MapsEntry[],
  read: (address: bigint, into: Uint8Array) => number,
): Gadgets {
  const patterns = PATTERNS[architecture.name];
  let callAndReturn: bigint | undefined;
  let signalReturn: bigint | undefined;
  const buffer = Buffer.alloc(PIECE_BYTES);
  for (const { startPage, endPage } of codeOf(mappings)) {
    const end = endPage * PAGE_BYTES;
    // Pieces overlap by the length of a pattern, so that none is cut in two.
    for (let start = startPage * PAGE_BYTES; start < end; start += PIECE_BYTES - 16) {
      const length = read(BigInt(start), buffer.subarray(0, Math.min(PIECE_BYTES, end - start)));
      const code = buffer.subarray(0, length);
      callAndReturn ??= addressIn(code, start, [patterns.callAndReturn]);
      signalReturn ??= addressIn(code, start, patterns.signalReturn);
      if (callAndReturn !== undefined && signalReturn !== undefined) {
        return { callAndReturn, callBytes: patterns.callBytes, signalReturn };
      }
    }
  }
  throw new UnsupportedError(
    'the program has no code that could make a system call for ckpt and return from it',
    {
      hint: 'dump it with --tracker compare, which needs no calls inside the target',
    },
  );
}

/** Whether instructions that were found before are still where they were. `read` as for `findGadgets`. */
export function gadgetsStand(
  architecture: Architecture,
  { callAndReturn, signalReturn }: Gadgets,
  read: (address: bigint, into: Uint8Array) => number,
): boolean {
  const patterns = PATTERNS[architecture.name];
  const stands = (address: bigint, pattern: readonly number[]) => {
    const code = Buffer.alloc(pattern.length);
    return read(address, code) === code.length && code.equals(Buffer.from(pattern));
  };
  return (
    stands(callAndReturn, patterns.callAndReturn) &&
    patterns.signalReturn.some((pattern) => stands(signalReturn, pattern))
  );
}

/** The mappings with code, those of the C library first: they have what is looked for. */
function codeOf(mappings: readonly MapsEntry[]): MapsEntry[] {
  const code = mappings.filter(({ read, execute, pathname }) => read && execute && pathname !== '[vsyscall]');
  const rank = ({ pathname }: MapsEntry) => (/\/(libc|ld-musl)[-.][^/]*$/.test(pathname) ? 0 : 1);
  return code.sort((left, right) => rank(left) - rank(right));
}

function addressIn(
  code: Buffer,
  start: number,
  patterns: readonly (readonly number[])[],
): bigint | undefined {
  for (const pattern of patterns) {
    const index = code.indexOf(Buffer.from(pattern));
    if (index >= 0) return BigInt(start + index);
  }
  return undefined;
}
