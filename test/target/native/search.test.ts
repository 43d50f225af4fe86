import { describe, expect, it } from 'vitest';
import { UnsupportedError } from '../../../src/core/index.ts';
import { parseMaps } from '../../../src/procfs/index.ts';
import { ARCHITECTURES } from '../../../src/target/native/architecture.ts';
import { findGadgets, gadgetsStand } from '../../../src/target/native/gadgets.ts';
import { abortAddress } from '../../../src/target/native/rseq.ts';
import { findScratch } from '../../../src/target/native/scratch.ts';

const CODE_START = 0x7f00_0000_0000;
const CODE_BYTES = 3 << 20;
const CODE = parseMaps('7f0000000000-7f0000300000 r-xp 00000000 00:00 7 /lib/libc.so.6\n');

/** A code mapping of 3 MiB with some bytes put into it. */
function codeWith(...patches: readonly (readonly [number, readonly number[]])[]) {
  const code = new Uint8Array(CODE_BYTES).fill(0x90);
  for (const [offset, bytes] of patches) code.set(bytes, offset);
  return (address: bigint, into: Uint8Array) => {
    const offset = Number(address) - CODE_START;
    const bytes = code.subarray(offset, offset + into.length);
    into.set(bytes);
    return bytes.length;
  };
}

const SYSCALL_RET = [0x0f, 0x05, 0xc3];
const MOV_RAX_15_SYSCALL = [0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05];

describe('the search for instructions', () => {
  it('finds both, also across the pieces in which code is read', () => {
    const border = (1 << 20) - 4;
    const read = codeWith([2_000_001, SYSCALL_RET], [border, MOV_RAX_15_SYSCALL]);
    expect(findGadgets(ARCHITECTURES.x86_64, CODE, read)).toEqual({
      callAndReturn: BigInt(CODE_START + 2_000_001),
      callBytes: 2,
      signalReturn: BigInt(CODE_START + border),
    });
  });

  it('finds those of aarch64', () => {
    const read = codeWith(
      [64, [0x01, 0, 0, 0xd4, 0xc0, 0x03, 0x5f, 0xd6]],
      [128, [0x68, 0x11, 0x80, 0xd2, 0x01, 0, 0, 0xd4]],
    );
    expect(findGadgets(ARCHITECTURES.aarch64, CODE, read)).toMatchObject({
      callAndReturn: BigInt(CODE_START + 64),
      signalReturn: BigInt(CODE_START + 128),
    });
  });

  it('is spared where they stand as they stood', () => {
    const read = codeWith([64, SYSCALL_RET], [128, MOV_RAX_15_SYSCALL]);
    const found = findGadgets(ARCHITECTURES.x86_64, CODE, read);
    expect(gadgetsStand(ARCHITECTURES.x86_64, found, read)).toBe(true);
    const moved = codeWith([64, SYSCALL_RET], [129, MOV_RAX_15_SYSCALL]);
    expect(gadgetsStand(ARCHITECTURES.x86_64, found, moved)).toBe(false);
    expect(gadgetsStand(ARCHITECTURES.x86_64, found, () => 0)).toBe(false);
  });

  it('refuses a program that lacks one of them', () => {
    const read = codeWith([100, SYSCALL_RET]);
    expect(() => findGadgets(ARCHITECTURES.x86_64, CODE, read)).toThrow(UnsupportedError);
  });
});

describe('the search for scratch memory', () => {
  const elsewhere = '00001000-00003000 rw-p 00000000 00:00 0 \n';
  const stack = parseMaps(`${elsewhere}7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n`);
  const bottom = 0x7ffc00000000n;
  const populated = (startPage: number, pageCount: number) =>
    new Uint32Array(pageCount * 2).map((_, index) => (index % 2 === 1 ? 0x8000_0000 : startPage));
  const empty = (_: number, pageCount: number) => new Uint32Array(pageCount * 2);

  it('takes the far end of the stack, which was never used', () => {
    const search = { mappings: stack, stackPointers: [0x7ffc00020000n], readPagemap: empty };
    expect(findScratch(search)).toBe(bottom);
  });

  it('takes it, unused, also when no thread stands on the main stack', () => {
    expect(findScratch({ mappings: stack, stackPointers: [0x1000n], readPagemap: empty })).toBe(bottom);
  });

  it('takes dead pages below the stack pointer', () => {
    const search = { mappings: stack, stackPointers: [0x7ffc00020000n], readPagemap: populated };
    expect(findScratch(search)).toBe(bottom);
  });

  it.each([
    ['pages that may be in use: no stack pointer tells', [0x1000n], populated],
    ['pages that a stack pointer is in', [0x7ffc00004000n], empty],
    ['pages that the red zone reaches into', [0x7ffc00008040n], populated],
  ])('refuses %s', (_, stackPointers, readPagemap) => {
    expect(() => findScratch({ mappings: stack, stackPointers, readPagemap })).toThrow(UnsupportedError);
  });

  it('takes the scratch memory of a work area again that a thread stands on', () => {
    const area =
      '7fff00000000-7fff00001000 r-xp 00000000 00:00 0 \n7fff00001000-7fff00009000 rw-p 00000000 00:00 0 \n';
    const mappings = [...stack, ...parseMaps(area)];
    const search = (pointer: bigint) => ({ mappings, stackPointers: [pointer], readPagemap: populated });
    expect(findScratch(search(0x7fff00001000n))).toBe(0x7fff00001000n);
    expect(findScratch(search(0x7fff00001008n))).toBe(0x7fff00001000n);
    expect(() => findScratch(search(0x7fff00001010n))).toThrow(UnsupportedError);
    // Memory that only looks alike: no page of code before it.
    const lone = { ...search(0x7fff00001000n), mappings: [...stack, mappings.at(-1)!] };
    expect(() => findScratch(lone)).toThrow(UnsupportedError);
    // The area was unmapped, and ckpt killed before it could give the thread its registers.
    expect(findScratch({ ...search(0x7fff00001000n), mappings: stack })).toBe(bottom);
  });

  it('refuses a process without a main stack', () => {
    expect(() => findScratch({ mappings: CODE, stackPointers: [], readPagemap: empty })).toThrow(
      UnsupportedError,
    );
  });
});

describe('restartable sequences', () => {
  const area = { pointer: 0x1000n, sizeBytes: 32, signature: 0x53053053, flags: 0 };
  const read = (section: bigint) => (address: bigint, length: number) => {
    const words =
      address === 0x1008n
        ? [section]
        : [0n, 0x40_0000n /* start */, 0x20n /* length */, 0x50_0000n /* abort */];
    return new Uint8Array(BigUint64Array.from(words).buffer).slice(0, length);
  };

  it('are left for their abort address by a thread inside', () => {
    expect(abortAddress(area, 0x40_0000n, read(0x2000n))).toBe(0x50_0000n);
    expect(abortAddress(area, 0x40_001fn, read(0x2000n))).toBe(0x50_0000n);
  });

  it('do not concern a thread outside', () => {
    expect(abortAddress(area, 0x40_0020n, read(0x2000n))).toBeUndefined();
    expect(abortAddress(area, 0x3f_ffffn, read(0x2000n))).toBeUndefined();
    expect(abortAddress(area, 0x40_0000n, read(0n))).toBeUndefined();
    expect(abortAddress(undefined, 0x40_0000n, read(0x2000n))).toBeUndefined();
  });
});
