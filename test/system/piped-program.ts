import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/**
 * A program that a test talks to by lines through two FIFOs, as a shell's pipes would be: what Node calls a pipe is a
 * connection, and those cannot be rewound.
 */
export class PipedProgram {
  readonly #child: ChildProcess;
  readonly #input: Socket;
  readonly #output: Socket;
  readonly #lines: AsyncIterator<string>;
  /** The FIFOs stay open without it. */
  readonly #ended: Promise<{ readonly done: true }>;

  /** @param directory where the FIFOs are made */
  constructor(directory: string, command: string, args: readonly string[]) {
    const [input, output] = [join(directory, 'stdin'), join(directory, 'stdout')];
    execFileSync('mkfifo', [input, output]);
    // Open both ways first: an end alone would wait for the other.
    const ours = [openSync(input, 'r+'), openSync(output, 'r+')] as const;
    const theirs = [openSync(input, 'r'), openSync(output, 'w')] as const;
    this.#child = spawn(command, args, { stdio: [...theirs, 'ignore'] });
    this.#ended = once(this.#child, 'exit').then(() => ({ done: true }));
    for (const descriptor of theirs) closeSync(descriptor);
    this.#input = new Socket({ fd: ours[0], readable: false });
    this.#output = new Socket({ fd: ours[1], writable: false });
    this.#lines = createInterface({ input: this.#output })[Symbol.asyncIterator]();
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async line(): Promise<string> {
    const next = await Promise.race([this.#lines.next(), this.#ended]);
    if (next.done === true) throw new Error(`program ${this.pid} ended while its output was awaited`);
    return next.value;
  }

  say(line: string): void {
    this.#input.write(`${line}\n`);
  }

  /** Says a line and returns the answer. */
  ask(line: string): Promise<string> {
    this.say(line);
    return this.line();
  }

  /** Kills it, and resolves when it is gone. */
  async kill(): Promise<void> {
    this.#input.destroy();
    this.#output.destroy();
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
