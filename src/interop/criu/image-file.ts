import { IntegrityError, UsageError } from '../../core/index.ts';
import { COMMON_MAGIC, type ImageKind, imageKindOf, messageNamed, SERVICE_MAGIC } from './image-kinds.ts';
import { decodePlain, type PlainMessage } from './plain-message.ts';
import { WindowedFile } from './windowed-file.ts';

/** One entry of an image. */
export interface ImageEntry {
  /** Where its length stands. */
  readonly offsetBytes: number;
  readonly message: PlainMessage;
  /** Where what follows it begins. */
  readonly payloadOffsetBytes: number;
  /** What follows it in the file: raw bytes, or messages with raw bytes of their own. */
  readonly payloadBytes: number;
}

/**
 * The longest message that is believed. One of a process with 400 000 mappings is shorter (Linux allows 65 530 unless
 * told otherwise), and decoded it takes half a gigabyte.
 */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/**
 * Reads one image file of CRIU from its beginning to its end, entry by entry (criu/image.c, criu/protobuf.c): every file
 * but the raw ones, such as `pages-1.img`.
 */
export class ImageFile {
  readonly path: string;
  readonly kind: ImageKind;
  readonly #input: WindowedFile;

  private constructor(path: string, kind: ImageKind, input: WindowedFile) {
    this.path = path;
    this.kind = kind;
    this.#input = input;
  }

  /**
   * @throws UsageError if the file cannot be read, or is of a kind whose entries are not known here; IntegrityError if
   *   it is no image.
   */
  static async open(path: string): Promise<ImageFile> {
    const input = await WindowedFile.open(path);
    try {
      return new ImageFile(path, await readKind(input), input);
    } catch (error) {
      await input.close();
      throw error;
    }
  }

  /** The entries, once; the file is closed behind the last one. @throws IntegrityError naming the offset */
  async *entries(): AsyncGenerator<ImageEntry> {
    const { kind } = this;
    try {
      let name = kind.firstMessage ?? kind.message ?? '';
      while (this.#input.remainingBytes > 0) {
        const offsetBytes = this.#input.offsetBytes;
        const message = await this.#message(name);
        const payloadOffsetBytes = this.#input.offsetBytes;
        await this.#skipPayload(name, message);
        const payloadBytes = this.#input.offsetBytes - payloadOffsetBytes;
        yield { offsetBytes, message, payloadOffsetBytes, payloadBytes };
        name = (kind.payload?.kind === 'rest' ? kind.payload.message : kind.message) ?? '';
      }
    } finally {
      await this.close();
    }
  }

  close(): Promise<void> {
    return this.#input.close();
  }

  async #message(name: string): Promise<PlainMessage> {
    const layout = messageNamed(name);
    const at = this.#input.offsetBytes;
    const length = (await this.#input.take(4, `the length of ${name}`)).readUInt32LE();
    if (length > MAX_MESSAGE_BYTES) throw this.#input.damaged(`a message of ${length} bytes`, at);
    const bytes = await this.#input.take(length, name);
    try {
      return decodePlain(layout, bytes);
    } catch (error) {
      throw this.#input.damaged(`no ${name} (${(error as Error).message})`, at);
    }
  }

  async #skipPayload(name: string, message: PlainMessage): Promise<void> {
    const rule = this.kind.payload;
    if (rule === undefined || message['in_pagemaps'] === true) return;
    if (rule.kind === 'counted') {
      const units = rule.fields.reduce((sum, field) => sum + Number(message[field] ?? 0), 0);
      await this.#skip(units * rule.unitBytes, rule.roundedTo);
    } else if (rule.kind === 'messages') {
      const count = Number(message[rule.count] ?? 0);
      for (let index = 0; index < count; index++) {
        const one = await this.#message(rule.message);
        await this.#skip(Number(one[rule.field]), rule.roundedTo);
      }
    } else if (name === rule.message) await this.#skip(Number(message[rule.field]), 1);
    else if (message[rule.unless] !== true) this.#input.skip(this.#input.remainingBytes, 'the content');
  }

  async #skip(bytes: number, roundedTo: number): Promise<void> {
    this.#input.skip(Math.ceil(bytes / roundedTo) * roundedTo, `the data of ${this.kind.message}`);
  }
}

async function readKind(input: WindowedFile): Promise<ImageKind> {
  const first = (await input.take(4, 'the magic')).readUInt32LE();
  const framed = first === COMMON_MAGIC || first === SERVICE_MAGIC;
  const magic = framed ? (await input.take(4, 'the magic')).readUInt32LE() : first;
  const kind = imageKindOf(magic);
  if (kind === undefined || (kind.bare === true) === framed) {
    throw new IntegrityError(`${input.path} is no image of CRIU: it begins with 0x${first.toString(16)}`, {
      hint: 'pages-N.img, *.tar.gz.img and dumps of iproute are raw data without a magic',
      data: { path: input.path, magic },
    });
  }
  if (kind.message === undefined) {
    throw new UsageError(`${input.path} is an image ${kind.name}, whose entries ckpt does not know`, {
      hint: "CRIU's own 'crit decode' may",
      data: { path: input.path, kind: kind.name },
    });
  }
  return kind;
}
