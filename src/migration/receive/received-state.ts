import { PeerError } from '../../core/index.ts';
import type { TargetState } from '../../target/index.ts';
import type { MessageOf } from '../wire/messages.ts';

/** A state of more bytes is refused: it has to be put together in memory. */
const MAX_STATE_BYTES = 1024 * 1024 * 1024;

/** Puts the state of a target together from the messages that carry it; the first one carries the summary. */
export class ReceivedState {
  readonly #chunks: Uint8Array[] = [];
  #summary: string | undefined;
  #bytes = 0;
  #whole: TargetState | undefined;

  /** The state, once its last part has come. */
  get whole(): TargetState | undefined {
    return this.#whole;
  }

  /** @throws PeerError for a state that is too large, or more of one that was complete */
  add({ format, summary, last, bytes }: MessageOf<'state'>): void {
    this.#bytes += bytes.length;
    if (this.#whole !== undefined) throw new PeerError('the other end sent more state behind the last of it');
    if (bytes.length === 0 && !last) throw new PeerError('the other end sent state without a byte in it');
    if (this.#bytes > MAX_STATE_BYTES) {
      throw new PeerError(`the other end sent more than ${MAX_STATE_BYTES} bytes of state`);
    }
    this.#chunks.push(bytes);
    this.#summary ??= summary;
    if (!last) return;
    this.#whole = { format, bytes: Buffer.concat(this.#chunks), summary: parseSummary(this.#summary) };
    this.#chunks.length = 0;
  }
}

function parseSummary(text: string): Readonly<Record<string, unknown>> {
  let summary: unknown;
  try {
    summary = JSON.parse(text);
  } catch {
    summary = undefined;
  }
  if (typeof summary === 'object' && summary !== null && !Array.isArray(summary)) {
    return Object.fromEntries(Object.entries(summary));
  }
  throw new PeerError('the other end sent a summary of the state that is no JSON object');
}
