import { parseTaskStatus } from '../procfs/index.ts';
import { type ProcessEvidence, signalsOf } from './live-state-describe.ts';
import type { LiveProcessState } from './live-state-format.ts';
import type { RawProcess, RawThread } from './live-state-raw.ts';

const SCHED_DEADLINE = 6;
/** What a decoder of UTF-8 puts in the place of bytes that are none. */
const REPLACEMENT = '\ufffd';

/** Says what the record of a process lacks by the nature of the process, as sentences. */
export function gapsOfProcess(process: LiveProcessState, evidence: ProcessEvidence): string[] {
  const { raw, traced } = evidence;
  const { pid } = process;
  const gaps: string[] = [];
  if (raw.files === undefined) gaps.push(`the open files of process ${pid} may not be looked at`);
  if (process.seccompMode === 2) gaps.push(`the seccomp filters of process ${pid} are not recorded`);
  if (traced.size === 0) gaps.push(...pendingGaps(raw));
  for (const thread of process.threads) {
    if (traced.has(thread.id) && thread.registers === null) {
      gaps.push(`the registers of thread ${thread.id} are not recorded: it runs 32-bit code`);
    }
    if (evidence.askedThreads.get(thread.id)?.clearChildTid === undefined && evidence.asked !== undefined) {
      gaps.push(
        `the kernel does not tell which word thread ${thread.id} clears when it ends (CHECKPOINT_RESTORE)`,
      );
    }
    if (thread.schedule.policy === SCHED_DEADLINE) {
      gaps.push(`the deadline and period of thread ${thread.id} (SCHED_DEADLINE) are not recorded`);
    }
  }
  gaps.push(...credentialGaps(raw), ...nameGaps(process));
  return gaps;
}

function pendingGaps(raw: RawProcess): string[] {
  const set = (thread: RawThread) => parseTaskStatus(thread.status).signals;
  const pending = raw.threads.reduce(
    (sum, thread) => sum | set(thread).pending | set(thread).sharedPending,
    0n,
  );
  if (pending === 0n) return [];
  return [
    `of signals ${signalsOf(pending).join(', ')}, pending in process ${raw.pid}, only the numbers are known`,
  ];
}

/** Linux has credentials by thread; programs keep them equal, but for a few servers of files. */
function credentialGaps(raw: RawProcess): string[] {
  const [leader, ...others] = raw.threads.map(({ id, status }) => ({ id, rights: rightsIn(status) }));
  return others
    .filter(({ rights }) => rights !== leader?.rights)
    .map(({ id }) => `thread ${id} has credentials or seccomp filters of its own, which are not recorded`);
}

function rightsIn(status: string): string {
  return (status.match(/^(?:Uid|Gid|Groups|Cap\w+|NoNewPrivs|Seccomp\w*):.*$/gm) ?? []).join('\n');
}

function nameGaps({ pid, files, exe, workingDirectory }: LiveProcessState): string[] {
  const names = [...files.map(({ path }) => path), exe?.path ?? '', workingDirectory ?? ''];
  if (!names.some((name) => name.includes(REPLACEMENT))) return [];
  return [`process ${pid} has a file whose name is not UTF-8, and is not recorded to the byte`];
}
