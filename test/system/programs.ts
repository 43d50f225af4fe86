import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

/** A program that a test has started and talks to by lines. */
export class Program {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #grandchild: number | undefined;

  constructor(child: ChildProcess) {
    this.#child = child;
    const reader: Interface = createInterface({ input: child.stdout! });
    this.#lines = reader[Symbol.asyncIterator]();
    child.stdin!.on('error', () => {});
  }

  get pid(): number {
    return this.#grandchild ?? this.#child.pid!;
  }

  /** Has it stand for the process that its child has started. */
  adopt(grandchild: number): void {
    this.#grandchild = grandchild;
  }

  say(line: string): void {
    this.#child.stdin!.write(`${line}\n`);
  }

  /** The next line of its output. */
  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error(`program ${this.pid} ended while its output was awaited`);
    return next.value;
  }

  /** Says a line and returns the answer. */
  ask(line: string): Promise<string> {
    this.say(line);
    return this.line();
  }

  /** Kills it, and resolves when it is gone. */
  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    try {
      process.kill(this.pid, 'SIGKILL');
    } catch {
      // The grandchild has ended, and its parent is about to.
    }
    await ended;
  }
}

const running: Program[] = [];

/** Starts a program with its standard input and output as pipes; `killPrograms` ends it. */
export function start(command: string, args: readonly string[]): Program {
  const program = new Program(spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] }));
  running.push(program);
  return program;
}

/**
 * Starts a program as a grandchild. Node waits for its own children, and would take a stop by ptrace in this very
 * process for their end.
 */
export async function startGrandchild(command: string, ...args: readonly string[]): Promise<Program> {
  // It says its PID itself before it becomes the program, whose first words would come before those of its parent.
  const grandchild = `sh -c 'echo $$; exec "$0" "$@"' "$0" "$@"`;
  const script = `exec 3<&0; ${grandchild} <&3 & exec 3<&-; wait`;
  const child = spawn('/bin/sh', ['-c', script, command, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const program = new Program(child);
  running.push(program);
  program.adopt(Number(await program.line()));
  return program;
}

/** Starts Python code and waits for the line `ready` that it has to print. */
export async function startPython(code: string): Promise<Program> {
  const program = start('/usr/bin/env', ['python3', '-u', '-c', code]);
  const line = await program.line();
  if (line !== 'ready') throw new Error(`the program said ${line} instead of ready`);
  return program;
}

/** For `afterEach`: no test leaves a process behind. */
export async function killPrograms(): Promise<void> {
  await Promise.all(running.splice(0).map((program) => program.kill()));
}

/** State letters of all threads of a process, for instance `SST`. */
export function threadStates(pid: number): string {
  return readdirSync(`/proc/${pid}/task`)
    .map((id) => readFileSync(`/proc/${pid}/task/${id}/stat`, 'latin1'))
    .map((stat) => stat[stat.lastIndexOf(')') + 2]!)
    .join('');
}

/** Waits until `condition` holds. @throws Error naming `what` if it takes longer than `milliseconds` */
export async function until(what: string, milliseconds: number, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + milliseconds;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${milliseconds} ms`);
    await delay(2);
  }
}

/** PIDs of the processes whose command line contains `text`. */
export function processesWith(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return (
          readFileSync(`/proc/${name}/cmdline`, 'latin1').includes(text) &&
          readlinkSync(`/proc/${name}/exe`) !== ''
        );
      } catch {
        return false;
      }
    })
    .map(Number);
}

export const isRoot = process.getuid?.() === 0;

/** Whether to skip a test that lacks something; never where `CI` is set: there it has to fail instead. */
export function lacking(present: boolean): boolean {
  return !present && process.env['CI'] === undefined;
}
