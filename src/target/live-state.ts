import { readFileSync } from 'node:fs';
import { TargetError, UnsupportedError } from '../core/index.ts';
import { parseDescriptorInfo, parseTimers } from '../procfs/index.ts';
import type { LiveCapture, LiveHold } from './live-hold.ts';
import { bootId } from './live-identity.ts';
import { type AskedProcess, type AskedThread, askProcess, askThread } from './live-state-ask.ts';
import { encodeLiveState } from './live-state-codec.ts';
import {
  describeProcess,
  type FileEvidence,
  type ProcessEvidence,
  signalsToAsk,
} from './live-state-describe.ts';
import { LIVE_STATE_FORMAT, type LiveState } from './live-state-format.ts';
import { gapsOfProcess } from './live-state-gaps.ts';
import { type RawFile, type RawProcess, readRawProcess } from './live-state-raw.ts';
import { holdersOf, numberDescriptions, type RawPipe, readPipes } from './live-state-sharing.ts';
import { summaryOfState } from './live-state-summary.ts';
import { readTracedThread } from './live-state-trace.ts';
import { ownArchitecture } from './native/architecture.ts';
import { SystemCallError } from './native/errno.ts';
import { seccompMode } from './seccomp.ts';
import type { TargetState } from './view.ts';

/**
 * Reads of a running process what `captureLiveState` will read once it is stopped. The kernel makes the files of /proc
 * when they are first looked up, which takes longer than reading them.
 */
export function rehearseCapture(pid: number): void {
  readRawProcess(pid, 0);
}

/**
 * Captures everything of a stopped target beyond its memory, and leaves it as it was. What is read is only made into a
 * record when its bytes or its summary are asked for, so that the target need not wait for that. What cannot be looked
 * at is missing from the record, and said to be.
 * @throws TargetError if a process is gone
 */
export function captureLiveState(capture: LiveCapture): TargetState {
  const gaps: string[] = [];
  const processes = capture.processes.map(({ pid, parentPid }) => {
    capture.hold?.settle(pid);
    return readRawProcess(pid, parentPid);
  });
  if (capture.hold === undefined) gaps.push(untracedGap(capture.holdProblem));
  const files = gatherFiles(capture.hold, processes, gaps);
  const evidence = processes.map((raw) => gather(capture.hold, raw, gaps));
  let state: LiveState | undefined;
  const record = () => (state ??= describe(evidence, files, gaps));
  return {
    format: LIVE_STATE_FORMAT,
    get bytes() {
      return encodeLiveState(record());
    },
    get summary() {
      return summaryOfState(record());
    },
  };
}

function describe(
  evidence: readonly ProcessEvidence[],
  files: FileEvidence,
  gaps: readonly string[],
): LiveState {
  const processes = evidence.map((process) => describeProcess(process, files));
  return {
    machine: ownArchitecture().name,
    kernelRelease: readFileSync('/proc/sys/kernel/osrelease', 'latin1').trim(),
    bootId: bootId(),
    processes,
    gaps: [...gaps, ...processes.flatMap((process, index) => gapsOfProcess(process, evidence[index]!))],
  };
}

function untracedGap(problem: string | undefined): string {
  return (
    'registers, signal handlers, pending signals, timers, thread pointers and shared descriptors are not known: ' +
    (problem ?? 'the target was not stopped by ptrace')
  );
}

/** Looks at one process by ptrace, and has it ask its kernel, where that is possible. */
function gather(hold: LiveHold | undefined, raw: RawProcess, gaps: string[]): ProcessEvidence {
  const traced: ProcessEvidence['traced'] = new Map();
  if (hold === undefined) {
    return { raw, asked: undefined, traced, askedThreads: new Map(), pending: [] };
  }
  const { native } = hold;
  const { threads } = hold.session.process(raw.pid);
  const evidence = {
    raw,
    traced: new Map(threads.map((tracee) => [tracee.tid, readTracedThread(native, tracee)])),
    pending: native.pendingSignals(raw.pid, true),
  };
  return { ...evidence, ...ask(hold, raw, gaps) };
}

/** Has a process and its threads ask their kernel. */
function ask(
  hold: LiveHold,
  raw: RawProcess,
  gaps: string[],
): { readonly asked: AskedProcess | undefined; readonly askedThreads: ReadonlyMap<number, AskedThread> } {
  const askedThreads = new Map<number, AskedThread>();
  try {
    requireCallable(hold, raw);
    const injector = hold.injector(raw.pid);
    const asked = askProcess(injector, signalsToAsk(raw), parseTimers(raw.timers ?? ''));
    for (const tracee of hold.session.process(raw.pid).threads) {
      askedThreads.set(tracee.tid, askThread(injector, tracee));
    }
    return { asked, askedThreads };
  } catch (error) {
    const isExpected = error instanceof TargetError || error instanceof UnsupportedError;
    if (!isExpected || error.data['gone'] === true) throw error;
    gaps.push(
      `signal handlers, timers, alternate stacks, the end of the heap and thread pointers of process ${raw.pid} are ` +
        `not known: ${error.message}`,
    );
    return { asked: undefined, askedThreads };
  } finally {
    hold.settle(raw.pid);
  }
}

/** @throws UnsupportedError for a process that might be killed for a call that it would not make by itself */
function requireCallable(hold: LiveHold, raw: RawProcess): void {
  const mode = seccompMode(raw.pid);
  if (mode === 'none' || (mode === 'filter' && hold.seccompSuspended)) return;
  throw new UnsupportedError(`it runs under seccomp (${mode}), which may kill it for a call`);
}

function gatherFiles(
  hold: LiveHold | undefined,
  processes: readonly RawProcess[],
  gaps: string[],
): FileEvidence {
  if (hold === undefined) return { descriptions: new Map(), pipes: new Map() };
  const holders = holdersOf(processes, (file) => parseDescriptorInfo(file.info)?.flags ?? 0);
  const pipes: ReadonlyMap<RawFile, RawPipe> = readPipes(hold.native, holders, ({ pid, file }, why) => {
    gaps.push(`what lies unread in ${file.path} of process ${pid} is not known: ${why}`);
  });
  try {
    return { descriptions: numberDescriptions(hold.native, holders), pipes };
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    gaps.push(`which descriptors share one open file is not known: ${error.message}`);
    return { descriptions: new Map(), pipes };
  }
}
