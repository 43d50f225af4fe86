import type { Base64, LiveState } from './live-state-format.ts';
import { ARCHITECTURES } from './native/architecture.ts';
import { Registers } from './native/registers.ts';

/**
 * The address of the next instruction of a thread.
 * @param general its general registers as the state has them
 */
export function instructionAddress(machine: LiveState['machine'], general: Base64): bigint {
  return registersOf(machine, general).instructionPointer;
}

/** The general registers of a thread by their names, in the order in which the kernel has them. */
export function namedRegisters(
  machine: LiveState['machine'],
  general: Base64,
): readonly (readonly [name: string, value: bigint])[] {
  const registers = registersOf(machine, general);
  return registers.architecture.registerNames.map((name) => [name, registers.get(name)] as const);
}

function registersOf(machine: LiveState['machine'], general: Base64): Registers {
  return new Registers(ARCHITECTURES[machine], new Uint8Array(Buffer.from(general, 'base64')));
}
