import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { UnsupportedError } from '../core/index.ts';

/**
 * What the guard runs. It waits on its standard input; the word `done` sends it home. End of file without it means
 * that ckpt is gone, however it died, and then the target goes on: but only the process that we stopped, recognised by
 * its start time (field 22 of stat, the 20th after the name, which may contain anything), never a later one with its
 * PID. The cgroup, if it was frozen through that, is thawed by its path.
 */
const SCRIPT = `
trap '' INT TERM HUP QUIT
echo ready
while read -r word; do
  [ "$word" = done ] && exit 0
done
if [ -n "$3" ]; then echo 0 > "$3/cgroup.freeze"; exit 0; fi
all=
while read -r line; do all="$all $line"; done < "/proc/$1/stat"
set -- "$1" "$2" \${all##*)}
[ "\${22}" = "$2" ] && kill -CONT "$1"
`;

/** What the guard must undo. */
export interface Guarded {
  readonly pid: number;
  readonly startTicks: number;
  /** Directory of the frozen cgroup, if that is how the target is stopped. */
  readonly cgroup: string | undefined;
}

/** A small child process that lets the target go on should ckpt die while the target stands still. */
export class Guard {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /**
   * Starts a guard and resolves when it is on its post; call it before stopping anything.
   * @throws UnsupportedError if there is no shell to run it
   */
  static async start(guarded: Guarded): Promise<Guard> {
    const { pid, startTicks, cgroup } = guarded;
    // Its own session: a signal to our process group must not take the guard along.
    const child = spawn('/bin/sh', ['-c', SCRIPT, 'ckpt-guard', `${pid}`, `${startTicks}`, cgroup ?? ''], {
      stdio: ['pipe', 'pipe', 'ignore'],
      detached: true,
    });
    child.stdin.on('error', () => {}); // A guard that is gone is found by its exit, not by a broken pipe.
    try {
      await Promise.race([once(child.stdout, 'data'), once(child, 'exit').then(endedAtOnce)]);
    } catch (error) {
      throw new UnsupportedError('cannot start the guard that protects a stopped target', {
        hint: 'ckpt needs a working /bin/sh to guard live targets',
        cause: error,
      });
    }
    child.stdout.destroy();
    child.unref();
    if (child.stdin instanceof Socket) child.stdin.unref();
    return new Guard(child);
  }

  /** Sends the guard home, because the target runs again. Should the word be lost, it continues what runs already. */
  dismiss(): void {
    this.#child.stdin?.end('done\n');
  }

  /** Sends the guard home although the target stays stopped; resolves when it is gone and cannot continue it. */
  async retire(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.ref();
    this.dismiss();
    await gone;
  }
}

function endedAtOnce(): never {
  throw new Error('it ended at once');
}
