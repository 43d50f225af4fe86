import { describe, expect, it } from 'vitest';
import { callAhead } from '../../src/target/live-state-trace.ts';
import { ARCHITECTURES } from '../../src/target/native/architecture.ts';
import { Registers } from '../../src/target/native/registers.ts';

describe('the system call that a stopped thread of aarch64 goes on with', () => {
  const registers = new Registers(ARCHITECTURES.aarch64, new Uint8Array(34 * 8));
  registers.set('pc', 0x40_1000n);
  registers.set('x8', 98);
  /** Memory with one instruction at the program counter. */
  const memory =
    (word: number, length = 4) =>
    (address: bigint, into: Uint8Array) => {
      expect(address).toBe(0x40_1000n);
      new DataView(into.buffer).setUint32(0, word, true);
      return length;
    };

  it('is named where the instruction makes one', () => {
    expect(callAhead(registers, memory(0xd4000001))).toBe(98);
  });

  it('is none at another instruction, or where nothing can be read', () => {
    expect(callAhead(registers, memory(0xd503201f))).toBeUndefined();
    expect(callAhead(registers, memory(0xd4000001, 0))).toBeUndefined();
  });
});
