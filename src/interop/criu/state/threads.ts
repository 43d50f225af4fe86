import type { Base64, LiveThreadState } from '../../../target/index.ts';
import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';
import { hex } from './numbers.ts';
import type { ThreadInfo } from './registers.ts';

/** Bytes of struct siginfo, on every architecture (include/uapi/asm-generic/siginfo.h). */
const SIGINFO_BYTES = 128;

/**
 * One thread of a process, from its image CORE.
 * @param leader the image of the process's first thread, which has what older CRIU kept by process
 * @throws IntegrityError
 */
export function threadState(
  id: number,
  core: MessageFields,
  leader: MessageFields,
  info: ThreadInfo | undefined,
): LiveThreadState {
  const thread = core.message('thread_core');
  const process = leader.message('tc');
  const mask = thread?.optionalBig('blk_sigset') ?? process?.optionalBig('blk_sigset') ?? 0n;
  return {
    id,
    name: thread?.optionalText('comm') ?? process?.optionalText('comm') ?? '',
    registers: info?.registers ?? null,
    signalMask: hex(mask),
    pending: pendingOf(thread?.message('signals_p')),
    alternateStack: alternateStackOf(thread),
    robustList: robustListOf(thread),
    clearChildTid: info === undefined ? null : hex(info.clearChildTid),
    rseq: rseqOf(thread),
    schedule: {
      policy: thread?.optionalNumber('sched_policy') ?? 0,
      priority: thread?.optionalNumber('sched_prio') ?? 0,
      nice: thread?.optionalNumber('sched_nice') ?? 0,
    },
    systemCall: info?.systemCall ?? null,
  };
}

/** siginfo of a queue of signals. @throws IntegrityError for one of another length */
export function pendingOf(queue: MessageFields | undefined): Base64[] {
  return (queue?.messages('signals') ?? []).map((entry) => {
    const siginfo = entry.text('siginfo');
    const bytes = Buffer.from(siginfo, 'base64').length;
    if (bytes !== SIGINFO_BYTES) throw damaged(entry, `a siginfo has ${bytes} bytes, not ${SIGINFO_BYTES}`);
    return siginfo;
  });
}

function alternateStackOf(thread: MessageFields | undefined): LiveThreadState['alternateStack'] {
  const stack = thread?.message('sas');
  if (stack === undefined) return null;
  return {
    start: hex(stack.big('ss_sp')),
    flags: stack.number('ss_flags'),
    sizeBytes: stack.number('ss_size'),
  };
}

function robustListOf(thread: MessageFields | undefined): LiveThreadState['robustList'] {
  const head = thread?.big('futex_rla') ?? 0n;
  if (thread === undefined || head === 0n) return null;
  return { head: hex(head), lengthBytes: thread.number('futex_rla_len') };
}

function rseqOf(thread: MessageFields | undefined): LiveThreadState['rseq'] {
  const rseq = thread?.message('rseq_entry');
  const pointer = rseq?.big('rseq_abi_pointer') ?? 0n;
  if (rseq === undefined || pointer === 0n) return null;
  return {
    pointer: hex(pointer),
    sizeBytes: rseq.number('rseq_abi_size'),
    signature: rseq.number('signature'),
    flags: 0,
  };
}
