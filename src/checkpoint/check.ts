import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { chooseZstd, type ZstdImplementation } from '../codec/index.ts';
import {
  type Feature,
  openLiveTarget,
  probeFeatures,
  probeTarget,
  type Target,
  type TargetFeatures,
  tryFeature,
} from '../target/index.ts';
import { chooseTracker, TRACKER_KINDS, type TrackerKind } from '../tracker/index.ts';
import { PURPOSES, type PurposeUses } from './check-purposes.ts';
import { dumpTarget } from './dump-target.ts';

/** A feature as one purpose sees it. */
export interface CheckedFeature extends Feature {
  /** Whether the purpose stands and falls with it. */
  readonly needed: boolean;
  /** What becomes of the purpose without it. */
  readonly without?: string;
}

/** Whether something that a user may want to do works here. */
export interface CheckedPurpose {
  readonly id: PurposeUses['id'];
  readonly title: string;
  readonly what: string;
  readonly works: boolean;
  readonly features: readonly CheckedFeature[];
}

/** Whether a way to find changed pages works on a target, or why not. */
export interface CheckedTracker {
  readonly kind: TrackerKind;
  readonly works: boolean;
  readonly reason: string;
}

/** Which tracker `--tracker auto` takes, and what speaks against each. */
export interface CheckedTrackers {
  /** Undefined if nothing could be tried. */
  readonly auto: string | undefined;
  readonly kinds: readonly CheckedTracker[];
}

/** Rights that ckpt makes use of (include/uapi/linux/capability.h). */
const CAPABILITIES = { CAP_SYS_PTRACE: 19, CAP_SYS_ADMIN: 21, CAP_CHECKPOINT_RESTORE: 40 } as const;

/** Where and as whom ckpt runs. */
export interface CheckedMachine {
  readonly kernelRelease: string;
  readonly architecture: string;
  readonly processors: number;
  readonly nodeVersion: string;
  readonly zstd: ZstdImplementation;
  readonly user: number | undefined;
  /** Those of CAPABILITIES that are in effect. */
  readonly capabilities: readonly string[];
  readonly missingCapabilities: readonly string[];
}

/** What can be done with the process that was asked about. */
export interface CheckedTarget {
  readonly pid: number;
  readonly name: string;
  readonly features: readonly CheckedFeature[];
}

export interface CheckReport {
  readonly machine: CheckedMachine;
  readonly purposes: readonly CheckedPurpose[];
  /** For the process that was asked about, or else for a process of our own. */
  readonly trackers: CheckedTrackers;
  readonly target: CheckedTarget | undefined;
  /** Whether what was asked about can be dumped. */
  readonly dumpWorks: boolean;
}

/**
 * Finds out what ckpt can do here, and with one process if one is named.
 * @throws UsageError, TargetError or UnsupportedError if that process can never be a target
 */
export async function checkAbilities(pid?: number): Promise<CheckReport> {
  const target = pid === undefined ? undefined : checkTarget(await probeTarget(pid));
  const { features, result } = await probeFeatures(async (specimen) => ({
    trackers: await checkTrackers(pid ?? specimen),
    trialDump: await tryFeature('trial-dump', 'dump', {}, () => dumpForTrial(specimen)),
  }));
  const trackers = result?.trackers ?? { auto: undefined, kinds: [] };
  const found = [...features, result?.trialDump ?? NO_TRIAL_DUMP];
  const purposes = PURPOSES.map((purpose) => checkPurpose(purpose, found, trackers));
  const dumps = purposes.some(({ id, works }) => id === 'dump' && works);
  return {
    machine: describeMachine(),
    purposes,
    trackers,
    target,
    dumpWorks: target?.features.every(isBearable) ?? dumps,
  };
}

const NO_TRIAL_DUMP: Feature = {
  id: 'trial-dump',
  name: 'dump',
  state: 'untried',
  found: 'no process could be started to try it on',
};

/** Dumps a process of our own into a store that is thrown away. */
async function dumpForTrial(pid: number): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'ckpt-check-'));
  try {
    const request = {
      target: `${pid}`,
      storeDirectory: join(directory, 'store'),
      incremental: false,
      workers: 1,
    };
    const [result] = await dumpTarget(request);
    const milliseconds = ((result?.microseconds.freeze ?? 0) / 1000).toFixed(1);
    return `a process of ours was dumped: ${result?.pages.present} pages, stopped for ${milliseconds} ms`;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function checkPurpose(
  { id, title, what, uses }: PurposeUses,
  found: readonly Feature[],
  trackers: CheckedTrackers,
): CheckedPurpose {
  const features = uses.map(({ feature, without }) => {
    const result = found.find((candidate) => candidate.id === feature);
    if (result === undefined) throw new Error(`feature ${feature} was not tried`);
    return { ...result, needed: without === undefined, ...(without === undefined ? {} : { without }) };
  });
  const works = id === 'track' ? trackers.kinds.some((tracker) => tracker.works) : features.every(isBearable);
  return { id, title, what, works, features };
}

/** Nothing can be done to a process without the rights. */
function checkTarget({ pid, name, features }: TargetFeatures): CheckedTarget {
  return {
    pid,
    name,
    features: features.map((feature) => ({ ...feature, needed: feature.id === 'target-rights' })),
  };
}

function isBearable({ state, needed }: CheckedFeature): boolean {
  return state === 'works' || !needed;
}

/** Asks for each tracker in turn, as a dump would. */
async function checkTrackers(pid: number): Promise<CheckedTrackers> {
  let target: Target;
  try {
    target = await openLiveTarget(pid);
  } catch (error) {
    return {
      auto: undefined,
      kinds: TRACKER_KINDS.map((kind) => ({ kind, works: false, reason: problemOf(error) })),
    };
  }
  try {
    return {
      auto: chooseTracker(target, 'auto').reason,
      kinds: TRACKER_KINDS.map((kind) => checkTracker(target, kind)),
    };
  } finally {
    await target.close();
  }
}

function checkTracker(target: Target, kind: TrackerKind): CheckedTracker {
  try {
    chooseTracker(target, kind);
    return { kind, works: true, reason: 'works' };
  } catch (error) {
    return { kind, works: false, reason: problemOf(error) };
  }
}

/** Whatever goes wrong is the answer here, be it that /proc lacks a file that nobody has ever missed. */
function problemOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function describeMachine(): CheckedMachine {
  const names = Object.entries(CAPABILITIES);
  const effective = effectiveCapabilities();
  const held = names.filter(([, bit]) => ((effective >> BigInt(bit)) & 1n) === 1n).map(([name]) => name);
  return {
    kernelRelease: release(),
    architecture: process.arch === 'x64' ? 'x86_64' : process.arch,
    processors: availableParallelism(),
    nodeVersion: process.versions.node,
    zstd: chooseZstd(),
    user: process.geteuid?.(),
    capabilities: held,
    missingCapabilities: names.map(([name]) => name).filter((name) => !held.includes(name)),
  };
}

function effectiveCapabilities(): bigint {
  try {
    const mask = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1];
    return BigInt(`0x${mask ?? '0'}`);
  } catch {
    return 0n;
  }
}
