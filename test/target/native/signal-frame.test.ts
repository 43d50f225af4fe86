import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ARCHITECTURES } from '../../../src/target/native/architecture.ts';
import { Registers } from '../../../src/target/native/registers.ts';
import { buildSignalFrame } from '../../../src/target/native/signal-frame.ts';

/**
 * Frames that a kernel (x86-64) and an emulated one (aarch64) put on the stack of a program which had blocked SIGUSR2,
 * set some registers, and sent itself SIGUSR1; printed by its handler.
 */
const recorded = (name: string) =>
  Uint8Array.from(
    Buffer.from(readFileSync(`${import.meta.dirname}/recorded/${name}.hex`, 'latin1').trim(), 'hex'),
  );
const SIGUSR2_MASK = 1n << 11n;
const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Frame without what only describes the signal: trap number, error code, fault address. */
function blank(bytes: Uint8Array, ...ranges: readonly (readonly [number, number])[]): Uint8Array {
  const copy = bytes.slice();
  for (const [from, to] of ranges) copy.fill(0, from, to);
  return copy;
}

describe('the signal frame on aarch64', () => {
  const kernels = recorded('aarch64-frame');
  const general = kernels.slice(312, 312 + 34 * 8);
  const registers = new Registers(ARCHITECTURES.aarch64, general);
  // user_fpsimd_state: the 32 vector registers, then fpsr and fpcr.
  const vector = new Uint8Array(528);
  vector.set(kernels.subarray(608, 608 + 512));
  vector.set(kernels.subarray(600, 608), 512);

  it('names the registers as user_pt_regs has them', () => {
    expect(registers.get('x19')).toBe(0xbeef_0000_0000_1919n);
    expect(registers.get('x8')).toBe(129n);
    expect(registers.get('x1')).toBe(10n);
    expect(registers.get('pstate')).toBe(0x6000_0000n);
    expect(registers.instructionPointer % 4n).toBe(0n);
    expect(registers.stackPointer % 16n).toBe(0n);
  });

  it('has every field where the recorded frame has it', () => {
    const { bytes, stackPointer } = buildSignalFrame(
      ARCHITECTURES.aarch64,
      { registers, vector, signalMask: SIGUSR2_MASK },
      0x7000n,
      0n,
    );
    expect(stackPointer).toBe(0x7000n);
    // siginfo and the alternate stack are the kernel's business; so is the record behind the vector registers.
    const ours = blank(bytes.subarray(0, kernels.length), [0, 128], [144, 168], [304, 312], [1120, 1128]);
    const theirs = blank(kernels, [0, 128], [144, 168], [304, 312], [1120, 1128]);
    expect(Buffer.from(ours).toString('hex')).toBe(Buffer.from(theirs).toString('hex'));
  });
});

describe('the signal frame on x86-64', () => {
  const kernels = recorded('x86_64-frame');
  const image = recorded('x86_64-vector');
  const address = 0x7fff_0000_1000n;

  /** user_regs_struct made of the recorded sigcontext. */
  function recordedRegisters(): Registers {
    const registers = new Registers(ARCHITECTURES.x86_64, new Uint8Array(27 * 8));
    const names = 'r8 r9 r10 r11 r12 r13 r14 r15 rdi rsi rbp rbx rdx rax rcx rsp rip eflags'.split(' ');
    names.forEach((name, index) => {
      registers.set(name, viewOf(kernels).getBigUint64(48 + index * 8, true));
    });
    registers.set('cs', viewOf(kernels).getUint16(192, true));
    registers.set('ss', viewOf(kernels).getUint16(198, true));
    return registers;
  }

  /** The register set as ptrace shows it: xcr0 stands first in the bytes that software may use. */
  function registerSet(): Uint8Array {
    const size = viewOf(image).getUint32(464 + 16, true);
    const vector = image.slice(0, size);
    const features = viewOf(image).getBigUint64(464 + 8, true);
    vector.fill(0, 464, 512);
    viewOf(vector).setBigUint64(464, features, true);
    return vector;
  }

  it('has every field where the recorded frame has it', () => {
    const registers = recordedRegisters();
    expect(registers.get('r12')).toBe(0x1919n);
    const { bytes } = buildSignalFrame(
      ARCHITECTURES.x86_64,
      { registers, vector: registerSet(), signalMask: SIGUSR2_MASK },
      address,
      viewOf(kernels).getBigUint64(0, true),
    );
    expect(viewOf(bytes).getBigUint64(232, true)).toBe(address + 448n);
    // The alternate stack, err, trapno, oldmask, cr2 and the place of the vector state differ by their nature.
    const unequal = [
      [24, 48],
      [200, 304],
    ] as const;
    const ours = blank(bytes.subarray(0, kernels.length), ...unequal);
    expect(Buffer.from(ours).toString('hex')).toBe(Buffer.from(blank(kernels, ...unequal)).toString('hex'));
  });

  it('carries the vector state as the kernel writes it', () => {
    const { bytes } = buildSignalFrame(
      ARCHITECTURES.x86_64,
      { registers: recordedRegisters(), vector: registerSet(), signalMask: 0n },
      address,
      0n,
    );
    expect(Buffer.from(bytes.subarray(448)).toString('hex')).toBe(Buffer.from(image).toString('hex'));
  });

  it('leaves the alternate stack of the thread alone', () => {
    const { bytes } = buildSignalFrame(
      ARCHITECTURES.x86_64,
      { registers: recordedRegisters(), vector: registerSet(), signalMask: 0n },
      address,
      0n,
    );
    // Flags that sigaltstack refuses, so that rt_sigreturn changes nothing: none of 0, SS_ONSTACK and SS_DISABLE.
    expect([0, 1, 2]).not.toContain(viewOf(bytes).getUint32(32, true) & 0x7fff_ffff);
  });
});
