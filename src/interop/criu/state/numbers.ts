import type { Base64, DecimalNumber, HexNumber } from '../../../target/index.ts';

/** An unsigned number of 64 bits as a state has it. */
export function hex(value: bigint): HexNumber {
  return `0x${BigInt.asUintN(64, value).toString(16)}`;
}

/** A number of 64 bits, as two's complement where CRIU has it unsigned. */
export function decimal(value: bigint): DecimalNumber {
  return BigInt.asIntN(64, value).toString();
}

/** A value of 32 bits that CRIU stores without a sign although it has one. */
export function signed(value: number): number {
  return value | 0;
}

/** Numbers of 64 bits one behind the other, little-endian. */
export function words64(values: readonly bigint[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 8);
  const view = new DataView(bytes.buffer);
  for (const [index, value] of values.entries()) view.setBigUint64(index * 8, value, true);
  return bytes;
}

export function base64(bytes: Uint8Array): Base64 {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}
