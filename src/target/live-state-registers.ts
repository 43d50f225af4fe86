import type { Base64, LiveState } from './live-state-format.ts';
import { ARCHITECTURES } from './native/architecture.ts';
import { Registers } from './native/registers.ts';

/**
 * The address of the next instruction of a thread.
 * @param general its general registers as the state has them
 */
export function instructionAddress(machine: LiveState['machine'], general: Base64): bigint {
  const bytes = new Uint8Array(Buffer.from(general, 'base64'));
  return new Registers(ARCHITECTURES[machine], bytes).instructionPointer;
}
