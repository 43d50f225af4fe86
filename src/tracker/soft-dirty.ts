import { randomUUID } from 'node:crypto';
import { PageRangeList } from '../core/index.ts';
import { CLEAR_REFS } from '../procfs/index.ts';
import { decideMappings, type MappingDecision, type ProcessView, type Vma } from '../target/index.ts';
import { type Block, type Piece, scanBlocks } from './block-scan.ts';
import { ChangesBuilder } from './changes-builder.ts';
import { collectPages, isPrivate, type Trust } from './collect.ts';
import { PageTableSamples } from './page-table-samples.ts';
import { canScanSoftDirty, collectSoftDirty } from './soft-dirty-scan.ts';
import { decodeState, encodeState, type SoftDirtyState } from './soft-dirty-state.ts';
import type { Changes, ParentPages, Tracker } from './tracker.ts';

/**
 * Reads soft-dirty bits, by PAGEMAP_SCAN or bit 55 of pagemap, and clears them through clear_refs. The kernel's bit has holes through which a change can
 * slip; each is closed by not believing it there (all others are changes of presence, and presence is read anew
 * every time):
 *
 *   page tables moved whole by mremap      believed only where a remembered page still stands (PageTableSamples)
 *   pages merged by KSM                    mappings that are, or were when we armed, mergeable: never believed
 *   shared memory, hugetlb                 never believed
 *   markers put in place of a page         never believed
 *   a page of zeros in place of data       recognised by its frame, and a hole
 *   bits cleared by somebody else          everything is suspect unless the ledger shows our own signature
 *   a clean page that the parent lacks     suspect (mappings that merge can lose the mark of being new)
 *
 * What remains: bits that another program cleared (CRIU, a tracer of its own), which does not sign our ledger; and
 * memory that was made mergeable, merged, and unmerged again between two dumps, on Linux 6.12 or later.
 */
export class SoftDirtyTracker implements Tracker {
  readonly kind = 'soft-dirty';
  /** Samples seen by `collect`, for the `arm` of the same freeze. */
  readonly #fresh = new WeakMap<ProcessView, PageTableSamples>();

  collect(process: ProcessView, vmas: readonly Vma[], parent: ParentPages | undefined): Changes {
    const changes = new ChangesBuilder(parent?.present);
    const fresh = new PageTableSamples();
    const state = parent === undefined ? undefined : believable(process, parent, changes);
    const scannedPages = canScanSoftDirty(process)
      ? collectByScan(process, vmas, state, fresh, changes)
      : collectPages(process, vmas, trustIn(process, state, fresh), changes);
    this.#fresh.set(process, fresh);
    return changes.build(scannedPages);
  }

  arm(process: ProcessView, vmas: readonly Vma[]): Uint8Array {
    const samples = this.#fresh.get(process) ?? samplesOf(process, vmas);
    this.#fresh.delete(process);
    const signature = process.clearLedger === undefined ? '' : randomUUID();
    // Signed before the clear: if we die between the two, the bits are distrusted for nothing, which is harmless.
    process.clearLedger?.sign(signature);
    process.clearReferences(CLEAR_REFS.softDirty);
    return encodeState({ signature, mergeable: mergeableRanges(vmas), samples });
  }
}

/** The parent's notes, unless something tells that the bits do not count from them. */
function believable(
  process: ProcessView,
  parent: ParentPages,
  changes: ChangesBuilder,
): SoftDirtyState | undefined {
  const state = parent.trackerState === undefined ? undefined : decodeState(parent.trackerState);
  if (state === undefined) {
    changes.note(`process ${process.pid} was not tracked by soft-dirty before: every page is compared`);
    return undefined;
  }
  if (process.clearLedger !== undefined && process.clearLedger.lastSignature() !== state.signature) {
    changes.note(
      `the soft-dirty bits of process ${process.pid} were cleared by another dump since: every page is compared`,
    );
    return undefined;
  }
  return state;
}

/** Private memory by PAGEMAP_SCAN, the rest by its words. */
function collectByScan(
  process: ProcessView,
  vmas: readonly Vma[],
  state: SoftDirtyState | undefined,
  fresh: PageTableSamples,
  changes: ChangesBuilder,
): number {
  const decisions = decideMappings(vmas);
  const others = new ChangesBuilder();
  const otherVmas = decisions.filter((decision) => !isPrivate(decision)).map(({ vma }) => vma);
  const otherPages = collectPages(process, otherVmas, undefined, others);
  const knowledge = { samples: state?.samples, isCredible: credibility(state) };
  const pages = collectSoftDirty(process, decisions.filter(isPrivate), knowledge, fresh, changes);
  changes.join(others);
  return pages + otherPages;
}

/** A clear bit is not believed in memory that KSM could merge, now or when we armed. */
function credibility(
  state: SoftDirtyState | undefined,
): (decision: MappingDecision, startPage: number, endPage: number) => boolean {
  return ({ vma }, startPage, endPage) =>
    !vma.flags.includes('mg') && state?.mergeable.within(startPage, endPage).pageCount === 0;
}

function trustIn(process: ProcessView, state: SoftDirtyState | undefined, fresh: PageTableSamples): Trust {
  const zeroFrame = process.zeroFrame ?? -1;
  const isCredible = credibility(state);
  return {
    block(block: Block): boolean {
      fresh.record(block, zeroFrame);
      return state?.samples.confirms(block) ?? false;
    },
    piece: ({ decision, startPage, endPage }: Piece) => isCredible(decision, startPage, endPage),
  };
}

/** Samples without a collect before. */
function samplesOf(process: ProcessView, vmas: readonly Vma[]): PageTableSamples {
  const samples = new PageTableSamples();
  const decisions = decideMappings(vmas).filter(isPrivate);
  scanBlocks(process, decisions, (block) => samples.record(block, process.zeroFrame ?? -1));
  return samples;
}

function mergeableRanges(vmas: readonly Vma[]): PageRangeList {
  return PageRangeList.of(...vmas.filter(({ flags }) => flags.includes('mg')));
}
