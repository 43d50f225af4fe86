import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntegrityError } from '../../../../src/core/index.ts';
import { threadInfoOf } from '../../../../src/interop/criu/state/registers.ts';
import { xstateForDebuggers } from '../../../../src/interop/xsave.ts';
import { entry } from '../image-encoder.ts';
import { nested, number, numbers, repeated } from '../protobuf.ts';
import { readEntry } from './image-files.ts';

const word64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const word32 = fc.nat({ max: 2 ** 32 - 1 });
const words = (count: number) => fc.array(word32, { minLength: count, maxLength: count });
const quads = (count: number) => fc.array(word64, { minLength: count, maxLength: count });

const general = quads(27);
const control = fc.record({
  first: fc.tuple(...Array.from({ length: 4 }, () => fc.nat({ max: 0xffff }))),
  pointers: fc.tuple(word64, word64),
  mxcsr: fc.tuple(word32, word32),
  st: words(32),
  xmm: words(64),
});
type Control = typeof control extends fc.Arbitrary<infer Value> ? Value : never;

/** user_x86_fpregs_entry */
const floating = ({ first, pointers, mxcsr, st, xmm }: Control, ...more: Buffer[]) =>
  nested(3, numbers(...first, ...pointers, ...mxcsr), repeated(9, st), repeated(10, xmm), ...more);

const x86 = (registers: readonly bigint[], fpregs: Buffer, mode = 1) =>
  readEntry(
    'CORE',
    entry(
      number(1, 1),
      nested(2, number(1, 0x7f00n), nested(2, numbers(...registers), number(28, mode)), fpregs),
    ),
  );

/** struct fxregs_state (arch/x86/include/asm/fpu/types.h) */
function fxsave({ first, pointers, mxcsr, st, xmm }: Control): Buffer {
  const area = Buffer.alloc(512);
  for (const [index, value] of first.entries()) area.writeUInt16LE(value, index * 2);
  for (const [index, value] of pointers.entries()) area.writeBigUInt64LE(value, 8 + index * 8);
  for (const [index, value] of [...mxcsr, ...st, ...xmm].entries()) area.writeUInt32LE(value, 24 + index * 4);
  return area;
}

const decode = (base64: string | null | undefined) => Buffer.from(base64 ?? '', 'base64');
const CONTROL: Control = {
  first: [0x37f, 0, 0, 0],
  pointers: [0n, 0n],
  mxcsr: [0x1f80, 0xffff],
  st: Array.from({ length: 32 }, (_, index) => index),
  xmm: Array.from({ length: 64 }, (_, index) => index * 3),
};
const GENERAL = Array.from({ length: 27 }, (_, index) => BigInt(index + 1));
const ORIG_AX = 15;
const AX = 10;

