import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { until } from './programs.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/ckpt.js');

/** A `ckpt receive` of a test, and where it listens. */
export interface Receiver {
  readonly child: ChildProcess;
  readonly address: string;
  readonly port: number;
}

/** A PID namespace of its own, as on another machine: PIDs that are taken here are free there. */
export class OtherNamespace {
  readonly #holder: ChildProcess;
  readonly #init: number;

  private constructor(holder: ChildProcess, init: number) {
    this.#holder = holder;
    this.#init = init;
  }

  static async start(): Promise<OtherNamespace> {
    const script = 'echo ready; while :; do sleep 1000 & wait; done';
    const args = ['--pid', '--fork', '--mount-proc', '--kill-child', '/bin/sh', '-c', script];
    const holder = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(holder.stdout!, 'data');
    const children = spawn('cat', [`/proc/${holder.pid}/task/${holder.pid}/children`]);
    let text = '';
    children.stdout.on('data', (chunk) => {
      text += chunk;
    });
    await once(children, 'close');
    return new OtherNamespace(holder, Number(text.trim()));
  }

  /** Starts `ckpt receive` there on a free port of the loopback address that both namespaces have. */
  async receive(...args: readonly string[]): Promise<Receiver> {
    const within = ['--target', `${this.#init}`, '--pid', '--mount', process.execPath, PROGRAM, 'receive'];
    const child = spawn('nsenter', [...within, '--listen', '127.0.0.1:0', '--json', ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    // Read to the end, or it would end when it has more to say.
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        said += chunk;
      });
    }
    const listening = () => /"listening","address":"([^"]+)"/.exec(said)?.[1];
    await until(`listen: ${said}`, 20_000, () => child.exitCode !== null || listening() !== undefined);
    const address = listening();
    if (address === undefined) throw new Error(`ckpt receive ended with ${child.exitCode}: ${said}`);
    return { child, address, port: Number(address.split(':').at(-1)) };
  }

  /** Ends everything in it. */
  async end(): Promise<void> {
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return;
    const gone = once(this.#holder, 'exit');
    try {
      process.kill(this.#init, 'SIGKILL');
    } catch {
      this.#holder.kill('SIGKILL');
    }
    await gone;
  }
}
