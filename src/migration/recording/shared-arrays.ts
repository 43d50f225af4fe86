/** A copy of a typed array on memory that threads share. */
export function sharedCopy<T extends Uint8Array | Uint32Array | Float64Array>(array: T): T {
  const Kind = array.constructor as new (buffer: SharedArrayBuffer) => T;
  const copy = new Kind(new SharedArrayBuffer(array.byteLength));
  copy.set(array);
  return copy;
}