describe('registers of x86-64', () => {
  it('are those of the image, in the places that ptrace gives them', () =>
    fc.assert(
      fc.asyncProperty(general, control, async (registers, fpregs) => {
        const info = threadInfoOf(await x86(registers, floating(fpregs)));
        expect(info).toMatchObject({ machine: 'x86_64', clearChildTid: 0x7f00n });
        const found = decode(info?.registers?.general);
        expect(Array.from({ length: 27 }, (_, index) => found.readBigUInt64LE(index * 8))).toEqual(registers);
        expect(found).toHaveLength(216);
        expect(decode(info?.registers?.floatingPoint)).toEqual(fxsave(fpregs));
        expect(info?.registers).toMatchObject({ extended: null, further: [] });
      }),
      { numRuns: 40 },
    ));

  it('have their components where Intel has them, and XCR0 says which there are', () =>
    fc.assert(
      fc.asyncProperty(
        control,
        word64,
        words(64),
        fc.record({ opmask: quads(8), upper: quads(64), high: quads(128) }, { requiredKeys: [] }),
        fc.option(words(2)),
        async (fpregs, inUse, ymm, { opmask, upper, high }, pkru) => {
          const xsave = nested(
            13,
            ...[number(1, inUse), repeated(2, ymm), repeated(5, opmask ?? []), repeated(6, upper ?? [])],
            ...[repeated(7, high ?? []), repeated(8, pkru ?? [])],
          );
          const info = threadInfoOf(await x86(GENERAL, floating(fpregs, xsave)));
          const area = decode(info?.registers?.extended);
          const at = (offset: number, count: number) =>
            Array.from({ length: count }, (_, index) => area.readBigUInt64LE(offset + index * 8));
          expect(area.subarray(0, 416)).toEqual(fxsave(fpregs).subarray(0, 416));
          expect(area.readBigUInt64LE(512)).toBe(inUse);
          expect(ymm).toEqual(Array.from({ length: 64 }, (_, index) => area.readUInt32LE(576 + index * 4)));
          let components = 0b111n;
          for (const [bit, offset, values] of [
            [5n, 1088, opmask],
            [6n, 1152, upper],
            [7n, 1664, high],
          ] as const) {
            if (values === undefined) continue;
            components |= 1n << bit;
            expect(at(offset, values.length)).toEqual(values);
          }
          if (pkru !== null) {
            components |= 1n << 9n;
            expect([area.readUInt32LE(2688), area.readUInt32LE(2692)]).toEqual(pkru);
          }
          expect(area.readBigUInt64LE(464)).toBe(components);
          // Debuggers take it as it is.
          expect(Buffer.from(xstateForDebuggers(area))).toEqual(area);
        },
      ),
      { numRuns: 40 },
    ));

  it.each([
    ['-1: its own code', 2n ** 64n - 1n, 5n, null],
    ['a call that is made again', 230n, 230n, 230],
    ['a call that ended with EINTR', 230n, 2n ** 64n - 4n, 230],
    ['a call that has just ended', 0n, 5n, null],
  ])('tell of a system call: %s', async (_what, number, result, expected) => {
    const registers = GENERAL.with(ORIG_AX, number).with(AX, result);
    expect(threadInfoOf(await x86(registers, floating(CONTROL)))?.systemCall).toBe(expected);
  });

  it('of 32-bit code are left out', async () => {
    const info = threadInfoOf(await x86(GENERAL, floating(CONTROL), 2));
    expect(info).toMatchObject({ machine: 'x86_64', registers: null });
  });

  it.each([
    ['st_space', floating({ ...CONTROL, st: [1, 2] })],
    ['xmm_space', floating({ ...CONTROL, xmm: [] })],
    ['ymmh_space', floating(CONTROL, nested(13, number(1, 7), repeated(2, [1, 2, 3])))],
    ['pkru', floating(CONTROL, nested(13, number(1, 7), repeated(8, [1])))],
  ])('of another number are damage: %s', async (field, fpregs) => {
    const core = await x86(GENERAL, fpregs);
    expect(() => threadInfoOf(core)).toThrow(IntegrityError);
    expect(() => threadInfoOf(core)).toThrow(
      new RegExp(`\\.img is damaged at byte 8: its ${field} has \\d+ words`),
    );
  });
});

describe('registers of aarch64', () => {
  const arm = (registers: readonly bigint[], vectors: readonly bigint[], tls: bigint) =>
    readEntry(
      'CORE',
      entry(
        number(1, 3),
        nested(
          8,
          ...[number(1, 0x7f00n), number(2, tls)],
          nested(
            3,
            repeated(1, registers.slice(0, -3)),
            ...registers.slice(-3).map((value, index) => number(index + 2, value)),
          ),
          nested(4, repeated(1, vectors), number(2, 17), number(3, 18)),
        ),
      ),
    );

  it('are those of the image, with the thread pointer beside them', () =>
    fc.assert(
      fc.asyncProperty(quads(34), quads(64), word64, async (registers, vectors, tls) => {
        const info = threadInfoOf(await arm(registers, vectors, tls));
        const values = (base64: string | undefined, count: number) =>
          Array.from({ length: count }, (_, index) => decode(base64).readBigUInt64LE(index * 8));
        expect(info).toMatchObject({ machine: 'aarch64', systemCall: null });
        expect(values(info?.registers?.general, 34)).toEqual(registers);
        expect(values(info?.registers?.floatingPoint, 64)).toEqual(vectors);
        expect(decode(info?.registers?.floatingPoint)).toHaveLength(528);
        expect(decode(info?.registers?.floatingPoint).readUInt32LE(512)).toBe(17);
        expect(decode(info?.registers?.floatingPoint).readUInt32LE(516)).toBe(18);
        expect(info?.registers?.further.map(({ type }) => type)).toEqual([0x401]);
        expect(values(info?.registers?.further[0]?.content, 1)).toEqual([tls]);
      }),
      { numRuns: 20 },
    ));

  it.each([
    [30, 64, /has 30 registers/],
    [31, 63, /has 63 halves of vector registers/],
  ])('of another number are damage: %i and %i', async (count, vectors, message) => {
    const core = await arm(Array<bigint>(count + 3).fill(1n), Array<bigint>(vectors).fill(1n), 0n);
    expect(() => threadInfoOf(core)).toThrow(message);
  });
});

describe('registers of another machine', () => {
  it('are not known', async () => {
    expect(threadInfoOf(await readEntry('CORE', entry(number(1, 8))))).toBeUndefined();
  });
});
