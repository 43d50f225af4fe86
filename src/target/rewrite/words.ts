/** Packs 64-bit words as the kernel's structures of longs and pointers have them. */
export function words(...values: readonly (bigint | number)[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 8));
  values.forEach((value, index) => {
    view.setBigUint64(index * 8, BigInt.asUintN(64, BigInt(value)), true);
  });
  return new Uint8Array(view.buffer);
}

/** Text as the kernel takes it: with a NUL behind it. */
export function zeroTerminated(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(`${text}\0`, 'utf8'));
}

/** Bytes from the base64 of a state. */
export function fromBase64(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}
