import { rehearseFreeze } from '../../checkpoint/index.ts';
import { machineClock, PAGE_SIZE, TargetError, UsageError } from '../../core/index.ts';
import { openLiveTarget, type Target } from '../../target/index.ts';
import { chooseTracker, type Tracker, type TrackerKind } from '../../tracker/index.ts';
import type { HostCosts } from '../costs.ts';
import { measureSending, type SendingTrial } from '../send/measure-sending.ts';
import type { SendingCosts } from '../send/sending-costs.ts';
import type { TraceHeader, TraceStep } from '../trace/format.ts';
import { recordSteps } from '../trace/recorder.ts';
import { isTracked, removeTracking } from '../trace/tracking.ts';
import { RecordingBuilder } from './builder.ts';
import { cpuMicroseconds } from './cpu-time.ts';
import { measureCosts, median } from './measure-costs.ts';
import { compressedTogether } from './page-sizes.ts';
import type { Recording } from './recording.ts';

/** A live process that is watched for a while before its migration is rehearsed. */
export interface LiveRecordingRequest {
  readonly pid: number;
  /** The process alone, without its descendants. */
  readonly single?: boolean;
  readonly tracker?: TrackerKind | 'auto';
  readonly durationMicroseconds: number;
  readonly intervalMicroseconds?: number;
  /** How `ckpt migrate` would send it, if what that takes is to be measured, too. */
  readonly sending?: SendingTrial;
  readonly signal?: AbortSignal;
  /** Given what lets the stopped target go on at once; returns what takes that back. */
  readonly onStop?: (release: () => void) => () => void;
  /** Told about each scan. */
  readonly onStep?: (step: TraceStep) => void;
}

/** What was seen of a live process, and what work with its memory costs here. */
export interface LiveRecording {
  readonly recording: Recording;
  readonly costs: Partial<HostCosts>;
  readonly sending: SendingCosts | undefined;
  readonly trackerReason: string;
  /** How long it stood still, altogether and at a time. */
  readonly frozenMicroseconds: { readonly total: number; readonly longest: number };
}

const USUAL_INTERVAL_MICROSECONDS = 100_000;
/** One scan of so many follows the one before at once: it shows how often the pages are written that always are. */
const PROBE_EVERY = 10;
const PROBE_SHARE = 0.1;
/** Where scans take long, there are fewer of them: the target is not to stand still for a larger share of its time. */
const MOST_FROZEN_SHARE = 0.1;
const RECENT_SCANS = 5;

/**
 * Watches a live process and measures what its migration would cost on this machine. It stands still for the scans and
 * for one look at its state, and is left running, without anything of ours in it unless that was there before.
 * @throws UsageError, TargetError if it cannot be watched, or ends meanwhile; the signal's reason.
 */
export async function recordLive(request: LiveRecordingRequest): Promise<LiveRecording> {
  const { pid, single = false, tracker: wanted = 'auto', signal } = request;
  if (!(request.durationMicroseconds > 0 && (request.intervalMicroseconds ?? 1) > 0)) {
    throw new UsageError('a process can be watched only for a time and at intervals above zero');
  }
  await rehearseFreeze(wanted);
  const target = await openLiveTarget(pid, { single });
  const withdraw = request.onStop?.(() => target.thaw());
  try {
    signal?.throwIfAborted();
    const { tracker, reason } = chooseTracker(target, wanted);
    const before = await lookAtState(target);
    const began = machineClock();
    try {
      const observed = await observe(target, tracker, request);
      const { frozen, memoryBytes } = observed;
      const sending =
        request.sending === undefined
          ? undefined
          : await measureSending(target, tracker, {
              ...request.sending,
              ...(signal === undefined ? {} : { signal }),
            });
      const perScan = Math.max(0, median(frozen) - before.stopMicroseconds);
      const { costs, blockFactor } = await measureCosts(target, observed.recording);
      return {
        recording: {
          ...observed.recording,
          sizes: compressedTogether(observed.recording.sizes, blockFactor),
        },
        costs: {
          ...costs,
          stopMicroseconds: before.stopMicroseconds,
          stateBytes: before.stateBytes,
          syncMicrosecondsPerGibibyte: (perScan * 2 ** 30) / Math.max(PAGE_SIZE, memoryBytes),
        },
        sending,
        trackerReason: reason,
        frozenMicroseconds: {
          total: frozen.reduce((sum, each) => sum + each, before.stopMicroseconds),
          longest: Math.max(before.stopMicroseconds, ...frozen),
        },
      };
    } catch (error) {
      if (error instanceof TargetError && error.data['gone'] === true) throw endedError(target, began);
      throw error;
    } finally {
      // The recorder leaves nothing, but what sending takes was tried behind it.
      if (request.sending !== undefined && !before.wasTracked) await removeTracking(target);
    }
  } finally {
    withdraw?.();
    await target.close();
  }
}

