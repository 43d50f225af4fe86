import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { ByteReader, ByteWriter, machineClock, TargetError } from '../core/index.ts';
import { type Program, parseWorkload, Simulation, type SimulationOptions } from '../workload/index.ts';
import { SimulatedProcessView } from './simulated-process.ts';
import { summarizeSimulation } from './simulated-summary.ts';
import { writeProtectionProblem } from './simulated-write-protection.ts';
import type { ProcessView, Target, TargetIdentity, TargetState, TrackingAbilities } from './view.ts';

/** Names what the bytes of a captured state are; the number grows when they change. */
export const SIMULATED_STATE_FORMAT = 'ckpt-simulated-1';

/** How long `run` may keep the event loop waiting, in microseconds of machine time. */
const LONGEST_TURN_MICROSECONDS = 20_000;
const SHORTEST_SLICE_MICROSECONDS = 100;

/**
 * Starts the program of a workload file as a target, at virtual time 0.
 * @param text contents of the workload file. @param path its path: for messages, and its base name as identity.
 * @throws WorkloadError if the file is malformed.
 */
export function openSimulatedTarget(
  text: string,
  path: string,
  options: SimulationOptions = {},
): SimulatedTarget {
  return new SimulatedTarget(Simulation.start(parseWorkload(text, path), options), text, path);
}

/**
 * Continues a simulated target from the state that a checkpoint kept, which holds its workload file too.
 * @throws TargetError for the state of another kind of target, IntegrityError for damaged bytes.
 */
export function restoreSimulatedTarget(state: Pick<TargetState, 'format' | 'bytes'>): SimulatedTarget {
  if (state.format !== SIMULATED_STATE_FORMAT) {
    throw new TargetError(`a state of format '${state.format}' is not one of a simulated target`, {
      hint: `this ckpt reads '${SIMULATED_STATE_FORMAT}'`,
      data: { format: state.format },
    });
  }
  const reader = new ByteReader(state.bytes, 'the state of a simulated target');
  const path = reader.text();
  const text = reader.text();
  const simulation = reader.raw(reader.remainingBytes);
  return new SimulatedTarget(Simulation.restore(parseWorkload(text, path), simulation), text, path);
}

/** A workload on the simulated kernel, seen as a target. It only moves while `run` is awaited. */
export class SimulatedTarget implements Target {
  readonly identity: TargetIdentity;
  /** The engine, for reports that know they look at a simulation. */
  readonly simulation: Simulation;
  #frozen = false;
  #closed = false;
  #views = new Map<Program, SimulatedProcessView>();
  readonly #text: string;
  readonly #path: string;

  constructor(simulation: Simulation, text: string, path: string) {
    this.simulation = simulation;
    this.#text = text;
    this.#path = path;
    this.identity = {
      kind: 'simulated',
      name: `sim:${basename(path)}`,
      fingerprint: createHash('sha256').update(text).digest('hex'),
    };
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  abilities(): TrackingAbilities {
    const { softDirty } = this.simulation;
    return {
      softDirty,
      frameNumbers: true,
      kernelRelease: `${this.simulation.kernel.version}-simulated`,
      writeProtectionProblem: writeProtectionProblem(this.simulation.kernel),
      ...(softDirty
        ? {}
        : { softDirtyProblem: 'the simulated kernel is built without CONFIG_MEM_SOFT_DIRTY' }),
    };
  }

  processes(): ProcessView[] {
    const views = this.simulation.programs.map((program) => {
      return this.#views.get(program) ?? new SimulatedProcessView(this.simulation.kernel, program);
    });
    this.#views = new Map(views.map((view) => [view.program, view]));
    return views;
  }

  freeze(): Promise<void> {
    this.#frozen = true;
    return Promise.resolve();
  }

  thaw(): void {
    this.#frozen = false;
  }

  /**
   * Advances virtual time, in slices that let the event loop turn in between.
   * @throws the signal's reason if it is aborted: the target then stands somewhere in between, in good order.
   */
  async run(durationMicroseconds: number, signal?: AbortSignal): Promise<void> {
    let left = Math.round(durationMicroseconds);
    let slice = SHORTEST_SLICE_MICROSECONDS;
    while (left > 0) {
      signal?.throwIfAborted();
      if (this.#closed) throw new TargetError(`${this.identity.name} is closed`);
      if (this.#frozen) throw new TargetError(`${this.identity.name} is frozen and cannot run`);
      const started = machineClock();
      const step = Math.min(left, slice);
      this.simulation.run(step);
      left -= step;
      const elapsed = machineClock() - started;
      if (elapsed < LONGEST_TURN_MICROSECONDS / 4) slice *= 2;
      else if (elapsed > LONGEST_TURN_MICROSECONDS)
        slice = Math.max(SHORTEST_SLICE_MICROSECONDS, slice >>> 1);
      if (left > 0) await nextTurn();
    }
  }

  nowMicroseconds(): number {
    return this.simulation.nowNanoseconds / 1000;
  }

  captureState(): TargetState {
    const writer = new ByteWriter();
    writer.text(this.#path);
    writer.text(this.#text);
    writer.raw(this.simulation.save());
    return {
      format: SIMULATED_STATE_FORMAT,
      bytes: writer.view(),
      summary: summarizeSimulation(this.simulation),
    };
  }

  close(): Promise<void> {
    this.#closed = true;
    return Promise.resolve();
  }
}
