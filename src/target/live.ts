import { setTimeout } from 'node:timers/promises';
import { machineClock, TargetError, UnsupportedError } from '../core/index.ts';
import { checkedStat, requireWhole } from './live-admission.ts';
import { goneError, isDeadState, readTaskStat } from './live-files.ts';
import { CgroupFreezer, cgroupOf, holdsExactly } from './live-freeze-cgroup.ts';
import { HaltFreezer } from './live-freeze-halt.ts';
import { TraceFreezer } from './live-freeze-ptrace.ts';
import { SignalFreezer, signalMember } from './live-freeze-signal.ts';
import type { Freezer, FreezerKind } from './live-freezer.ts';
import type { LiveHold } from './live-hold.ts';
import { identityDifference, liveIdentity, processFingerprint } from './live-identity.ts';
import { DEFAULT_LEDGER_DIRECTORY, fileLedger, prepareLedger } from './live-ledger.ts';
import { KnownObjects } from './live-object.ts';
import { type LiveAbilities, probeAbilities } from './live-probe.ts';
import { LiveProcessView } from './live-process.ts';
import { captureLiveState, rehearseCapture } from './live-state.ts';
import { readTree, type TreeMember, TreeWalk, unlessEnded } from './live-tree.ts';
import { loadNative, type Native } from './native/calls.ts';
import { SystemCallError } from './native/errno.ts';
import type { Target, TargetIdentity, TargetState, TrackingAbilities } from './view.ts';

/** How a live target is treated. */
export interface LiveOptions {
  /** The process alone, without its descendants. */
  readonly single?: boolean;
  /**
   * `ptrace` holds every thread, shows its registers, and ends with ckpt. `cgroup`: through the freezer of the root's
   * cgroup v2, which stops every process in it. `signal`: SIGSTOP. `auto` (the default) takes ptrace where it is
   * permitted, otherwise the cgroup if it holds the target and nothing else, otherwise SIGSTOP. `halt`: SIGSTOP and
   * ptrace, for those who change the target.
   */
  readonly freezer?: 'auto' | FreezerKind;
  /** How long to wait for the target to stand still; default 10 s. */
  readonly freezeTimeoutMicroseconds?: number;
  /** Where signatures of cleared soft-dirty bits are kept; default /run/ckpt/soft-dirty. */
  readonly ledgerDirectory?: string;
}

/**
 * How long the first attempt to stop everything may take; each further one may take twice as long as the one before,
 * and in between the target runs. A vfork whose child waits for somebody whom we have stopped would never end.
 */
const FIRST_ATTEMPT_MICROSECONDS = 200_000;
const PAUSE_MILLISECONDS = 50;

/**
 * Opens a running process and its descendants as a target.
 * @throws TargetError if there is no such process, it has no memory of its own, is not ours, or is one that ckpt
 *   itself needs to go on; UnsupportedError if it cannot be stopped in the way that was asked for
 */
export async function openLiveTarget(pid: number, options: LiveOptions = {}): Promise<LiveTarget> {
  const stat = checkedStat(pid);
  if (options.freezer !== 'halt') requireWhole(stat);
  const ledgerDirectory = options.ledgerDirectory ?? DEFAULT_LEDGER_DIRECTORY;
  const abilities = await abilitiesWith(ledgerDirectory);
  const wanted = options.freezer ?? 'auto';
  const native = wanted === 'signal' || wanted === 'cgroup' ? undefined : await nativeFor(wanted);
  const target = new LiveTarget({
    rootPid: pid,
    startTicks: stat.startTicks,
    single: options.single === true,
    identity: liveIdentity(stat),
    abilities,
    native,
    freezer: wanted,
    freezeTimeoutMicroseconds: options.freezeTimeoutMicroseconds ?? 10e6,
    ledgerDirectory,
  });
  try {
    target.processes();
    return target;
  } catch (error) {
    await target.close();
    throw error;
  }
}

async function abilitiesWith(ledgerDirectory: string): Promise<LiveAbilities> {
  const abilities = await probeAbilities();
  if (!abilities.softDirty || !abilities.frameNumbers) return abilities;
  const problem = prepareLedger(ledgerDirectory);
  return problem === undefined ? abilities : { ...abilities, softDirty: false, softDirtyProblem: problem };
}

/** The native calls; undefined where there are none and it can be done without. */
async function nativeFor(wanted: 'auto' | 'ptrace' | 'halt'): Promise<Native | undefined> {
  try {
    return await loadNative();
  } catch (error) {
    if (wanted === 'auto' && error instanceof UnsupportedError) return undefined;
    throw error;
  }
}

