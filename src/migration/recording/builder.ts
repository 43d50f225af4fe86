import type { PageRangeList } from '../../core/index.ts';
import type { MapsEntry } from '../../procfs/index.ts';
import type { TraceHeader, TraceProcessStep, TraceStep } from '../trace/format.ts';
import { RangeCoder } from './coded-ranges.ts';
import { MappedSizes } from './mapped-sizes.ts';
import { PageNumbering } from './numbering.ts';
import { HeatCounter } from './page-heat.ts';
import type { RecordedMapping, Recording } from './recording.ts';
import { sharedCopy } from './shared-arrays.ts';
import { StateShots } from './state-shots.ts';

/** What a recording is of, and how it was made. */
export type RecordingHead = Pick<Recording, 'target' | 'kind' | 'tracker' | 'intervalMicroseconds'>;

/** Puts the steps of a recorder or of a trace together to a recording. */
export class RecordingBuilder {
  readonly #head: RecordingHead;
  readonly #numbering = new PageNumbering();
  readonly #written = new RangeCoder();
  readonly #gone = new RangeCoder();
  readonly #heat: HeatCounter;
  readonly #sizes = new MappedSizes();
  readonly #shots = new StateShots();
  readonly #mappings = new Map<string, RecordedMapping>();
  readonly #ends: number[] = [];
  #writtenPages = 0;
  #steps = 0;

  constructor({ target, kind, tracker, intervalMicroseconds }: TraceHeader) {
    this.#heat = new HeatCounter(intervalMicroseconds);
    this.#head = { target, kind, tracker, intervalMicroseconds };
  }

  /** Intervals so far. */
  get intervals(): number {
    return this.#ends.length;
  }

  /** Takes the next step: the first is the state in which the recording began, each further one ends an interval. */
  add(step: TraceStep): void {
    const isFirst = this.#steps++ === 0;
    this.#end(step);
    for (const process of step.processes) {
      for (const mapping of process.mapped) this.#map(process.pid, mapping);
      if (isFirst) this.#begin(process);
      else this.#gather(process);
    }
    if (!isFirst) this.#finishInterval(step.atMicroseconds);
    for (const { pid, samples } of step.processes) {
      for (const sample of samples) {
        const page = this.#numbering.numberOf(pid, sample.page);
        if (page >= 0) this.#heat.ask(page, this.#sizes.add(page, sample));
      }
    }
    if (isFirst) this.#shots.begin(this.#numbering.count);
  }

  /** @param cpuShare share of a processor that the program needs; 0: unknown */
  build(cpuShare = 0): Recording {
    const pageCount = this.#numbering.count;
    const heat = this.#heat.build(pageCount);
    const mappings = [...this.#mappings.values()];
    const { sizes, notes } = this.#sizes.build(mappings, this.#numbering, heat.heat);
    return {
      ...this.#head,
      microseconds: this.#ends.at(-1) ?? 0,
      pageCount,
      segments: this.#numbering.segments(),
      mappings,
      states: this.#shots.build(this.#ends.length),
      endsMicroseconds: sharedCopy(Float64Array.from(this.#ends)),
      written: this.#written.build(),
      gone: this.#gone.build(),
      heat,
      sizes,
      cpuShare,
      notes: this.#writtenPages === 0 ? [...notes, 'nothing was written while it was recorded'] : notes,
    };
  }

  #map(pid: number, { startPage, endPage, pathname }: MapsEntry): void {
    const label = pathname;
    this.#mappings.set(`${pid} ${startPage} ${endPage} ${label}`, { pid, startPage, endPage, label });
  }

  #begin({ pid, resident, zero }: TraceProcessStep): void {
    this.#numbering.eachRange(pid, resident, (start, end) => this.#shots.resident.addRange(start, end));
    this.#numbering.eachRange(pid, zero, (start, end) => this.#shots.zero.addRange(start, end));
  }

  /** All pages of processes that have ended are gone; where a new one has its PID at once, it takes their place. */
  #end({ ended, started }: TraceStep): void {
    for (const pid of ended) {
      if (started.some((process) => process.pid === pid)) continue;
      this.#numbering.eachNumbered(pid, 0, Number.POSITIVE_INFINITY, (start, end) =>
        this.#gone.add(start, end),
      );
    }
  }

  /** A process that began since counts with all its pages as written: nobody saw it without them. */
  #gather({ pid, resident, written, gone }: TraceProcessStep): void {
    const gather = (pages: PageRangeList, coder: RangeCoder) =>
      this.#numbering.eachRange(pid, pages, (start, end) => coder.add(start, end));
    gather(resident, this.#written);
    gather(written, this.#written);
    gather(gone, this.#gone);
  }

  #finishInterval(atMicroseconds: number): void {
    // Two scans within a microsecond still have time between them.
    const before = this.#ends.at(-1) ?? 0;
    this.#ends.push(Math.max(atMicroseconds, before + 1));
    this.#heat.begin(this.#ends.at(-1)! - before);
    const interval = this.#ends.length;
    this.#written.finish((start, end) => {
      this.#writtenPages += end - start;
      this.#heat.add(start, end);
      this.#shots.written(start, end);
    });
    this.#gone.finish((start, end) => this.#shots.gone(start, end));
    this.#shots.finishInterval(interval, this.#ends.at(-1)!, this.#numbering.count);
  }
}