/** Watches for as long as was asked. */
async function observe(target: Target, tracker: Tracker, request: LiveRecordingRequest) {
  const { durationMicroseconds, intervalMicroseconds = USUAL_INTERVAL_MICROSECONDS, signal } = request;
  const header: TraceHeader = {
    target: target.identity.name,
    kind: 'live',
    tracker: tracker.kind,
    pageSize: PAGE_SIZE,
    intervalMicroseconds,
    clock: 'monotonic',
  };
  const builder = new RecordingBuilder(header);
  const frozen: number[] = [];
  const began = machineClock();
  const pids = target.processes().map(({ pid }) => pid);
  const cpuBefore = cpuMicroseconds(pids);
  let scans = 0;
  const nextMicroseconds = () => {
    const gentle = median(frozen.slice(1).slice(-RECENT_SCANS)) / MOST_FROZEN_SHARE;
    if (gentle > intervalMicroseconds) return gentle;
    return scans++ % PROBE_EVERY === 1 ? intervalMicroseconds * PROBE_SHARE : intervalMicroseconds;
  };
  const steps = recordSteps(target, tracker, {
    intervalMicroseconds,
    nextMicroseconds,
    durationMicroseconds,
    ...(signal === undefined ? {} : { signal }),
  });
  try {
    for (let each = await steps.next(); ; each = await steps.next()) {
      if (each.done !== true) {
        builder.add(each.value);
        frozen.push(each.value.frozenMicroseconds);
        request.onStep?.(each.value);
        continue;
      }
      signal?.throwIfAborted();
      if (each.value === 'target-ended' || builder.intervals === 0) throw endedError(target, began);
      break;
    }
  } finally {
    await steps.return('interrupted');
  }
  const cpu = cpuMicroseconds(pids) - cpuBefore;
  const cpuShare = Math.min(1, Math.max(0, cpu) / (machineClock() - began));
  const recording = builder.build(cpuShare);
  return { recording, frozen: frozen.slice(1), memoryBytes: recording.pageCount * PAGE_SIZE };
}

/** Stops the target for a moment: how long does that take, how much state is there, is it tracked already? */
async function lookAtState(target: Target) {
  await target.prepareFreeze?.();
  const began = machineClock();
  try {
    await target.freeze();
    const stateBytes = target.captureState().bytes.length;
    target.verifyStoodStill?.();
    const stopMicroseconds = machineClock() - began;
    return { stopMicroseconds, stateBytes, wasTracked: target.processes().some(isTracked) };
  } finally {
    target.thaw();
  }
}

function endedError(target: Target, began: number): TargetError {
  const seconds = ((machineClock() - began) / 1e6).toFixed(1);
  return new TargetError(
    `${target.identity.name} ended after ${seconds} s: there is nothing left to migrate`,
    {
      hint: "to rehearse from what was seen of a program that ends, record it with 'ckpt record' and rehearse the trace",
      data: { target: target.identity.name },
    },
  );
}
