import type { PosixTimer, ProcessSignals, ProcessTimers, SignalDisposition } from '../../../target/index.ts';
import { damaged } from '../damage.ts';
import type { MessageFields } from '../images/messages.ts';
import type { DumpImages } from './dump-images.ts';
import { hex, signed } from './numbers.ts';
import { pendingOf } from './threads.ts';

const HIGHEST_SIGNAL = 64;
/** SIGKILL and SIGSTOP, of which nobody chooses what they do: CRIU leaves them out (criu/cr-dump.c, dump_task_core_all). */
const SIGNALS_LEFT_OUT: ReadonlySet<number> = new Set([9, 19]);
const IGNORED = 1n;

const SIGEV_THREAD_ID = 4;
const NANOSECONDS = 1_000_000_000n;
const MICROSECONDS = 1_000_000;

/**
 * What a process does on signals, and what is pending for it as a whole.
 * @throws IntegrityError
 */
export async function signalsOf(
  images: DumpImages,
  pid: number,
  process: MessageFields,
): Promise<ProcessSignals> {
  const inCore = process.messages('sigactions');
  const actions = inCore.length > 0 ? inCore : await images.entries(`sigacts-${pid}`, 'SIGACT');
  const dispositions = dispositionsOf(actions);
  const setOf = (isMember: (handler: bigint) => boolean) =>
    dispositions
      .filter(({ handler }) => isMember(BigInt(handler)))
      .reduce((set, { signal }) => set | (1n << BigInt(signal - 1)), 0n);
  return {
    caught: hex(setOf((handler) => handler > IGNORED)),
    ignored: hex(setOf((handler) => handler === IGNORED)),
    dispositions: actions.length === 0 ? null : dispositions,
    pending: pendingOf(process.message('signals_s')),
  };
}

/** Those that are not at their default, as elsewhere. */
function dispositionsOf(actions: readonly MessageFields[]): SignalDisposition[] {
  const signals = Array.from({ length: HIGHEST_SIGNAL }, (_, index) => index + 1).filter(
    (signal) => !SIGNALS_LEFT_OUT.has(signal),
  );
  return actions.flatMap((action, index) => {
    const signal = signals[index];
    if (signal === undefined) throw damaged(action, `it has actions for ${actions.length} signals`);
    const values = ['sigaction', 'flags', 'mask'].map((field) => action.big(field));
    if (values.every((value) => value === 0n)) return [];
    const [handler = 0n, flags = 0n, mask = 0n] = values;
    return [
      {
        signal,
        handler: hex(handler),
        flags: hex(flags),
        restorer: hex(action.big('restorer')),
        mask: hex(mask),
      },
    ];
  });
}

/** The timers of a process. @throws IntegrityError */
export async function timersOf(
  images: DumpImages,
  pid: number,
  process: MessageFields,
): Promise<ProcessTimers> {
  const timers = process.message('timers');
  const inCore = (['real', 'virt', 'prof'] as const).flatMap((name) => timers?.message(name) ?? []);
  const intervals = inCore.length > 0 ? inCore : await images.entries(`itimers-${pid}`, 'ITIMERS');
  const posix =
    timers === undefined
      ? await images.entries(`posix-timers-${pid}`, 'POSIX_TIMERS')
      : timers.messages('posix');
  return {
    intervals:
      intervals.length === 0
        ? null
        : intervals
            .map((timer, which) => ({
              which,
              valueMicroseconds: timer.number('vsec') * MICROSECONDS + timer.number('vusec'),
              intervalMicroseconds: timer.number('isec') * MICROSECONDS + timer.number('iusec'),
            }))
            .filter((timer) => timer.valueMicroseconds + timer.intervalMicroseconds > 0),
    posix: posix.map(posixTimer),
  };
}

function posixTimer(timer: MessageFields): PosixTimer {
  const notify = timer.number('it_sigev_notify');
  const thread = timer.optionalNumber('notify_thread_id');
  const nanoseconds = (seconds: string, rest: string) =>
    (timer.big(seconds) * NANOSECONDS + timer.big(rest)).toString();
  return {
    id: timer.number('it_id'),
    clock: signed(timer.number('clock_id')),
    signal: timer.number('si_signo'),
    notify,
    notifyThread: (notify & SIGEV_THREAD_ID) === 0 || thread === undefined ? null : thread,
    value: hex(timer.big('sival_ptr')),
    remainingNanoseconds: nanoseconds('vsec', 'vnsec'),
    intervalNanoseconds: nanoseconds('isec', 'insec'),
    overrun: timer.number('overrun'),
  };
}
