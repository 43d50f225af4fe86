import type { LiveProcessState, LiveState, LiveThreadState } from '../live-state-format.ts';
import type { RewriteObstacle } from './obstacle.ts';

/** siginfo: number, errno, code (i32 each). */
const CODE_OFFSET = 8;
const SIGSTOP = 19;
const SI_TIMER = -2;
const SI_KERNEL = 0x80;
/** SIGALRM, SIGVTALRM, SIGPROF: what interval timers send. */
const TIMER_SIGNALS: ReadonlySet<number> = new Set([14, 26, 27]);

/** Finds what of the state beyond memory and files cannot be as it was. */
export function findStateObstacles(present: LiveState, wanted: LiveState): RewriteObstacle[] {
  const finder = new ObstacleFinder();
  const now = new Map(present.processes.map((one) => [one.pid, one]));
  const then = new Map(wanted.processes.map((one) => [one.pid, one]));
  for (const [pid, { name }] of now) {
    if (!then.has(pid)) finder.add(pid, `process ${pid} (${name}) was started since`, 'it runs on as it is');
  }
  for (const [pid, state] of then) {
    const process = now.get(pid);
    if (process === undefined) {
      finder.add(pid, `process ${pid} (${state.name}) has ended`, 'the others do without it');
    } else finder.compare(process, state);
  }
  return finder.obstacles;
}

class ObstacleFinder {
  readonly obstacles: RewriteObstacle[] = [];

  add(pid: number, problem: string, otherwise: string | null): void {
    this.obstacles.push({ pid, problem, otherwise });
  }

  compare(now: LiveProcessState, then: LiveProcessState): void {
    const { pid } = now;
    if (now.startTicks !== then.startTicks) {
      this.add(pid, `process ${pid} (${then.name}) has ended, and its PID belongs to another one now`, null);
      return;
    }
    this.#compareIdentity(now, then);
    this.#compareThreads(now, then);
    this.#comparePending(pid, now.signals.pending, then.signals.pending);
    if (now.seccompMode !== 0) {
      this.add(pid, 'a filter watches its system calls (seccomp), and those of ckpt might end it', null);
    } else if (now.signals.dispositions === null) {
      this.add(pid, 'no system calls can be made inside it', null);
    }
    if (then.signals.dispositions === null || then.layout.brk === null) {
      this.add(pid, 'the checkpoint does not tell how signals were handled and where the heap ended', null);
    }
  }

  #compareIdentity(now: LiveProcessState, then: LiveProcessState): void {
    const { pid } = now;
    const stays = 'it keeps what it has now';
    const differs = (left: unknown, right: unknown) => JSON.stringify(left) !== JSON.stringify(right);
    if (differs(now.credentials, then.credentials)) {
      this.add(pid, 'its users, groups or capabilities have changed', stays);
    }
    if (now.root !== then.root) this.add(pid, `its root directory is ${now.root} now`, stays);
    if (differs(now.namespaces, then.namespaces)) this.add(pid, 'it has entered other namespaces', stays);
    if (now.session !== then.session || now.processGroup !== then.processGroup) {
      this.add(pid, 'it has gone to another session or process group', stays);
    }
    if (now.personality !== then.personality) this.add(pid, 'its personality has changed', stays);
    if (
      then.workingDirectory?.endsWith(' (deleted)') === true &&
      now.workingDirectory !== then.workingDirectory
    ) {
      this.add(pid, `its working directory ${then.workingDirectory} is gone`, stays);
    }
  }

  #compareThreads(now: LiveProcessState, then: LiveProcessState): void {
    const { pid } = now;
    const present = new Map(now.threads.map((thread) => [thread.id, thread]));
    for (const { id, name, registers, pending } of then.threads) {
      const thread = present.get(id);
      if (thread === undefined) {
        this.add(pid, `thread ${id} (${name}) has ended`, 'the program goes on without it');
        continue;
      }
      if (registers === null) {
        this.add(pid, `the checkpoint does not hold the registers of thread ${id}`, null);
      }
      this.#comparePending(pid, thread.pending, pending);
    }
  }

  #comparePending(pid: number, now: LiveThreadState['pending'], then: LiveThreadState['pending']): void {
    for (const signal of now) {
      if (then.includes(signal) || isOfTimer(signal) || numberOf(signal) === SIGSTOP) continue;
      this.add(pid, `signal ${numberOf(signal)} has come since and was not taken yet`, 'it is dropped');
    }
  }
}

/** Timers expire while the process stands still, and are set back anyway. */
function isOfTimer(signal: string): boolean {
  const code = viewOf(signal).getInt32(CODE_OFFSET, true);
  return code === SI_TIMER || (code === SI_KERNEL && TIMER_SIGNALS.has(numberOf(signal)));
}

function numberOf(signal: string): number {
  return viewOf(signal).getInt32(0, true);
}

function viewOf(signal: string): DataView {
  const bytes = Buffer.from(signal, 'base64');
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
