import { TargetError } from '../../core/index.ts';
import type { Architecture } from './architecture.ts';

const WORD_BYTES = 8;

/** The general registers of a thread, as NT_PRSTATUS of PTRACE_GETREGSET holds them. */
export class Registers {
  readonly architecture: Architecture;
  readonly bytes: Uint8Array;
  readonly #view: DataView;

  /**
   * @param bytes 27 words on x86-64, 34 on aarch64; kept, not copied
   * @throws TargetError if there are fewer: a 32-bit thread
   */
  constructor(architecture: Architecture, bytes: Uint8Array) {
    if (!Registers.fit(architecture, bytes)) {
      throw new TargetError(
        `a register set of ${bytes.length} bytes: the thread does not run 64-bit ${architecture.name} code`,
        { hint: 'programs of 32 bits are not supported' },
      );
    }
    this.architecture = architecture;
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Whether `bytes` are the registers of a 64-bit thread. */
  static fit(architecture: Architecture, bytes: Uint8Array): boolean {
    return bytes.length >= architecture.registerNames.length * WORD_BYTES;
  }

  /** Value of a register by its name in `architecture.registerNames`, as an unsigned number. */
  get(name: string): bigint {
    return this.#view.getBigUint64(this.#offset(name), true);
  }

  /** Sets a register; negative values are stored as two's complement. */
  set(name: string, value: bigint | number): void {
    this.#view.setBigUint64(this.#offset(name), BigInt.asUintN(64, BigInt(value)), true);
  }

  copy(): Registers {
    return new Registers(this.architecture, this.bytes.slice());
  }

  get instructionPointer(): bigint {
    return this.get(this.architecture.instructionPointer);
  }

  get stackPointer(): bigint {
    return this.get(this.architecture.stackPointer);
  }

  /** Where a system call leaves its result, as a signed number. */
  get result(): bigint {
    return BigInt.asIntN(64, this.get(this.architecture.result));
  }

  set result(value: bigint | number) {
    this.set(this.architecture.result, value);
  }

  #offset(name: string): number {
    const index = this.architecture.registerNames.indexOf(name);
    if (index < 0) throw new RangeError(`${this.architecture.name} has no register ${name}`);
    return index * WORD_BYTES;
  }
}
