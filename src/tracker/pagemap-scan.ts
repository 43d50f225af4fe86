import { randomUUID } from 'node:crypto';
import { formatPageAddress } from '../core/index.ts';
import {
  decideMappings,
  type MappingDecision,
  type PageRule,
  type ProcessView,
  type Vma,
  type WriteProtection,
} from '../target/index.ts';
import { ChangesBuilder } from './changes-builder.ts';
import { collectPages, isPrivate } from './collect.ts';
import { decodeState, encodeState, type PagemapScanState } from './pagemap-scan-state.ts';
import { UnprotectedPages } from './protect-pages.ts';
import { scanPrivate } from './protected-scan.ts';
import type { Changes, ParentPages, Tracker } from './tracker.ts';

/** Signature where nobody else can protect pages. */
const NOBODY_ELSE = '-';

/** What `collect` learned of a process, for the `arm` of the same freeze. */
interface Found {
  readonly unprotected: readonly UnprotectedPages[];
  /** Why nothing can be protected. */
  readonly problem: string | undefined;
}

/**
 * Pages are write-protected by a userfaultfd with WP_ASYNC; PAGEMAP_SCAN tells which were written since. It needs no
 * soft-dirty, and what it costs follows the page tables that exist and the pages that were written. `collect` looks and
 * registers mappings that are new, `arm` protects what is not protected: between the two the target stands still.
 *
 * A page is believed unchanged if it is protected, in a mapping that our userfaultfd still holds, and the ledger shows
 * that the parent protected it. Whatever happens to memory takes one of these away: a store the protection, mremap and
 * a new mapping at the old place the registration, MADV_DONTNEED the page. fork gives the child neither, exec and
 * closing the descriptor take everything. What needs more than that:
 *
 *   marks left by mremap on pages that moved         lifted when the mapping is registered
 *   markers where a page of a file mapping was       told from swapped pages by their words; holes
 *   pages of zeros                                   never believed; holes in anonymous memory
 *   shared memory, hugetlb                           never believed: others write there too
 *   mappings of the target's own userfaultfd         never believed
 *   devices that write into pinned memory            nothing is protected; the next dump compares everything
 *   a dump that armed and then failed                the ledger shows a signature that no checkpoint has
 *
 * What the program may notice: a fault for the first store to each page; huge pages that are split by a store, and not
 * collapsed again; two descriptors more; an mremap over several mappings fails (EFAULT) where some are registered, and
 * so does a userfaultfd of its own on memory that is tracked already (EBUSY). `ckpt untrack` takes all of it back.
 */
export class PagemapScanTracker implements Tracker {
  readonly kind = 'pagemap-scan';
  readonly #found = new WeakMap<ProcessView, Found>();

  collect(process: ProcessView, vmas: readonly Vma[], parent: ParentPages | undefined): Changes {
    const changes = new ChangesBuilder(parent?.present);
    const decisions = decideMappings(vmas);
    const problem = problemOf(process, vmas);
    const trusted = problem === undefined && isTrusted(process, parent, changes);
    if (problem !== undefined) changes.note(`${nameOf(process)} cannot be tracked: ${problem}`);
    const look = new Look(process, problem === undefined ? process.writeProtection : undefined);
    const scannedPages = look.run(decisions.filter(isPrivate), trusted, changes);
    if (look.foreign.length > 0) changes.note(foreignNote(process, look.foreign));
    this.#found.set(process, { unprotected: [...look.unprotected.values()], problem });
    const others = new ChangesBuilder();
    const otherVmas = decisions.filter((decision) => !isPrivate(decision)).map(({ vma }) => vma);
    const otherPages = collectPages(process, otherVmas, undefined, others);
    changes.join(others);
    return changes.build(scannedPages + otherPages);
  }

