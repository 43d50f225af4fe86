import type { ByteReader, ByteWriter } from '../core/index.ts';
import { pagemapFrame } from '../procfs/index.ts';
import type { ProcessView } from '../target/index.ts';
import { BLOCK_PAGES, type Block, type Piece } from './block-scan.ts';
import { findSample, isUntouchedSample } from './classify.ts';

/**
 * mremap can move a whole page table, 2 MiB of pages, without setting a single soft-dirty bit (mm/mremap.c,
 * move_normal_pmd). A clean page may then have come from another address, and two regions that changed places
 * leave maps as it was. So a few pages of every page table are remembered with their frame numbers: while one of
 * them stands in its slot, clean and on the same frame, the table is the one that stood there before. A page that was
 * moved on its own would be soft-dirty; a frame that was freed and used again for a clean page of another table in
 * the same slot would have to pass through swap or migration.
 */
const SAMPLES_PER_BLOCK = 4;
export const SAMPLE_SPACING = BLOCK_PAGES / SAMPLES_PER_BLOCK;

/** Samples of many blocks, in address order; flat, since a large target has a hundred thousand of them. */
export class PageTableSamples {
  #blocks: number[] = [];
  #counts: number[] = [];
  #slots: number[] = [];
  #frames: number[] = [];
  /** Reading position of `confirms`: block, and first sample of it. */
  #nextBlock = 0;
  #nextSample = 0;

  /** Blocks with at least one sample. */
  get blockCount(): number {
    return this.#blocks.length;
  }

  /** Remembers up to four pages of the private, unmergeable pieces of `block`, spread over it. */
  record(block: Block, zeroFrame: number): void {
    const before = this.#slots.length;
    for (let quarter = 0; quarter < BLOCK_PAGES; quarter += SAMPLE_SPACING) {
      for (const piece of block.pieces) {
        if (!canSample(piece.decision)) continue;
        const from = Math.max(piece.startPage - block.startPage, quarter);
        const to = Math.min(piece.endPage - block.startPage, quarter + SAMPLE_SPACING);
        const index = findSample(
          block.signedWords,
          block.wordOffset + from,
          block.wordOffset + to,
          zeroFrame,
        );
        if (index < 0) continue;
        this.#slots.push(index - block.wordOffset);
        this.#frames.push(pagemapFrame(block.words, index));
        break;
      }
    }
    const count = this.#slots.length - before;
    if (count === 0) return;
    this.#blocks.push(block.number);
    this.#counts.push(count);
  }

  /** Remembers pages of a block, by the words of just these pages. */
  add(blockNumber: number, samples: readonly { readonly slot: number; readonly frame: number }[]): void {
    if (samples.length === 0) return;
    this.#blocks.push(blockNumber);
    this.#counts.push(samples.length);
    for (const { slot, frame } of samples) {
      this.#slots.push(slot);
      this.#frames.push(frame);
    }
  }

  /** Whether a remembered page of `block` is where it was. Blocks must be asked for in address order. */
  confirms(block: Block): boolean {
    return this.#isConfirmed(block.number, (slot, frame) =>
      isUntouchedSample(block.signedWords, block.wordOffset + slot, frame),
    );
  }

  /** The same, for a block of which nothing was read yet: reads the words of remembered pages, one by one. */
  confirmsAlone(blockNumber: number, process: ProcessView): boolean {
    const words = new Uint32Array(2);
    const signedWords = new Int32Array(words.buffer);
    return this.#isConfirmed(blockNumber, (slot, frame) => {
      process.readPagemap(blockNumber * BLOCK_PAGES + slot, 1, words);
      return isUntouchedSample(signedWords, 0, frame);
    });
  }

  #isConfirmed(blockNumber: number, stands: (slot: number, frame: number) => boolean): boolean {
    while (this.#nextBlock < this.#blocks.length && this.#blocks[this.#nextBlock]! < blockNumber) {
      this.#nextSample += this.#counts[this.#nextBlock++]!;
    }
    if (this.#blocks[this.#nextBlock] !== blockNumber) return false;
    const end = this.#nextSample + this.#counts[this.#nextBlock]!;
    for (let sample = this.#nextSample; sample < end; sample++) {
      if (stands(this.#slots[sample]!, this.#frames[sample]!)) return true;
    }
    return false;
  }

  /** Count of blocks; then for each: distance to the one before, count of samples, slot and frame of each. */
  write(writer: ByteWriter): void {
    writer.varint(this.#blocks.length);
    let previous = 0;
    let sample = 0;
    this.#blocks.forEach((block, index) => {
      writer.varint(block - previous);
      previous = block;
      const count = this.#counts[index]!;
      writer.u8(count);
      for (let end = sample + count; sample < end; sample++) {
        writer.varint(this.#slots[sample]!);
        writer.varint(this.#frames[sample]!);
      }
    });
  }

  /** @throws IntegrityError if the bytes end early or name an impossible slot */
  static read(reader: ByteReader): PageTableSamples {
    const samples = new PageTableSamples();
    const blockCount = reader.varint();
    let block = 0;
    for (let index = 0; index < blockCount; index++) {
      block += reader.varint();
      const count = reader.u8();
      samples.#blocks.push(block);
      samples.#counts.push(count);
      for (let sample = 0; sample < count; sample++) {
        const slot = reader.varint();
        if (slot >= BLOCK_PAGES) throw reader.damaged(`slot ${slot} in a block of ${BLOCK_PAGES} pages`);
        samples.#slots.push(slot);
        samples.#frames.push(reader.varint());
      }
    }
    return samples;
  }
}

/** Whether a page of such a mapping stays what it is unless something is done to it. */
export function canSample({ rule, vma }: Piece['decision']): boolean {
  return (rule === 'existing' || rule === 'copied') && !vma.flags.includes('mg');
}
