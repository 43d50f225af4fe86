import { mix32, Random } from '../core/index.ts';
import type { Process } from '../kernel/index.ts';
import { streamOf } from './content.ts';
import type { Phase, ProgramDefinition, RegionDefinition, StreamDefinition, Workload } from './model.ts';
import { createPattern, type Pattern } from './pattern.ts';

/** A region of one process: where it is now. `sizePages` 0: not mapped. */
export interface Region {
  readonly definition: RegionDefinition;
  startPage: number;
  sizePages: number;
}

/** What a program has done so far. */
export interface ProgramCounts {
  /** Page writes that took place. */
  writes: number;
  /** Page reads that took place. */
  reads: number;
  /** Writes and reads that ended in SIGSEGV or SIGBUS; the program catches the signal and goes on. */
  refused: number;
  /** Events that the kernel refused or that found nothing to act on. */
  failedEvents: number;
}

export const PROGRAM_COUNTS = ['writes', 'reads', 'refused', 'failedEvents'] as const;

/** What the processes of one name did that have exited. */
export interface ExitedPrograms extends ProgramCounts {
  processes: number;
  minorFaults: number;
}

/** A stream of one process: its definition and its place in it. */
export class Stream {
  readonly definition: StreamDefinition;
  readonly periodNanoseconds: number;
  /** Draws so far in the life of the process. */
  drawn = 0;
  /** Draws so far, and those that fell into a time when the region was not mapped. */
  turn = 0;
  /** Pages that the pattern covers now; 0 while there are none. */
  spanPages = 0;
  /** When the next access is due; infinity if none is. */
  dueNanoseconds = Number.POSITIVE_INFINITY;
  random: Random;
  #pattern: Pattern | undefined;
  #patternSpan = 0;

  constructor(definition: StreamDefinition, seed: number) {
    this.definition = definition;
    this.periodNanoseconds = 1e9 / definition.perSecond;
    this.random = new Random(seed);
  }

  /** The pattern for the current span. */
  pattern(placeSeed: number): Pattern {
    if (this.#pattern === undefined || this.#patternSpan !== this.spanPages) {
      this.#pattern = createPattern(this.definition.pattern, this.spanPages, placeSeed);
      this.#patternSpan = this.spanPages;
    }
    return this.#pattern;
  }

  /**
   * Time of access number `turn`: in the middle of its period, so that a phase holds rate x duration. `origin` is when
   * the stream would have begun had its phase never been interrupted by others.
   */
  dueOf(turn: number, origin: number): number {
    return origin + Math.floor((turn + 0.5) * this.periodNanoseconds);
  }

  /** How many accesses from the current turn on are due before `limit`. */
  countBefore(limit: number, origin: number): number {
    let turn = Math.max(this.turn, Math.floor((limit - origin) / this.periodNanoseconds - 0.5));
    while (turn > this.turn && this.dueOf(turn - 1, origin) >= limit) turn--;
    while (this.dueOf(turn, origin) < limit) turn++;
    return turn - this.turn;
  }
}

/** Where a program stands. A program that has exited is no more. */
export type ProgramStatus = 'running' | 'idle';

/** A simulated process and its place in its program. */
export class Program {
  readonly definition: ProgramDefinition;
  /** Counts the processes of the run, from 0; decides order, seeds and what the process writes. */
  readonly ordinal: number;
  readonly process: Process;
  readonly regions = new Map<string, Region>();
  /** Streams of every phase; they keep their place when the phase comes again. */
  readonly streams: readonly (readonly Stream[])[];
  readonly counts: ProgramCounts = { writes: 0, reads: 0, refused: 0, failedEvents: 0 };
  status: ProgramStatus;
  phaseIndex = 0;
  phaseStartNanoseconds = 0;
  /** How often the phases were gone through completely. */
  repetitions = 0;
  /** Position in the events of the phase. */
  nextEvent = 0;

  constructor(definition: ProgramDefinition, ordinal: number, process: Process, workload: Workload) {
    this.definition = definition;
    this.ordinal = ordinal;
    this.process = process;
    this.status = definition.phases.length === 0 ? 'idle' : 'running';
    this.streams = definition.phases.map((phase, phaseIndex) =>
      phase.streams.map(
        (stream, index) => new Stream(stream, streamSeed(workload.seed, ordinal, phaseIndex, index)),
      ),
    );
  }

