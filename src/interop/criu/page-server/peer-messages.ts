import { PeerError } from '../../../core/index.ts';
import type { PeerStream } from './peer-stream.ts';
import {
  decodeHeader,
  detectLayout,
  encodeHeader,
  HEADER_BYTES,
  type HeaderLayout,
  type MessageHeader,
} from './protocol.ts';

/**
 * The headers of a session. Which layout they have is told by the first one and stays.
 */
export class PeerMessages {
  readonly stream: PeerStream;
  readonly #patienceMicroseconds: number;
  #layout: HeaderLayout | undefined;

  /** @param patienceMicroseconds how long there may be nothing between two messages, and an answer not be taken */
  constructor(stream: PeerStream, patienceMicroseconds: number) {
    this.stream = stream;
    this.#patienceMicroseconds = patienceMicroseconds;
  }

  /** Undefined before the first message, and where it does not matter because that one ends the session. */
  get layout(): HeaderLayout | undefined {
    return this.#layout;
  }

  /**
   * The next header.
   * @returns undefined if the other end has closed its side
   * @throws PeerError if it does not begin as sessions do, is cut off, comes too late, or the connection is lost
   */
  async header(): Promise<MessageHeader | undefined> {
    if (!(await this.stream.hasMore(this.#patienceMicroseconds))) return undefined;
    const bytes = new Uint8Array(HEADER_BYTES.new);
    if (this.#layout !== undefined) return this.#read(this.#layout, bytes, 0);
    await this.stream.readInto(bytes.subarray(0, HEADER_BYTES.old));
    this.#layout = detectLayout(bytes);
    return this.#read(this.#layout ?? 'old', bytes, HEADER_BYTES.old);
  }

  /** Sends a header. In TLS it is a record of its own. @throws PeerError if the connection is lost */
  async sendHeader(header: MessageHeader): Promise<void> {
    if (this.#layout === undefined) throw new PeerError('it has not begun a session');
    await this.send(encodeHeader(header, this.#layout));
  }

  /** Sends bytes, and waits until the system has taken them. @throws PeerError if the connection is lost */
  async send(bytes: Uint8Array): Promise<void> {
    await this.stream.write(bytes, this.#patienceMicroseconds);
  }

  async #read(layout: HeaderLayout, bytes: Uint8Array, have: number): Promise<MessageHeader> {
    await this.stream.readInto(bytes.subarray(have, HEADER_BYTES[layout]));
    return decodeHeader(bytes, layout);
  }
}
