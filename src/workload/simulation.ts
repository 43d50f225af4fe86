import { Random } from '../core/index.ts';
import { Kernel, type KernelVersion } from '../kernel/index.ts';
import { WorkloadContent } from './content.ts';
import { applyMemoryAction } from './events.ts';
import type { EventDefinition, ProgramDefinition, Workload } from './model.ts';
import type { PageFault, PageGate } from './page-gate.ts';
import {
  type ExitedPrograms,
  PROGRAM_COUNTS,
  Program,
  placeSeed,
  type Region,
  type Stream,
} from './program.ts';
import { addRegion } from './regions.ts';
import { decodeSimulation, encodeSimulation, type SimulationState } from './simulation-state.ts';

/** Accesses drawn at once; the memory for them is reused. */
const BATCH = 4096;

/** What may differ from the workload file. */
export interface SimulationOptions {
  readonly version?: KernelVersion;
  readonly softDirty?: boolean;
}

/**
 * A workload that runs on a simulated kernel in virtual time.
 *
 * Time is counted in whole nanoseconds. Everything that happens has a due time that does not depend on when `run` was
 * called; what is due at one instant happens in a fixed order: ends of phases and events first, then accesses, both by
 * the order in which the processes came to life and by the order of the file. So a run may be cut anywhere. Faults
 * cost virtual time on the kernel's own account (`kernel.counters()`) and never delay the program: tracking must not
 * change what it tracks.
 */
export class Simulation {
  readonly workload: Workload;
  readonly kernel: Kernel;
  /** The programs whose processes exist, in the order of their start. */
  readonly programs: Program[];
  /** Those that have exited, summed up by name. */
  readonly exited: Map<string, ExitedPrograms>;
  /** Whether the kernel was built with CONFIG_MEM_SOFT_DIRTY. */
  readonly softDirty: boolean;
  #nowNanoseconds: number;
  #startedCount: number;
  /** Programs that are in a phase. */
  #running: Program[] = [];
  /** Streams of the phases that run, in the order that breaks ties. */
  #streams: Stream[] = [];
  #owners: Program[] = [];
  #nextActionNanoseconds = 0;
  readonly #pages = new Float64Array(BATCH);

  private constructor(workload: Workload, state: SimulationState) {
    this.workload = workload;
    this.kernel = state.kernel;
    this.programs = state.programs;
    this.exited = state.exited;
    this.softDirty = state.softDirty;
    this.#nowNanoseconds = state.nowNanoseconds;
    this.#startedCount = state.startedCount;
  }

  /** Starts a workload at time 0: its processes exist, with their resident pages. */
  static start(workload: Workload, options: SimulationOptions = {}): Simulation {
    const content = new WorkloadContent(workload);
    const version = options.version ?? workload.kernel.version;
    const softDirty = options.softDirty ?? workload.kernel.softDirty;
    const kernel = new Kernel({ version, softDirty, content });
    kernel.setThp(workload.kernel.thp);
    const simulation = new Simulation(workload, {
      kernel,
      softDirty,
      programs: [],
      exited: new Map(),
      nowNanoseconds: 0,
      startedCount: 0,
    });
    const [root, ...others] = workload.processes;
    const rootProcess = simulation.#spawn(root!, undefined);
    for (const definition of others) simulation.#spawn(definition, rootProcess);
    simulation.#refresh();
    return simulation;
  }

  /**
   * Continues where `save` was called.
   * @throws IntegrityError if the bytes are damaged or belong to another workload.
   */
  static restore(workload: Workload, state: Uint8Array): Simulation {
    const content = new WorkloadContent(workload);
    const simulation = new Simulation(
      workload,
      decodeSimulation(workload, state, (bytes) => Kernel.restore(bytes, { content })),
    );
    simulation.#refresh();
    return simulation;
  }

  /** The whole state: kernel, memory and every program's place. */
  save(): Uint8Array {
    return encodeSimulation(this.workload, {
      kernel: this.kernel,
      softDirty: this.softDirty,
      programs: this.programs,
      exited: this.exited,
      nowNanoseconds: this.#nowNanoseconds,
      startedCount: this.#startedCount,
    });
  }