  /** The phase that runs now; undefined unless the program is running. */
  get phase(): Phase | undefined {
    return this.status === 'running' ? this.definition.phases[this.phaseIndex] : undefined;
  }

  /** Streams of the phase that runs now. */
  get activeStreams(): readonly Stream[] {
    return this.status === 'running' ? (this.streams[this.phaseIndex] ?? []) : [];
  }

  /** When the next event or the end of the phase is due. */
  get nextActionNanoseconds(): number {
    const phase = this.phase;
    if (phase === undefined) return Number.POSITIVE_INFINITY;
    const offset = phase.events[this.nextEvent]?.atNanoseconds ?? phase.durationNanoseconds;
    return this.phaseStartNanoseconds + offset;
  }

  /** Whether what is due then may change mappings or processes; the end of a phase as such does not. */
  get actsOnMemory(): boolean {
    if (this.phase?.events[this.nextEvent] !== undefined) return true;
    return this.phaseIndex + 1 >= this.definition.phases.length && this.definition.atEnd === 'exit';
  }

  /** Where the clock of the phase's streams begins: all earlier passes through the phase count. */
  get streamOrigin(): number {
    const duration = this.phase?.durationNanoseconds ?? 0;
    return this.phaseStartNanoseconds - this.repetitions * duration;
  }

  /** PID of the parent; 0 if it has exited (init adopts the child) or never was part of the workload. */
  get parentPid(): number {
    const { kernel, parentPid } = this.process;
    return kernel.process(parentPid) === undefined ? 0 : parentPid;
  }

  /** The content stream of a write stream of this process. */
  contentStream(stream: Stream, region: Region): number {
    return streamOf(region.definition.index, stream.definition.style ?? 0, this.ordinal);
  }

  /** Begins a phase: streams learn the size of their regions anew. */
  beginPhase(index: number, nanoseconds: number): void {
    this.phaseIndex = index;
    this.phaseStartNanoseconds = nanoseconds;
    this.nextEvent = 0;
    for (const stream of this.activeStreams) {
      stream.spanPages = this.#availablePages(stream);
      this.scheduleStream(stream);
    }
  }

  /**
   * Tells the streams that a region changed its size. A smaller region narrows them, a larger one widens them only
   * from the next phase on; streams that had nothing to touch begin with the first access due from now on.
   */
  regionResized(region: Region, nanoseconds: number): void {
    for (const stream of this.activeStreams) {
      if (stream.definition.region !== region.definition.name) continue;
      const available = this.#availablePages(stream);
      const paused = stream.spanPages === 0;
      stream.spanPages = paused ? available : Math.min(stream.spanPages, available);
      if (paused) stream.turn += stream.countBefore(nanoseconds, this.streamOrigin);
      this.scheduleStream(stream);
    }
  }

  /** Sets when the next access of a stream is due. */
  scheduleStream(stream: Stream): void {
    stream.dueNanoseconds =
      stream.spanPages === 0 ? Number.POSITIVE_INFINITY : stream.dueOf(stream.turn, this.streamOrigin);
  }

  #availablePages(stream: Stream): number {
    const { fromPage, spanPages } = stream.definition.pattern;
    const size = this.regions.get(stream.definition.region)?.sizePages ?? 0;
    return Math.max(0, Math.min(size - fromPage, spanPages ?? Number.POSITIVE_INFINITY));
  }
}

/** Where hot pages of a region lie: the same for all streams and processes. */
export function placeSeed(workload: Workload, region: Region): number {
  return mix32(workload.seed ^ Math.imul(region.definition.index + 1, 0x27d4eb2f));
}

function streamSeed(seed: number, ordinal: number, phase: number, stream: number): number {
  let mixed = mix32(seed) ^ mix32(Math.floor(seed / 4294967296) + 7);
  for (const part of [ordinal, phase, stream]) mixed = mix32(mixed + Math.imul(part + 1, 0x9e3779b1));
  return mixed;
}