interface LiveFacts {
  readonly rootPid: number;
  readonly startTicks: number;
  readonly single: boolean;
  readonly identity: TargetIdentity;
  readonly abilities: LiveAbilities;
  readonly native: Native | undefined;
  readonly freezer: 'auto' | FreezerKind;
  readonly freezeTimeoutMicroseconds: number;
  readonly ledgerDirectory: string;
}

/** A running process, or a tree of them, as a target. */
export class LiveTarget implements Target {
  readonly identity: TargetIdentity;
  readonly #facts: LiveFacts;
  /** Those of the last listing, in its order. */
  #views = new Map<number, LiveProcessView>();
  /** Present from before the target is stopped until it goes on. */
  #freezer: Freezer | undefined;
  /** Why ptrace is not used although it might have been. */
  #traceProblem: string | undefined;
  #frozen = false;
  readonly #objects = new KnownObjects();

  /** Use `openLiveTarget`. */
  constructor(facts: LiveFacts) {
    this.#facts = facts;
    this.identity = facts.identity;
    if (facts.native === undefined) this.#traceProblem = 'native system calls are not available';
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /** Present while ptrace holds the target. */
  get hold(): LiveHold | undefined {
    return this.#frozen ? this.#freezer?.hold : undefined;
  }

  abilities(): TrackingAbilities {
    const { abilities, native } = this.#facts;
    if (abilities.writeProtectionProblem !== undefined) return abilities;
    if (native === undefined) {
      return { ...abilities, writeProtectionProblem: 'the target is not held by ptrace' };
    }
    const root = this.#views.get(this.#facts.rootPid);
    const obstacle = root?.writeProtection?.obstacle(root.vmas());
    return obstacle === undefined ? abilities : { ...abilities, writeProtectionObstacle: obstacle };
  }

  processes(): LiveProcessView[] {
    if (!this.#frozen) this.#view(readTree(this.#facts.rootPid, this.#facts.single));
    return [...this.#views.values()];
  }

  async prepareFreeze(): Promise<void> {
    if (this.#freezer !== undefined) return;
    this.#requireSame();
    const members = readTree(this.#facts.rootPid, this.#facts.single);
    this.#view(members);
    for (const view of this.#views.values()) {
      unlessEnded(view.member, () => {
        view.prepare();
        rehearseCapture(view.pid);
      });
    }
    const freezer = this.#chooseFreezer(members);
    await freezer.prepare(members);
    this.#freezer = freezer;
  }

  async freeze(): Promise<void> {
    if (this.#frozen) return;
    await this.prepareFreeze();
    this.#frozen = true;
    try {
      this.#view(await this.#stop());
      // It may have executed another program between the look at it and the stop.
      this.#requireSame();
      for (const view of this.#views.values()) view.hold = this.hold;
      this.#objects.begin();
    } catch (error) {
      this.thaw();
      throw error;
    }
  }

  verifyStoodStill(): void {
    if (!this.#frozen) throw new TargetError(`${this.identity.name} was let go before the dump was complete`);
    this.#requireSame();
    this.#freezer?.verify();
  }

  thaw(): void {
    if (!this.#frozen) return;
    this.#frozen = false;
    this.#objects.end();
    for (const view of this.#views.values()) view.hold = undefined;
    const freezer = this.#freezer;
    this.#freezer = undefined;
    freezer?.resume();
  }

  async keepStopped(): Promise<void> {
    await this.#freezer?.keepStopped();
  }

  /** Descendants first: the parent of the root may go on at once, and is to find all of it ended. */
  end(): void {
    if (!this.#frozen) throw new TargetError(`${this.identity.name} does not stand still`);
    for (const { member } of [...this.#views.values()].reverse()) signalMember('SIGKILL', member);
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
    return captureLiveState({
      processes: this.processes(),
      hold: this.hold,
      ...(this.#traceProblem === undefined ? {} : { holdProblem: this.#traceProblem }),
    });
  }

  async close(options: { readonly leaveStopped?: boolean } = {}): Promise<void> {
    if (options.leaveStopped !== true) this.thaw();
    this.#frozen = false;
    const freezer = this.#freezer;
    this.#freezer = undefined;
    for (const view of this.#views.values()) view.close();
    this.#views.clear();
    await freezer?.abandon();
  }

  /** Stops the target, in several attempts if need be. */
  async #stop(): Promise<readonly TreeMember[]> {
    const { rootPid, single, freezeTimeoutMicroseconds } = this.#facts;
    const deadline = machineClock() + freezeTimeoutMicroseconds;
    const isWanted = () => this.#frozen;
    for (let limit = FIRST_ATTEMPT_MICROSECONDS; ; limit *= 2) {
      const left = deadline - machineClock();
      const walk = new TreeWalk(rootPid, single);
      try {
        return await this.#freezer!.stop(walk, { timeoutMicroseconds: Math.min(left, limit), isWanted });
      } catch (error) {
        if (this.#mayDoWithoutTrace(error)) this.#traceProblem = (error as Error).message;
        else if (!isPassing(error) || limit >= left) throw error;
        else await setTimeout(PAUSE_MILLISECONDS);
      }
      if (!isWanted()) throw new TargetError(`${this.identity.name} was let go before it stood still`);
      const members = readTree(rootPid, single);
      this.#freezer = this.#chooseFreezer(members);
      await this.#freezer.prepare(members);
    }
  }

  /** Whether ptrace was refused, for instance because a debugger is at work, and another way may be taken. */
  #mayDoWithoutTrace(error: unknown): boolean {
    return (
      this.#facts.freezer === 'auto' && this.#freezer?.kind === 'ptrace' && error instanceof SystemCallError
    );
  }

  #chooseFreezer(members: readonly TreeMember[]): Freezer {
    const { native, freezer, rootPid } = this.#facts;
    if (native !== undefined && freezer === 'halt') return new HaltFreezer(native);
    if (native !== undefined && this.#traceProblem === undefined) return new TraceFreezer(native);
    const cgroup = freezer === 'signal' ? undefined : cgroupOf(rootPid);
    if (freezer === 'cgroup' && cgroup === undefined) {
      throw new TargetError(`process ${rootPid} has no cgroup of its own that could be frozen`, {
        hint: 'use ptrace (the default) instead',
        data: { pid: rootPid },
      });
    }
    if (cgroup !== undefined && (freezer === 'cgroup' || holdsExactly(cgroup, members))) {
      return new CgroupFreezer(cgroup);
    }
    return new SignalFreezer();
  }

  /** Has one view for each of the processes, the same as before for those that are what they were. */
  #view(members: readonly TreeMember[]): void {
    const views = new Map<number, LiveProcessView>();
    for (const member of members) {
      const known = this.#views.get(member.pid);
      const fingerprint = unlessEnded(member, () => processFingerprint(member.stat));
      if (fingerprint === undefined) continue;
      const isSame = known?.fingerprint === fingerprint && known.isCurrent();
      const view = isSame ? known : this.#newView(member, fingerprint);
      if (view === undefined) continue;
      view.member = member;
      views.set(member.pid, view);
    }
    for (const view of this.#views.values()) {
      if (views.get(view.pid) !== view) view.close();
    }
    this.#views = views;
  }

  /** Undefined for a process other than the root that has ended meanwhile. */
  #newView(member: TreeMember, fingerprint: string): LiveProcessView | undefined {
    const { ledgerDirectory, abilities, native } = this.#facts;
    return unlessEnded(member, () => {
      const view = new LiveProcessView({
        member,
        fingerprint,
        zeroFrame: abilities.zeroFrame,
        clearLedger: fileLedger(ledgerDirectory, member.pid, member.stat.startTicks),
        native,
        objects: this.#objects,
        mayProtect: abilities.writeProtectionProblem === undefined,
      });
      // Nobody has prepared it, so the flags of its mappings have to be read now.
      if (this.#frozen) view.prepare();
      return view;
    });
  }

  /** @throws TargetError if the root has ended, or is not the process any more that was opened */
  #requireSame(): void {
    const { rootPid } = this.#facts;
    const stat = readTaskStat(rootPid);
    if (stat === undefined || stat.startTicks !== this.#facts.startTicks || isDeadState(stat.state)) {
      throw goneError(rootPid);
    }
    const difference = identityDifference(this.identity, liveIdentity(stat));
    if (difference === undefined) return;
    throw new TargetError(`${this.identity.name} is not what was opened: ${difference}`, {
      hint: 'take a new base checkpoint of the program that runs now',
      data: { pid: rootPid },
    });
  }
}

/** Whether a stop failed for something that may be over soon: a thread in the kernel, a process about to end. */
function isPassing(error: unknown): boolean {
  return (
    error instanceof TargetError && (error.data['state'] !== undefined || error.data['passing'] === true)
  );
}
