import { PageRangeList } from '../../core/index.ts';
import type { Vma } from '../view.ts';
import {
  anonymousName,
  growsDown,
  isFixedSpecial,
  isMovableSpecial,
  isPrivateAnonymous,
  isSameObject,
  whyNotAgain,
} from './mapping-kinds.ts';
import type { Advice, MappingObstacle, MappingOperation } from './mapping-operations.ts';
import { planMoves, type SpecialMove } from './plan-moves.ts';

/** How to get from one address space to another. */
export interface MappingPlan {
  readonly operations: readonly MappingOperation[];
  /** What the operations leave out because it cannot be done. */
  readonly obstacles: readonly MappingObstacle[];
  /** Pages mapped to the same object before and after: they hold what they held. */
  readonly kept: PageRangeList;
  /** Pages mapped anew: they hold zeros, or what their file holds. */
  readonly fresh: PageRangeList;
  /** Pages that are unmapped for good, or mapped anew to something else: what they held is lost. */
  readonly dropped: PageRangeList;
}

/**
 * Finds the operations that turn the mappings `current` of a process into `wanted`. Both are in address order. What
 * is the same before and after is not touched. The break is no matter of mappings: see `setMemoryLayout`.
 */
export function planMappings(current: readonly Vma[], wanted: readonly Vma[]): MappingPlan {
  return new Planner(current, wanted).plan();
}

class Planner {
  readonly #current: readonly Vma[];
  readonly #wanted: readonly Vma[];
  readonly #moves: SpecialMove[] = [];
  readonly #obstacles: MappingObstacle[] = [];
  readonly #maps: MappingOperation[] = [];
  readonly #adjustments: MappingOperation[] = [];
  readonly #kept = new PageRangeList();
  readonly #fresh = new PageRangeList();

  constructor(current: readonly Vma[], wanted: readonly Vma[]) {
    this.#current = current.filter((vma) => !isFixedSpecial(vma));
    this.#wanted = wanted.filter((vma) => !isFixedSpecial(vma));
  }

  plan(): MappingPlan {
    let from = 0;
    for (const vma of this.#wanted) {
      if (isMovableSpecial(vma) && this.#planSpecial(vma)) continue;
      while (from < this.#current.length && this.#current[from]!.endPage <= vma.startPage) from++;
      this.#planMapping(vma, from);
    }
    const unwanted = this.#unwanted();
    return {
      operations: [
        ...this.#unmaps(unwanted),
        ...planMoves(this.#moves, this.#current, this.#wanted),
        ...this.#maps,
        ...this.#adjustments,
      ],
      obstacles: this.#obstacles,
      kept: this.#kept,
      fresh: this.#fresh,
      dropped: unwanted,
    };
  }

  /** @returns whether the special mapping is in place, or can be moved there */
  #planSpecial(vma: Vma): boolean {
    const pageCount = vma.endPage - vma.startPage;
    const here = this.#current.find(
      (one) => one.pathname === vma.pathname && one.endPage - one.startPage === pageCount,
    );
    if (here === undefined) return false;
    if (here.startPage !== vma.startPage) {
      this.#moves.push({ fromPage: here.startPage, toPage: vma.startPage, pageCount });
    } else this.#kept.append(vma.startPage, vma.endPage);
    return true;
  }

  /** Goes through the parts of a wanted mapping: those that are there already, and those that are not. */
  #planMapping(vma: Vma, from: number): void {
    let page = vma.startPage;
    for (let index = from; index < this.#current.length; index++) {
      const here = this.#current[index]!;
      if (here.startPage >= vma.endPage) break;
      if (!isSameObject(here, vma)) continue;
      const startPage = Math.max(here.startPage, vma.startPage);
      const endPage = Math.min(here.endPage, vma.endPage);
      this.#planFresh(vma, page, startPage, growsDown(vma) ? here : undefined);
      this.#kept.append(startPage, endPage);
      this.#adjust(here, vma, startPage, endPage);
      page = endPage;
    }
    this.#planFresh(vma, page, vma.endPage, undefined);
  }

