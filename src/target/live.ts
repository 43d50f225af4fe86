import { setTimeout } from 'node:timers/promises';
import { machineClock, TargetError } from '../core/index.ts';
import { checkedStat } from './live-admission.ts';
import { goneError, isDeadState, readTaskStat } from './live-files.ts';
import { cgroupFreezer, cgroupOf, type Freezer, isAloneIn, signalFreezer } from './live-freezer.ts';
import { Guard } from './live-guard.ts';
import { identityDifference, liveIdentity } from './live-identity.ts';
import { DEFAULT_LEDGER_DIRECTORY, fileLedger, prepareLedger } from './live-ledger.ts';
import { type LiveAbilities, probeAbilities } from './live-probe.ts';
import { LiveProcessView } from './live-process.ts';
import { captureLiveState } from './live-state.ts';
import { activityOf, waitUntilStill } from './live-stillness.ts';
import type { ProcessView, Target, TargetIdentity, TargetState, TrackingAbilities } from './view.ts';

/** How a live target is treated. */
export interface LiveOptions {
  /**
   * `cgroup`: through the freezer of its cgroup v2, which stops every process in it. `auto` (the default) does so only
   * if the target is alone there, and uses SIGSTOP otherwise.
   */
  readonly freezer?: 'auto' | 'signal' | 'cgroup';
  /** How long to wait for the target to stand still; default 10 s. */
  readonly freezeTimeoutMicroseconds?: number;
  /** Where signatures of cleared soft-dirty bits are kept; default /run/ckpt/soft-dirty. */
  readonly ledgerDirectory?: string;
}

/**
 * Opens a running process as a target: all its threads, not its children.
 * @throws TargetError if there is no such process, it has no memory of its own, is not ours, or is one that ckpt
 *   itself needs to go on
 */
export async function openLiveTarget(pid: number, options: LiveOptions = {}): Promise<Target> {
  const stat = checkedStat(pid);
  const identity = liveIdentity(stat);
  const ledgerDirectory = options.ledgerDirectory ?? DEFAULT_LEDGER_DIRECTORY;
  const abilities = await abilitiesWith(ledgerDirectory);
  const view = new LiveProcessView({
    pid,
    name: stat.name,
    startTicks: stat.startTicks,
    zeroFrame: abilities.zeroFrame,
    clearLedger: fileLedger(ledgerDirectory, pid, stat.startTicks),
  });
  try {
    const freezer = chooseFreezer(pid, stat.startTicks, options.freezer ?? 'auto');
    const timeout = options.freezeTimeoutMicroseconds ?? 10e6;
    return new LiveTarget(identity, stat.startTicks, view, freezer, abilities, timeout);
  } catch (error) {
    view.close();
    throw error;
  }
}

async function abilitiesWith(ledgerDirectory: string): Promise<LiveAbilities> {
  const abilities = await probeAbilities();
  if (!abilities.softDirty || !abilities.frameNumbers) return abilities;
  const problem = prepareLedger(ledgerDirectory);
  return problem === undefined ? abilities : { ...abilities, softDirty: false, softDirtyProblem: problem };
}

function chooseFreezer(pid: number, startTicks: number, wanted: 'auto' | 'signal' | 'cgroup'): Freezer {
  const cgroup = wanted === 'signal' ? undefined : cgroupOf(pid);
  if (wanted === 'cgroup' && cgroup === undefined) {
    throw new TargetError(`process ${pid} has no cgroup of its own that could be frozen`, {
      hint: 'use SIGSTOP (the default) instead',
      data: { pid },
    });
  }
  if (cgroup !== undefined && (wanted === 'cgroup' || isAloneIn(cgroup, pid)))
    return cgroupFreezer(pid, cgroup);
  return signalFreezer(pid, startTicks);
}

class LiveTarget implements Target {
  readonly identity: TargetIdentity;
  readonly #startTicks: number;
  readonly #view: LiveProcessView;
  readonly #freezer: Freezer;
  readonly #abilities: LiveAbilities;
  readonly #freezeTimeout: number;
  #frozen = false;
  #prepared = false;
  /** Present from before we stop the target until it goes on; absent if somebody else has stopped it already. */
  #guard: Guard | undefined;
  #activity = '';

  constructor(
    identity: TargetIdentity,
    startTicks: number,
    view: LiveProcessView,
    freezer: Freezer,
    abilities: LiveAbilities,
    freezeTimeout: number,
  ) {
    this.identity = identity;
    this.#startTicks = startTicks;
    this.#view = view;
    this.#freezer = freezer;
    this.#abilities = abilities;
    this.#freezeTimeout = freezeTimeout;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  abilities(): TrackingAbilities {
    return this.#abilities;
  }

  processes(): ProcessView[] {
    return [this.#view];
  }

  async prepareFreeze(): Promise<void> {
    if (this.#frozen || this.#prepared) return;
    this.#requireSame();
    this.#view.prepare();
    if (!this.#freezer.isHeld()) {
      const { pid } = this.#view;
      this.#guard = await Guard.start({ pid, startTicks: this.#startTicks, cgroup: this.#freezer.cgroup });
    }
    this.#prepared = true;
  }

  async freeze(): Promise<void> {
    if (this.#frozen) return;
    await this.prepareFreeze();
    this.#prepared = false;
    this.#frozen = true;
    const { pid } = this.#view;
    try {
      if (this.#guard !== undefined) this.#freezer.stop();
      await waitUntilStill(pid, this.#freezer, this.#freezeTimeout, () => this.#frozen);
      // It may have executed another program between the look at it and the stop.
      this.#requireSame();
    } catch (error) {
      this.thaw();
      throw error;
    }
    this.#activity = activityOf(pid);
  }

  verifyStoodStill(): void {
    if (!this.#frozen) throw new TargetError(`${this.identity.name} was let go before the dump was complete`);
    this.#requireSame();
    if (activityOf(this.#view.pid) === this.#activity) return;
    throw new TargetError(`${this.identity.name} was continued by somebody else while it was being dumped`, {
      hint: 'take the checkpoint again',
      data: { pid: this.#view.pid },
    });
  }

  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    if (this.#guard === undefined) return;
    try {
      this.#freezer.resume();
    } finally {
      this.#guard.dismiss();
      this.#guard = undefined;
    }
  }

  async run(durationMicroseconds: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    try {
      await setTimeout(durationMicroseconds / 1000, undefined, { signal });
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    }
  }

  nowMicroseconds(): number {
    return machineClock();
  }

  captureState(): TargetState {
    return captureLiveState(this.#view.pid);
  }

  async close(options: { readonly leaveStopped?: boolean } = {}): Promise<void> {
    if (options.leaveStopped !== true) this.thaw();
    this.#frozen = false;
    const guard = this.#guard;
    this.#guard = undefined;
    this.#view.close();
    await guard?.retire();
  }

  /** @throws TargetError if the process has ended, or is not the one any more that was opened */
  #requireSame(): void {
    const { pid } = this.#view;
    const stat = readTaskStat(pid);
    if (stat === undefined || stat.startTicks !== this.#startTicks || isDeadState(stat.state)) {
      throw goneError(pid);
    }
    const difference = identityDifference(this.identity, liveIdentity(stat));
    if (difference !== undefined) {
      throw new TargetError(`${this.identity.name} is not what was opened: ${difference}`, {
        hint: 'take a new base checkpoint of the program that runs now',
        data: { pid },
      });
    }
  }
}