  arm(process: ProcessView, vmas: readonly Vma[]): Uint8Array {
    if (!this.#found.has(process)) this.collect(process, vmas, undefined);
    const { unprotected, problem } = this.#found.get(process)!;
    this.#found.delete(process);
    if (problem !== undefined) return encodeState({ kind: 'unarmed', reason: problem });
    const ledger = process.writeProtection!.ledger;
    const signature = ledger === undefined ? NOBODY_ELSE : randomUUID();
    // Signed before anything is protected: if we die between the two, the next dump compares for nothing.
    ledger?.sign(signature);
    for (const pages of unprotected) pages.protect(process);
    return encodeState({ kind: 'armed', signature });
  }
}

function nameOf(process: ProcessView): string {
  return `process ${process.pid} (${process.name})`;
}

/** Why this process cannot be tracked now. Prepares the userfaultfd otherwise. */
function problemOf(process: ProcessView, vmas: readonly Vma[]): string | undefined {
  const protection = process.writeProtection;
  if (protection === undefined) return 'its pages cannot be write-protected from outside';
  return protection.unseenWriters(vmas) ?? protection.establish();
}

/** Whether protected pages were protected by the parent. Notes why not. */
function isTrusted(process: ProcessView, parent: ParentPages | undefined, changes: ChangesBuilder): boolean {
  if (parent === undefined) return false;
  const state: PagemapScanState | undefined =
    parent.trackerState === undefined ? undefined : decodeState(parent.trackerState);
  const problem = distrust(process, state);
  if (problem !== undefined) changes.note(`${nameOf(process)} ${problem}: every page is compared`);
  return problem === undefined;
}

function distrust(process: ProcessView, state: PagemapScanState | undefined): string | undefined {
  if (state === undefined) return 'was not tracked by pagemap-scan before';
  if (state.kind === 'unarmed') return `was not tracked since the last checkpoint (${state.reason})`;
  const ledger = process.writeProtection!.ledger;
  if (ledger === undefined || ledger.lastSignature() === state.signature) return undefined;
  return ledger.lastSignature() === undefined
    ? 'has lost its userfaultfd since the last checkpoint'
    : 'was tracked for another dump since the last checkpoint';
}

function foreignNote(process: ProcessView, foreign: readonly Vma[]): string {
  const { startPage, endPage } = foreign[0]!;
  const place = `${formatPageAddress(startPage)}-${formatPageAddress(endPage)}`;
  const more = foreign.length === 1 ? '' : ` and ${foreign.length - 1} other mappings`;
  return `${nameOf(process)} watches ${place}${more} with a userfaultfd of its own: compared page by page`;
}

/** One look at the private memory of a process. */
class Look {
  readonly unprotected = new Map<PageRule, UnprotectedPages>();
  readonly foreign: Vma[] = [];
  readonly #process: ProcessView;
  readonly #protection: WriteProtection | undefined;
  #current: Vma | undefined;
  /** The current mapping was registered by us before this look; then what it tells can be believed. */
  #wasOurs = false;
  #isOurs = false;
  /** Of the rule of the current mapping. */
  #pages = new UnprotectedPages('none');

  constructor(process: ProcessView, protection: WriteProtection | undefined) {
    this.#process = process;
    this.#protection = protection;
  }

  /** @returns pages that the scan reported */
  run(decisions: readonly MappingDecision[], trusted: boolean, changes: ChangesBuilder): number {
    return scanPrivate(this.#process, decisions, 'protection', (decision, stretch) => {
      const { startPage, endPage, untouched } = stretch;
      if (decision.vma !== this.#current) this.#enter(decision, stretch.allowed);
      if (this.#isOurs && !this.#wasOurs && stretch.marked) this.#protection!.lift(startPage, endPage);
      if (this.#isOurs && !(this.#wasOurs && untouched)) this.#pages.addPages(startPage, endPage);
      if (trusted && untouched && this.#wasOurs) changes.clean(startPage, endPage);
      else changes.suspect(startPage, endPage);
    });
  }

  /** Only mappings with pages are seen here, and only they are worth registering. */
  #enter({ vma, rule }: MappingDecision, allowed: boolean): void {
    this.#current = vma;
    const { startPage, endPage } = vma;
    const protection = this.#protection;
    this.#wasOurs = allowed && protection?.owns(startPage, endPage) === true;
    this.#isOurs = this.#wasOurs;
    if (protection !== undefined && !this.#wasOurs) {
      const result = allowed ? 'foreign' : protection.register(startPage, endPage);
      this.#isOurs = result === 'registered';
      if (result === 'foreign') this.foreign.push(vma);
    }
    if (!this.#isOurs) return;
    this.#pages = this.unprotected.get(rule) ?? new UnprotectedPages(rule);
    this.unprotected.set(rule, this.#pages);
    this.#pages.addMapping(startPage, endPage);
  }
}