  /** @param stackAbove the mapping that can grow down to here, if there is one */
  #planFresh(vma: Vma, startPage: number, endPage: number, stackAbove: Vma | undefined): void {
    if (startPage >= endPage) return;
    const problem = whyNotAgain(vma);
    if (problem !== undefined) {
      this.#obstacles.push({ startPage, endPage, problem });
      return;
    }
    this.#fresh.append(startPage, endPage);
    this.#maps.push({ kind: stackAbove === undefined ? 'map' : 'grow', startPage, endPage, vma });
    const plain = {
      ...vma,
      pathname: '',
      flags: vma.flags.filter((flag) => !ADJUSTABLE_FLAGS.has(flag)),
    };
    if (stackAbove !== undefined) {
      // What has grown has the rights and flags of what it grew from; what had to be mapped instead has not.
      const { read, write, execute } = vma;
      this.#adjustments.push({ kind: 'protect', startPage, endPage, read, write, execute });
      plain.flags.push(...stackAbove.flags.filter((flag) => !vma.flags.includes(flag)));
    }
    if (vma.flags.length > 0) this.#adjustFlags(plain, vma, startPage, endPage);
    this.#adjustName(plain, vma, startPage, endPage);
  }

  #adjust(here: Vma, vma: Vma, startPage: number, endPage: number): void {
    const { read, write, execute } = vma;
    if (here.read !== read || here.write !== write || here.execute !== execute) {
      this.#adjustments.push({ kind: 'protect', startPage, endPage, read, write, execute });
    }
    if (here.flags.length > 0 && vma.flags.length > 0) this.#adjustFlags(here, vma, startPage, endPage);
    this.#adjustName(here, vma, startPage, endPage);
  }

  #adjustFlags(here: Vma, vma: Vma, startPage: number, endPage: number): void {
    const has = (flag: string) => here.flags.includes(flag);
    const wants = (flag: string) => vma.flags.includes(flag);
    for (const { flag, given, taken } of LASTING_ADVICE) {
      const advice = wants(flag) ? given : taken;
      if (has(flag) === wants(flag) || advice === undefined) continue;
      this.#adjustments.push({ kind: 'advise', startPage, endPage, advice });
    }
    if (has('rr') !== wants('rr') || has('sr') !== wants('sr')) {
      const advice = wants('rr') ? 'random' : wants('sr') ? 'sequential' : 'normal';
      this.#adjustments.push({ kind: 'advise', startPage, endPage, advice });
    }
    if (has('lo') === wants('lo') && has('lf') === wants('lf')) return;
    if (wants('lo')) this.#adjustments.push({ kind: 'lock', startPage, endPage, onFault: wants('lf') });
    else this.#adjustments.push({ kind: 'unlock', startPage, endPage });
  }

  #adjustName(here: Vma, vma: Vma, startPage: number, endPage: number): void {
    const name = anonymousName(vma);
    if (!isPrivateAnonymous(vma) || anonymousName(here) === name) return;
    this.#adjustments.push({ kind: 'name', startPage, endPage, name });
  }

  /** Present mappings that are neither kept nor moved. */
  #unwanted(): PageRangeList {
    const moved = new Set(this.#moves.map(({ fromPage }) => fromPage));
    const unwanted = new PageRangeList();
    for (const { startPage, endPage } of this.#current) {
      if (moved.has(startPage)) continue;
      let page = startPage;
      for (const kept of this.#kept.within(startPage, endPage)) {
        unwanted.append(page, kept.startPage);
        page = kept.endPage;
      }
      unwanted.append(page, endPage);
    }
    return unwanted;
  }

  /** One call a mapping: a sealed one among them then fails alone. */
  #unmaps(unwanted: PageRangeList): MappingOperation[] {
    const operations: MappingOperation[] = [];
    for (const { startPage, endPage, flags } of this.#current) {
      for (const part of unwanted.within(startPage, endPage)) {
        if (flags.includes('sl')) {
          this.#obstacles.push({
            ...part,
            problem: 'memory that was sealed since (mseal) cannot be unmapped',
          });
        } else operations.push({ kind: 'unmap', ...part });
      }
    }
    return operations;
  }
}

/** VmFlags that advice sets and, if there is such advice, takes away (mm/madvise.c, madvise_vma_behavior). */
const LASTING_ADVICE: readonly {
  readonly flag: string;
  readonly given: Advice;
  readonly taken: Advice | undefined;
}[] = [
  { flag: 'dc', given: 'doNotFork', taken: 'doFork' },
  { flag: 'dd', given: 'doNotDump', taken: 'doDump' },
  { flag: 'wf', given: 'wipeOnFork', taken: 'keepOnFork' },
  { flag: 'mg', given: 'mergeable', taken: 'unmergeable' },
  // What was once for or against huge pages cannot become indifferent again.
  { flag: 'hg', given: 'huge', taken: undefined },
  { flag: 'nh', given: 'noHuge', taken: undefined },
];

const ADJUSTABLE_FLAGS: ReadonlySet<string> = new Set([
  ...LASTING_ADVICE.map(({ flag }) => flag),
  'rr',
  'sr',
  'lo',
  'lf',
]);
