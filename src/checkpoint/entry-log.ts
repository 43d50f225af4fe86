import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { IntegrityError } from '../core/index.ts';
import {
  appendZeroPage,
  createSegment,
  decodeSegment,
  encodeSegment,
  type GrowingSegment,
  type Segment,
  windowStartOf,
} from '../image/index.ts';
import type { EntryColumns } from './page-entries.ts';
import type { ScratchFile } from './scratch-file.ts';

/** Encoded windows that stay in memory before a scratch file takes them. */
const MEMORY_LIMIT_BYTES = 24 * 1024 * 1024;

interface LoggedWindow {
  readonly bytes: Uint8Array | undefined;
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  /** Digests come first; the encoded segment behind them has none. */
  readonly digestBytes: number;
}

/**
 * Where pages of one process went in the dump under way. For a process that is copied while it runs it is the page
 * index of a checkpoint that never comes to be: the final copy is taken relative to it. Windows are written in address order and read at random.
 */
export class EntryLog {
  readonly #scratch: ScratchFile;
  readonly #windows = new Map<number, LoggedWindow>();
  #memoryBytes = 0;
  #current: GrowingSegment | undefined;

  constructor(scratch: ScratchFile) {
    this.#scratch = scratch;
  }

  /** Adds entry `index` of `entries` for `page`; pages come in ascending order. */
  add(page: number, entries: EntryColumns, index: number): void {
    const startPage = windowStartOf(page);
    if (this.#current?.startPage !== startPage) {
      this.seal();
      this.#current = createSegment(startPage);
    }
    const segment = this.#current!;
    if (entries.packs[index] === 0) appendZeroPage(segment, page);
    else {
      const at = segment.count++;
      segment.offsets[at] = page - startPage;
      segment.digests.set(entries.digests.subarray(index * 16, index * 16 + 16), at * 16);
      segment.packs[at] = entries.packs[index]!;
      segment.positions[at] = entries.positions[index]!;
      segment.deltaPacks[at] = entries.deltaPacks[index]!;
      segment.deltaPositions[at] = entries.deltaPositions[index]!;
    }
  }

  /** Completes the window under way; call it after the last page. */
  seal(): void {
    const segment = this.#current;
    if (segment === undefined) return;
    this.#current = undefined;
    const digests = segment.digests.subarray(0, segment.count * PAGE_DIGEST_BYTES);
    const bytes = Buffer.concat([digests, encodeSegment(segment)]);
    const digestBytes = digests.length;
    if (this.#memoryBytes + bytes.length <= MEMORY_LIMIT_BYTES) {
      this.#memoryBytes += bytes.length;
      this.#windows.set(segment.startPage, { bytes, offsetBytes: 0, lengthBytes: bytes.length, digestBytes });
    } else {
      const offsetBytes = this.#scratch.append(bytes);
      this.#windows.set(segment.startPage, {
        bytes: undefined,
        offsetBytes,
        lengthBytes: bytes.length,
        digestBytes,
      });
    }
  }

  /** First pages of the logged windows, ascending. */
  windowStarts(): number[] {
    return [...this.#windows.keys()];
  }

  /** The pages logged in the window that begins at `startPage`. */
  window(startPage: number): Segment | undefined {
    const logged = this.#windows.get(startPage);
    if (logged === undefined) return undefined;
    const bytes = logged.bytes ?? this.#scratch.read(logged.offsetBytes, logged.lengthBytes);
    const segment = decodeSegment(bytes.subarray(logged.digestBytes), 'the log of copied pages');
    segment.digests.set(bytes.subarray(0, logged.digestBytes));
    if (segment.startPage !== startPage) {
      throw new IntegrityError('the log of copied pages is damaged: it holds another window');
    }
    return segment;
  }
}
