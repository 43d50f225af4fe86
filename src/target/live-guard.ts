import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { UnsupportedError } from '../core/index.ts';

/**
 * What the guard runs. It reads from its standard input which processes are stopped, each before it is: a PID and a
 * start time on a line, the latest put in front, as children go on before their parents. The word `done` sends it
 * home. End of file without it means that ckpt is gone, however it died, and then they go on: but only the processes
 * that we stopped, recognised by their start time (field 22 of stat, the 20th after the name, which may contain
 * anything), never later ones with their PIDs. A cgroup, if the target was frozen through that, is thawed by its path.
 */
const SCRIPT = `
trap '' INT TERM HUP QUIT
echo ready
stopped=
while read -r pid ticks; do
  [ "$pid" = done ] && exit 0
  stopped="$pid $ticks $stopped"
done
if [ -n "$2" ]; then echo 0 > "$2/cgroup.freeze"; exit 0; fi
goOn() {
  [ -r "/proc/$1/stat" ] || return
  all=
  while read -r line; do all="$all $line"; done < "/proc/$1/stat"
  set -- "$1" "$2" \${all##*)}
  [ "\${22}" = "$2" ] && kill -CONT "$1"
}
set -- $stopped
while [ $# -gt 1 ]; do
  goOn "$1" "$2"
  shift 2
done
`;

/** A small child process that lets the target go on should ckpt die while the target stands still. */
export class Guard {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /**
   * Starts a guard and resolves when it is on its post; call it before stopping anything.
   * @param rootPid for those who read a list of processes
   * @param cgroup directory of the cgroup that will be frozen, if that is how the target is stopped
   * @throws UnsupportedError if there is no shell to run it
   */
  static async start(rootPid: number, cgroup = ''): Promise<Guard> {
    // Its own session: a signal to our process group must not take the guard along.
    const child = spawn('/bin/sh', ['-c', SCRIPT, 'ckpt-guard', `${rootPid}`, cgroup], {
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

  /**
   * Tells the guard of a process that is about to be stopped. The words are in the pipe when this returns, as Node
   * writes to an empty pipe at once, and the guard reads them even after our death.
   */
  watch(pid: number, startTicks: number): void {
    this.#child.stdin?.write(`${pid} ${startTicks}\n`);
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
