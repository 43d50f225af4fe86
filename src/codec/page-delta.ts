import { ByteReader, PAGE_SIZE } from '../core/index.ts';

/*
 * A page delta is what turns the previous version of a page into the current one: runs, in address order,
 *
 *   | skip: varint | length: varint | length bytes |   | skip | length | bytes |   ...
 *
 * `skip` counts the bytes kept since the end of the run before (or the page's start), `length` (at least 1) the new
 * bytes that follow. After the last run the page goes on unchanged; equal pages have an empty delta.
 */

/** A delta larger than this is not worth its second lookup: the page is stored whole. */
export const MAX_PAGE_DELTA_BYTES = PAGE_SIZE / 2;

/** Unchanged bytes between two runs that cost no more in one joined run than the two numbers of a second one. */
const JOINED_GAP_BYTES = 2;

/**
 * Writes the delta from `previous` to `current`, both of 4096 bytes, to the start of `out`.
 * @param out has at least MAX_PAGE_DELTA_BYTES; its content is unspecified if -1 is returned.
 * @returns the delta's length in bytes, or -1 if it would exceed MAX_PAGE_DELTA_BYTES.
 */
export function encodePageDelta(previous: Uint8Array, current: Uint8Array, out: Uint8Array): number {
  if (previous.length !== PAGE_SIZE || current.length !== PAGE_SIZE || out.length < MAX_PAGE_DELTA_BYTES) {
    throw new RangeError(
      `page delta of ${previous.length} and ${current.length} bytes into ${out.length} bytes`,
    );
  }
  const previousWords = wordsOf(previous);
  const currentWords = wordsOf(current);
  let length = 0;
  let kept = 0;
  let at = 0;
  for (;;) {
    at = nextDifference(previous, current, previousWords, currentWords, at);
    if (at === PAGE_SIZE) return length;
    const end = endOfRun(previous, current, at);
    const runBytes = numberBytes(at - kept) + numberBytes(end - at) + (end - at);
    if (length + runBytes > MAX_PAGE_DELTA_BYTES) return -1;
    length = putNumber(out, length, at - kept);
    length = putNumber(out, length, end - at);
    for (let index = at; index < end; index++) out[length++] = current[index]!;
    kept = end;
    at = end;
  }
}

/** The first position from `at` where the pages differ, or PAGE_SIZE. */
function nextDifference(
  previous: Uint8Array,
  current: Uint8Array,
  previousWords: Int32Array,
  currentWords: Int32Array,
  at: number,
): number {
  while ((at & 3) !== 0) {
    if (previous[at] !== current[at]) return at;
    at++;
  }
  let word = at >> 2;
  while (word < previousWords.length && previousWords[word] === currentWords[word]) word++;
  at = word << 2;
  while (at < PAGE_SIZE && previous[at] === current[at]) at++;
  return at;
}

/** Where the run that begins at the difference `start` ends: behind its last difference before a larger gap. */
function endOfRun(previous: Uint8Array, current: Uint8Array, start: number): number {
  let end = start + 1;
  const last = Math.min(PAGE_SIZE, start + MAX_PAGE_DELTA_BYTES + 1);
  for (let at = end; at < last && at - end <= JOINED_GAP_BYTES; at++) {
    if (previous[at] !== current[at]) end = at + 1;
  }
  return end;
}

/** Bytes of a varint; nothing in a page needs more than two. */
const numberBytes = (value: number) => (value < 128 ? 1 : 2);

function putNumber(out: Uint8Array, at: number, value: number): number {
  if (value < 128) {
    out[at] = value;
    return at + 1;
  }
  out[at] = (value & 127) | 128;
  out[at + 1] = value >> 7;
  return at + 2;
}

/** The page as words; through a copy where its place in memory does not allow a view. */
function wordsOf(page: Uint8Array): Int32Array {
  const aligned = page.byteOffset % 4 === 0 ? page : page.slice();
  return new Int32Array(aligned.buffer, aligned.byteOffset, PAGE_SIZE / 4);
}

/**
 * Rebuilds a page in `out` from its previous version and a delta. `out` may be `previous` itself.
 * @param record names the delta in errors.
 * @throws IntegrityError if the delta is malformed or reaches beyond the page; `out` is then unspecified.
 */
export function applyPageDelta(
  previous: Uint8Array,
  delta: Uint8Array,
  out: Uint8Array,
  record = 'page delta',
): void {
  if (previous.length !== PAGE_SIZE || out.length !== PAGE_SIZE) {
    throw new RangeError(`page delta from ${previous.length} to ${out.length} bytes`);
  }
  out.set(previous);
  const reader = new ByteReader(delta, record);
  let at = 0;
  while (reader.remainingBytes > 0) {
    at += reader.varint();
    const length = reader.varint();
    if (length === 0) throw reader.damaged('an empty run');
    if (at + length > PAGE_SIZE)
      throw reader.damaged(`a run that ends at ${at + length} of ${PAGE_SIZE} bytes`);
    out.set(reader.raw(length), at);
    at += length;
  }
}
