/** What extended headers say about the member behind them. */
export interface ExtendedFields {
  readonly path?: string;
  readonly linkpath?: string;
  readonly size?: number;
  /** The content is a map of holes and what is between them. */
  readonly sparse?: boolean;
}

const SPACE = 0x20;
const EQUALS = 0x3d;
const NEWLINE = 0x0a;

/**
 * The records of a pax header ("pax Interchange Format" of POSIX: `<length> <key>=<value>\n`), which may hold any bytes
 * in values that are not looked at, such as extended attributes.
 * @returns undefined if it is malformed.
 */
export function parseExtendedHeader(body: Uint8Array): ExtendedFields | undefined {
  let fields: ExtendedFields = {};
  for (let at = 0; at < body.length; ) {
    const space = body.indexOf(SPACE, at);
    const length = space < 0 ? Number.NaN : decimal(body.subarray(at, space));
    const end = at + length;
    const equals = body.indexOf(EQUALS, space);
    if (!(end <= body.length) || equals < 0 || equals >= end || body[end - 1] !== NEWLINE) return undefined;
    const key = textOf(body.subarray(space + 1, equals));
    const field = fieldOf(key, body.subarray(equals + 1, end - 1));
    if (field === undefined) return undefined;
    fields = { ...fields, ...field };
    at = end;
  }
  return fields;
}

function fieldOf(key: string, value: Uint8Array): ExtendedFields | undefined {
  if (key === 'path' || key === 'linkpath') {
    // What stands behind a NUL would not be seen by programs in C.
    return value.includes(0) ? undefined : { [key]: textOf(value) };
  }
  if (key === 'size') {
    const size = decimal(value);
    return Number.isSafeInteger(size) ? { size } : undefined;
  }
  return key.startsWith('GNU.sparse.') ? { sparse: true } : {};
}

function decimal(digits: Uint8Array): number {
  const text = textOf(digits);
  return /^\d{1,19}$/.test(text) ? Number(text) : Number.NaN;
}

const textOf = (bytes: Uint8Array) => Buffer.from(bytes).toString();
