import { PageRangeList } from '../../core/index.ts';
import type { TraceProcessStep, TraceStep } from '../trace/format.ts';
import { MappingTally, type WatchedMapping } from './mapping-tally.ts';

/** The mappings of a target's processes and the pages that exist there, as the steps of a recording tell. */
export class WatchedMemory {
  readonly #processes = new Map<number, ProcessMemory>();

  take({ started, ended, processes }: TraceStep): void {
    for (const pid of ended) this.#processes.delete(pid);
    for (const { pid } of started) this.#processes.set(pid, new ProcessMemory(pid));
    const heard = new Set<number>();
    for (const step of processes) {
      heard.add(step.pid);
      this.#processes.get(step.pid)?.take(step);
    }
    for (const [pid, process] of this.#processes) if (!heard.has(pid)) process.rest();
  }

  get processCount(): number {
    return this.#processes.size;
  }

  /** Pages that exist. */
  get residentPages(): number {
    let pages = 0;
    for (const process of this.#processes.values()) pages += process.residentPages;
    return pages;
  }

  /** Mappings in which something was written, those with most of it in the last interval first. */
  busiest(count: number): WatchedMapping[] {
    return [...this.#processes.values()]
      .flatMap((process) => process.tallies())
      .filter(({ totalDirtyPages }) => totalDirtyPages > 0)
      .sort(
        (left, right) =>
          right.dirtyPages - left.dirtyPages ||
          right.totalDirtyPages - left.totalDirtyPages ||
          left.mapping.startPage - right.mapping.startPage,
      )
      .slice(0, count)
      .map((tally) => tally.summary());
  }
}

class ProcessMemory {
  readonly #pid: number;
  #resident = new PageRangeList();
  /** By their first pages. */
  readonly #tallies = new Map<number, MappingTally>();

  constructor(pid: number) {
    this.#pid = pid;
  }

  get residentPages(): number {
    return this.#resident.pageCount;
  }

  tallies(): MappingTally[] {
    return [...this.#tallies.values()];
  }

  rest(): void {
    for (const tally of this.#tallies.values()) tally.rest();
  }

  take({ unmapped, mapped, resident, written, gone, samples }: TraceProcessStep): void {
    const changed = new Map<number, MappingTally>();
    for (const startPage of unmapped) {
      const tally = this.#tallies.get(startPage);
      if (tally !== undefined) changed.set(startPage, tally);
      this.#tallies.delete(startPage);
    }
    for (const mapping of mapped) {
      const earlier = changed.get(mapping.startPage);
      const isSame = earlier?.mapping.pathname === mapping.pathname;
      const tally = isSame ? earlier! : new MappingTally(this.#pid, mapping);
      tally.mapping = mapping;
      this.#tallies.set(mapping.startPage, tally);
    }
    this.#resident = this.#resident.difference(gone).union(resident).union(written);
    // Pages that exist when a process is first seen were not written in an interval.
    const isFirst = resident.pageCount > 0;
    for (const tally of this.#tallies.values()) tally.take(written, isFirst ? [] : samples);
  }
}
