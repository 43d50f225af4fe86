/** Protocol Buffers by hand: what the library writes that the reader reads with would prove nothing. */
export const varint = (value: bigint | number): Buffer => {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, BigInt(value));
  for (; left > 0x7fn; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(left)]);
};

/** u32, u64, bool, enumerations; and int32 and int64, which are negative in 64 bits. */
export const number = (field: number, value: bigint | number | boolean): Buffer =>
  Buffer.concat([varint(field << 3), varint(typeof value === 'boolean' ? Number(value) : value)]);

/** sint32 and sint64. */
export const signed = (field: number, value: bigint | number): Buffer => {
  const big = BigInt(value);
  return number(field, big < 0n ? -2n * big - 1n : 2n * big);
};

/** Bytes, or a message within a message. */
export const nested = (field: number, ...content: Uint8Array[]): Buffer => {
  const bytes = Buffer.concat(content);
  return Buffer.concat([varint((field << 3) | 2), varint(bytes.length), bytes]);
};

export const text = (field: number, value: string): Buffer => nested(field, Buffer.from(value));

/** A repeated field as CRIU writes it: not packed. */
export const repeated = (field: number, values: readonly (bigint | number)[]): Buffer =>
  Buffer.concat(values.map((value) => number(field, value)));

/** Fields 1, 2, 3, ... of one message, all of them numbers. */
export const numbers = (...values: (bigint | number)[]): Buffer =>
  Buffer.concat(values.map((value, index) => number(index + 1, value)));
