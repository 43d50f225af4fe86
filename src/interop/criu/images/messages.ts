import { damaged } from '../damage.ts';
import { ImageFile } from '../image-file.ts';
import type { PlainMessage, PlainValue } from '../plain-message.ts';

/** More messages of one image are not believed, as all are kept in memory: they would be of half a million files. */
const MAX_KEPT_BYTES = 32 * 1024 * 1024;

/**
 * The entries of an image file, all of them in memory; those of `pagemap-*.img` are read by `readPagemap`.
 * @param kind as CRIU names it: `MM`, `CORE`, `FILES`.
 * @throws UsageError if the file cannot be read; IntegrityError naming file and offset if it is damaged, or is an image
 *   of another kind.
 */
export async function messagesOf(path: string, kind: string): Promise<MessageFields[]> {
  const image = await ImageFile.open(path);
  if (image.kind.name !== kind) {
    await image.close();
    throw damaged({ path, offsetBytes: 0 }, `it is an image ${image.kind.name} and no ${kind}`);
  }
  const messages: MessageFields[] = [];
  let payload = 0;
  for await (const { message, offsetBytes, payloadBytes } of image.entries()) {
    if (offsetBytes - payload > MAX_KEPT_BYTES) {
      throw damaged({ path, offsetBytes }, `no image ${kind} is so long`);
    }
    messages.push(new MessageFields(message, path, offsetBytes));
    payload += payloadBytes;
  }
  return messages;
}

/**
 * A message of an image with its fields by type. What is asked for and is not there, or is of another type, is an
 * IntegrityError that names file and offset.
 */
export class MessageFields {
  readonly plain: PlainMessage;
  readonly path: string;
  /** Of the entry that it is in. */
  readonly offsetBytes: number;

  constructor(plain: PlainMessage, path: string, offsetBytes: number) {
    this.plain = plain;
    this.path = path;
    this.offsetBytes = offsetBytes;
  }

  has(field: string): boolean {
    return this.plain[field] !== undefined;
  }

  /** A number of up to 32 bits, or one of 64 bits that is no larger than an exact JavaScript number. */
  number(field: string): number {
    return this.optionalNumber(field) ?? this.#fail(field, 'is missing');
  }

  optionalNumber(field: string): number | undefined {
    const value = this.plain[field];
    if (value === undefined) return undefined;
    return this.#toNumber(field, value);
  }

  big(field: string): bigint {
    return this.optionalBig(field) ?? this.#fail(field, 'is missing');
  }

  optionalBig(field: string): bigint | undefined {
    const value = this.plain[field];
    if (value === undefined) return undefined;
    return this.#toBig(field, value);
  }

  text(field: string): string {
    return this.optionalText(field) ?? this.#fail(field, 'is missing');
  }

  /** Text, or bytes in base64. */
  optionalText(field: string): string | undefined {
    const value = this.plain[field];
    if (value === undefined || typeof value === 'string') return value;
    return this.#fail(field, 'is no text');
  }

  /** The label of an enumeration, or the number as text where it has none. */
  optionalLabel(field: string): string | undefined {
    const value = this.plain[field];
    return typeof value === 'number' ? String(value) : this.optionalText(field);
  }

  /** False where it is missing. */
  flag(field: string): boolean {
    const value = this.plain[field] ?? false;
    return typeof value === 'boolean' ? value : this.#fail(field, 'is no yes or no');
  }

  /** A message within this one; undefined where it is missing. */
  message(field: string): MessageFields | undefined {
    const value = this.plain[field];
    return value === undefined ? undefined : this.#toMessage(field, value);
  }

  messages(field: string): MessageFields[] {
    return this.#list(field).map((value) => this.#toMessage(field, value));
  }

  numbers(field: string): number[] {
    return this.#list(field).map((value) => this.#toNumber(field, value));
  }

  bigs(field: string): bigint[] {
    return this.#list(field).map((value) => this.#toBig(field, value));
  }

  #list(field: string): readonly PlainValue[] {
    const value = this.plain[field] ?? [];
    return Array.isArray(value) ? value : this.#fail(field, 'is no list');
  }

  #toNumber(field: string, value: PlainValue): number {
    const number = typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN;
    return Number.isSafeInteger(number) ? number : this.#fail(field, 'is no number that can be');
  }

  #toBig(field: string, value: PlainValue): bigint {
    if (typeof value === 'number' || (typeof value === 'string' && /^-?\d+$/.test(value)))
      return BigInt(value);
    return this.#fail(field, 'is no number');
  }

  #toMessage(field: string, value: PlainValue): MessageFields {
    if (typeof value !== 'object' || isList(value)) return this.#fail(field, 'is no message');
    return new MessageFields(value, this.path, this.offsetBytes);
  }

  #fail(field: string, what: string): never {
    throw damaged(this, `its ${field} ${what}`);
  }
}

function isList(value: PlainValue): value is readonly PlainValue[] {
  return Array.isArray(value);
}