  /** Virtual time since the start. */
  get nowNanoseconds(): number {
    return this.#nowNanoseconds;
  }

  /** Lets everything happen that is due in the next `durationMicroseconds` (a whole number). */
  run(durationMicroseconds: number): void {
    this.#advance(this.#nowNanoseconds + durationMicroseconds * 1000, undefined);
  }

  /**
   * As `run`, up to an instant and for as long as nothing is needed that is not there: then it stops in front of the
   * first access or event that needs it, and goes on with that when it is called again.
   * @returns what is needed; undefined when the instant has been reached
   */
  runUntil(nanoseconds: number, gate: PageGate): PageFault | undefined {
    return this.#advance(nanoseconds, gate);
  }

  #advance(end: number, gate: PageGate | undefined): PageFault | undefined {
    while (true) {
      const stream = this.#nextStream();
      const streamDue = stream < 0 ? Number.POSITIVE_INFINITY : this.#streams[stream]!.dueNanoseconds;
      const due = Math.min(streamDue, this.#nextActionNanoseconds);
      if (due >= end) break;
      const fault = gate === undefined ? undefined : this.#faultAt(due, stream, gate);
      if (fault !== undefined) {
        this.#nowNanoseconds = due;
        return fault;
      }
      const isAction = this.#nextActionNanoseconds <= streamDue;
      if (isAction) this.#act(due);
      else this.#access(stream, gate === undefined ? Math.min(end, this.#nextActionNanoseconds) : due + 1);
    }
    this.#nowNanoseconds = end;
    return undefined;
  }

  /** What the next thing to happen needs and has not got. Nothing changes by asking. */
  #faultAt(due: number, index: number, gate: PageGate): PageFault | undefined {
    if (this.#nextActionNanoseconds <= due) {
      const actor = this.#actorAt(due);
      const { pid } = actor.process;
      return !actor.actsOnMemory || gate.isWhole(pid) ? undefined : { pid, page: undefined };
    }
    const stream = this.#streams[index]!;
    const program = this.#owners[index]!;
    const region = program.regions.get(stream.definition.region)!;
    const offset = region.startPage + stream.definition.pattern.fromPage;
    const { pid } = program.process;
    // The same draws are made again, and for good, when the access takes place.
    const random = Random.restore(stream.random.save());
    const count = Math.min(BATCH, stream.countBefore(due + 1, program.streamOrigin));
    stream.pattern(placeSeed(this.workload, region)).draw(this.#pages, count, offset, stream.drawn, random);
    for (let draw = 0; draw < count; draw++) {
      const page = this.#pages[draw]!;
      if (!gate.isThere(pid, page)) return { pid, page };
    }
    return undefined;
  }

