import { pagemapFrame, SCAN_CATEGORY } from '../procfs/index.ts';
import type { MappingDecision, ProcessView } from '../target/index.ts';
import { BLOCK_PAGES } from './block-scan.ts';
import type { ChangesBuilder } from './changes-builder.ts';
import { findSample } from './classify.ts';
import { canSample, type PageTableSamples, SAMPLE_SPACING } from './page-table-samples.ts';
import { type Stretch, scanPrivate } from './protected-scan.ts';

/** Whether this kernel tells soft-dirty pages by PAGEMAP_SCAN (Linux 6.8); an empty range shows it. */
export function canScanSoftDirty(process: ProcessView): boolean {
  if (process.scanPagemap === undefined) return false;
  const nothing = { startPage: 0, endPage: 0, flags: 0, maximumRegions: 1, maximumPages: 0 };
  const categories = { categoryInverted: 0, categoryMask: 0, categoryAnyOfMask: 0 };
  try {
    process.scanPagemap({ ...nothing, ...categories, returnMask: SCAN_CATEGORY.softDirty });
    return true;
  } catch {
    return false;
  }
}

/** What is known of memory before a scan. */
export interface SoftDirtyKnowledge {
  /** Of the last arming; undefined if nothing may be believed. */
  readonly samples: PageTableSamples | undefined;
  /** Whether a clear bit may be believed in a stretch of a mapping whose page table is the one that was there. */
  readonly isCredible: (decision: MappingDecision, startPage: number, endPage: number) => boolean;
}

/**
 * Collects private pages by PAGEMAP_SCAN. It finds stretches of pages without a word for each, which takes a third of
 * the time of reading pagemap (measured on 6.18: 8 against 25 ms for 200,000 pages, samples included); words are read
 * for a few pages of each page table only, whose frames tell whether it has moved.
 * @param fresh gets the samples for the next period
 * @returns pages that were reported
 */
export function collectSoftDirty(
  process: ProcessView,
  decisions: readonly MappingDecision[],
  knowledge: SoftDirtyKnowledge,
  fresh: PageTableSamples,
  changes: ChangesBuilder,
): number {
  const tables = new TableWalk(process, knowledge.samples, fresh);
  const pages = scanPrivate(process, decisions, 'soft-dirty', (decision, stretch) => {
    for (let startPage = stretch.startPage; startPage < stretch.endPage; ) {
      const block = Math.floor(startPage / BLOCK_PAGES);
      const endPage = Math.min(stretch.endPage, (block + 1) * BLOCK_PAGES);
      tables.enter(block);
      if (stretch.inMemory && canSample(decision)) tables.offer(startPage, endPage, stretch);
      const isClean =
        stretch.untouched && tables.isKnown && knowledge.isCredible(decision, startPage, endPage);
      if (isClean) changes.clean(startPage, endPage);
      else changes.suspect(startPage, endPage);
      startPage = endPage;
    }
  });
  tables.leave();
  return pages;
}

/** A page that may serve as a sample. */
interface Candidate {
  readonly page: number;
  readonly untouched: boolean;
}

/** Goes from page table to page table: recognises the old ones, and takes samples of all. */
class TableWalk {
  /** The current table is the one that stood here when the parent armed. */
  isKnown = false;
  readonly #process: ProcessView;
  readonly #samples: PageTableSamples | undefined;
  readonly #fresh: PageTableSamples;
  #block = -1;
  /** One for each part of the table, preferably not written lately. */
  readonly #candidates: (Candidate | undefined)[] = new Array(BLOCK_PAGES / SAMPLE_SPACING).fill(undefined);

  constructor(process: ProcessView, samples: PageTableSamples | undefined, fresh: PageTableSamples) {
    this.#process = process;
    this.#samples = samples;
    this.#fresh = fresh;
  }

  enter(block: number): void {
    if (block === this.#block) return;
    this.leave();
    this.#block = block;
    this.isKnown = this.#samples?.confirmsAlone(block, this.#process) ?? false;
  }

  /** Part of the current table, of pages in memory that are all alike. */
  offer(startPage: number, endPage: number, { untouched }: Stretch): void {
    for (let page = startPage; page < endPage; page += SAMPLE_SPACING - (page % SAMPLE_SPACING)) {
      const part = Math.floor((page % BLOCK_PAGES) / SAMPLE_SPACING);
      const known = this.#candidates[part];
      if (known === undefined || (untouched && !known.untouched))
        this.#candidates[part] = { page, untouched };
    }
  }

  /** Remembers the samples of the current table. */
  leave(): void {
    const words = new Uint32Array(2);
    const signedWords = new Int32Array(words.buffer);
    const samples = this.#candidates.flatMap((candidate) => {
      if (candidate === undefined) return [];
      this.#process.readPagemap(candidate.page, 1, words);
      if (findSample(signedWords, 0, 1, this.#process.zeroFrame ?? -1) < 0) return [];
      return [{ slot: candidate.page % BLOCK_PAGES, frame: pagemapFrame(words, 0) }];
    });
    this.#fresh.add(this.#block, samples);
    this.#candidates.fill(undefined);
  }
}
