import { mix32, PAGE_SIZE, Random } from '../core/index.ts';
import type { ContentDefinition } from './model.ts';

/** Words of the made-up language are stored in so many bytes, and copied whole. */
const LONGEST_WORD_BYTES = 12;

/**
 * The hot loops that make up memory contents. They write into one shared scratch page, whole words at a time, and
 * depend on a 32-bit seed alone. What they imitate is how well such memory compresses: prose about 3 to 1, tables of
 * records about 3 to 1, encrypted or already compressed data not at all.
 */
export const scratchPage = new Uint8Array(new ArrayBuffer(PAGE_SIZE + LONGEST_WORD_BYTES), 0, PAGE_SIZE);
const scratchWords = new Uint32Array(scratchPage.buffer, 0, PAGE_SIZE / 4);
const scratchView = new DataView(scratchPage.buffer);

const RECORD_WORDS = 16;
/** Size of the pieces of a `mix` page that are either compressible or not. */
const MIX_CELL_WORDS = 64;

/** Fills the first `length` bytes (rounded up to words) of the scratch page. */
export function fillScratch(content: ContentDefinition, seed: number, length: number): void {
  const wordCount = (length + 3) >>> 2;
  switch (content.kind) {
    case 'zero':
      scratchWords.fill(0, 0, wordCount);
      break;
    case 'text':
      fillText(seed, wordCount * 4);
      break;
    case 'records':
      fillRecords(seed, 0, wordCount);
      break;
    case 'random':
      fillRandom(seed, 0, wordCount);
      break;
    case 'mix':
      fillMix(content.compressible, seed, wordCount);
      break;
    case 'padded':
      fillPadded(content.compressible, seed, wordCount);
      break;
  }
}

/** xorshift32 (Marsaglia 2003): too uniform for any compressor, and fast. */
function fillRandom(seed: number, startWord: number, endWord: number): void {
  let state = seed | 0 || 0x6d2b79f5;
  for (let word = startWord; word < endWord; word++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    scratchWords[word] = state;
  }
}

/**
 * Rows of 64 bytes as an allocator of C structures leaves them: a serial number, a time, small fields, a pointer, a
 * hash, a short printable key, padding.
 */
function fillRecords(seed: number, startWord: number, endWord: number): void {
  let state = seed | 0 || 0x6d2b79f5;
  let serial = seed & 0x00ffffff;
  for (let row = startWord; row < endWord; row += RECORD_WORDS) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const first = state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const second = state;
    scratchWords[row] = serial;
    scratchWords[row + 1] = 0;
    scratchWords[row + 2] = (0x5f3759df + serial * 16 + (first & 15)) | 0;
    scratchWords[row + 3] = 0x190;
    scratchWords[row + 4] = ((first >>> 4) & 7) | 0x00010000;
    scratchWords[row + 5] = (first >>> 7) & 3;
    scratchWords[row + 6] = second & 0x0ffffff0;
    scratchWords[row + 7] = 0x7f3a;
    scratchWords[row + 8] = first;
    scratchWords[row + 9] = (second >>> 24) & 0x3f;
    scratchWords[row + 10] = 0x72657375; // "user"
    scratchWords[row + 11] = 0x3030303a + ((serial & 9) << 8) + ((first & 7) << 16) + ((second & 7) << 24);
    scratchWords[row + 12] = 0x30303030 + (first & 0x07070707);
    scratchWords[row + 13] = 0;
    scratchWords[row + 14] = 0;
    scratchWords[row + 15] = 0;
    serial++;
  }
}

function fillMix(compressible: number, seed: number, wordCount: number): void {
  const limit = compressible * 4294967296;
  for (let word = 0; word < wordCount; word += MIX_CELL_WORDS) {
    const end = Math.min(word + MIX_CELL_WORDS, wordCount);
    const cellSeed = mix32(seed + word);
    if (mix32(cellSeed ^ 0x5bd1e995) < limit) fillRecords(cellSeed, word, end);
    else fillRandom(cellSeed, word, end);
  }
}

/** Random bytes, then one byte over and over: buffers of which a part is in use. */
function fillPadded(padding: number, seed: number, wordCount: number): void {
  const used = Math.round(wordCount * (1 - padding));
  fillRandom(seed, 0, used);
  scratchWords.fill(0x5a5a5a5a, used, wordCount);
}

/** Words joined by blanks; small numbers are frequent words, as in Zipf's law for languages. */
function fillText(seed: number, length: number): void {
  let state = seed | 0 || 0x6d2b79f5;
  let at = 0;
  while (at < length) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const draw = (state >>> 8) & 0x3ff;
    const word = (draw * draw) >>> 10;
    // What is too much of a short word is overwritten by the next one; the buffer has room behind the page.
    scratchView.setUint32(at, vocabulary[word * 3]!, true);
    scratchView.setUint32(at + 4, vocabulary[word * 3 + 1]!, true);
    scratchView.setUint32(at + 8, vocabulary[word * 3 + 2]!, true);
    at += wordLengths[word]!;
  }
}

const WORD_COUNT = 1024;
const wordLengths = new Uint8Array(WORD_COUNT);
const vocabulary = buildVocabulary();

/** A made-up language: the same 1024 words in every workload, each in three 32-bit words. */
function buildVocabulary(): Uint32Array {
  const random = new Random(20130416);
  const onsets = ['b', 'd', 'f', 'g', 'k', 'l', 'm', 'n', 'p', 'r', 's', 't', 'v', 'st', 'tr', 'ch'];
  const vowels = ['a', 'e', 'i', 'o', 'u', 'ea', 'ou'];
  const codas = ['', '', '', 'n', 'r', 's', 't', 'l'];
  const pick = (from: readonly string[]) => from[random.nextBelow(from.length)]!;
  const bytes = new Uint8Array(WORD_COUNT * LONGEST_WORD_BYTES);
  for (let word = 0; word < WORD_COUNT; word++) {
    const syllables = 1 + random.nextBelow(2);
    let text = '';
    for (let syllable = 0; syllable < syllables; syllable++)
      text += pick(onsets) + pick(vowels) + pick(codas);
    text += word % 61 === 60 ? '.\n' : word % 13 === 12 ? ', ' : ' ';
    bytes.set(new TextEncoder().encode(text), word * LONGEST_WORD_BYTES);
    wordLengths[word] = text.length;
  }
  return new Uint32Array(bytes.buffer);
}