  /** Index of the stream whose access is due first; ties go to the earlier stream. -1: none. */
  #nextStream(): number {
    let best = -1;
    let bestDue = Number.POSITIVE_INFINITY;
    const streams = this.#streams;
    for (let index = 0; index < streams.length; index++) {
      const due = streams[index]!.dueNanoseconds;
      if (due < bestDue) {
        best = index;
        bestDue = due;
      }
    }
    return best;
  }

  /** Does the accesses of one stream up to the first access of another one, or up to `limit`. */
  #access(index: number, limit: number): void {
    const stream = this.#streams[index]!;
    const program = this.#owners[index]!;
    for (let other = 0; other < this.#streams.length; other++) {
      if (other === index) continue;
      const due = this.#streams[other]!.dueNanoseconds + (other > index ? 1 : 0);
      if (due < limit) limit = due;
    }
    const count = Math.min(BATCH, stream.countBefore(limit, program.streamOrigin));
    const region = program.regions.get(stream.definition.region)!;
    const offset = region.startPage + stream.definition.pattern.fromPage;
    const pattern = stream.pattern(placeSeed(this.workload, region));
    pattern.draw(this.#pages, count, offset, stream.drawn, stream.random);
    const refused =
      stream.definition.style === undefined
        ? this.#load(program, count)
        : this.#store(program, count, program.contentStream(stream, region), region.startPage);
    if (stream.definition.style === undefined) program.counts.reads += count - refused;
    else program.counts.writes += count - refused;
    program.counts.refused += refused;
    stream.drawn += count;
    stream.turn += count;
    program.scheduleStream(stream);
  }

  #store(program: Program, count: number, contentStream: number, startPage: number): number {
    const { process } = program;
    const pages = this.#pages;
    let refused = 0;
    for (let index = 0; index < count; index++) {
      const page = pages[index]!;
      if (process.storeFromStream(page, contentStream, page - startPage) < 0) refused++;
    }
    return refused;
  }

  #load(program: Program, count: number): number {
    const { process } = program;
    const pages = this.#pages;
    let refused = 0;
    for (let index = 0; index < count; index++) if (process.touch(pages[index]!) < 0) refused++;
    return refused;
  }

  /** Does what is due at an instant besides accesses: the first program's next event or end of phase. */
  #act(nanoseconds: number): void {
    const program = this.#actorAt(nanoseconds);
    const event = program.phase!.events[program.nextEvent];
    if (event === undefined) this.#endPhase(program, nanoseconds);
    else {
      program.nextEvent++;
      this.#happen(program, event, nanoseconds);
    }
    this.#refresh();
  }

  #actorAt(nanoseconds: number): Program {
    return this.#running.find((candidate) => candidate.nextActionNanoseconds === nanoseconds)!;
  }

  #happen(program: Program, event: EventDefinition, nanoseconds: number): void {
    const { action } = event;
    if (action.do === 'exit') this.#exit(program);
    else if (action.do === 'fork') {
      const definition = this.workload.programs.get(action.program)!;
      for (let child = 0; child < action.count; child++) this.#fork(program, definition, nanoseconds);
    } else if (applyMemoryAction(this.kernel, program, action, nanoseconds) < 0) {
      program.counts.failedEvents++;
    }
  }

  #endPhase(program: Program, nanoseconds: number): void {
    const next = program.phaseIndex + 1;
    if (next < program.definition.phases.length) {
      program.beginPhase(next, nanoseconds);
      return;
    }
    program.repetitions++;
    if (program.definition.atEnd === 'repeat') program.beginPhase(0, nanoseconds);
    else if (program.definition.atEnd === 'exit') this.#exit(program);
    else program.status = 'idle';
  }

  #spawn(definition: ProgramDefinition, parent: Program | undefined): Program {
    const process = this.kernel.spawn({
      name: definition.name.slice(0, 15),
      ...(parent === undefined ? {} : { parent: parent.process }),
    });
    const program = new Program(definition, this.#startedCount++, process, this.workload);
    this.programs.push(program);
    for (const region of definition.regions) addRegion(this.kernel, program, region);
    program.beginPhase(0, 0);
    return program;
  }

  #fork(parent: Program, definition: ProgramDefinition, nanoseconds: number): void {
    const process = parent.process.fork(definition.name.slice(0, 15));
    const program = new Program(definition, this.#startedCount++, process, this.workload);
    this.programs.push(program);
    for (const [name, region] of parent.regions) {
      const copy: Region = { ...region };
      program.regions.set(name, copy);
    }
    for (const region of definition.regions) addRegion(this.kernel, program, region);
    program.beginPhase(0, nanoseconds);
  }

  #exit(program: Program): void {
    const sum = this.exited.get(program.definition.name) ?? noExits();
    for (const name of PROGRAM_COUNTS) sum[name] += program.counts[name];
    sum.processes++;
    sum.minorFaults += program.process.minorFaults();
    this.exited.set(program.definition.name, sum);
    this.programs.splice(this.programs.indexOf(program), 1);
    program.process.exit();
    this.kernel.reap(program.process.pid);
  }

  /** Collects what runs, after anything but an access happened. */
  #refresh(): void {
    this.#running = this.programs.filter((program) => program.status === 'running');
    this.#streams = this.#running.flatMap((program) => program.activeStreams);
    this.#owners = this.#running.flatMap((program) => program.activeStreams.map(() => program));
    this.#nextActionNanoseconds = Math.min(
      ...this.#running.map((program) => program.nextActionNanoseconds),
      Number.POSITIVE_INFINITY,
    );
  }
}

function noExits(): ExitedPrograms {
  return { processes: 0, writes: 0, reads: 0, refused: 0, failedEvents: 0, minorFaults: 0 };
}
