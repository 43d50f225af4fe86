import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

/** Whether a program of this name is on the PATH. */
export function isInstalled(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((directory) => existsSync(`${directory}/${program}`));
}

/** Runs a program to its end. @returns wall time in seconds. */
export function timeProgram(program: string, arguments_: readonly string[]): number {
  const start = performance.now();
  const { status, error, stderr } = spawnSync(program, arguments_, { stdio: ['ignore', 'ignore', 'pipe'] });
  const seconds = (performance.now() - start) / 1000;
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr.toString().slice(-500)}`);
  return seconds;
}

/** Writes back what is dirty, so that one measurement does not pay for the files of the one before. */
export function settleDisks(): void {
  spawnSync('sync');
}

/** The part of `ckpt dump --json` that is looked at. */
export interface DumpJson {
  readonly tracker: string;
  readonly pages: { readonly present: number; readonly dirty: number };
  readonly bytes: { readonly memory: number; readonly stored: number };
  readonly microseconds: { readonly freeze: number; readonly read: number; readonly total: number };
}

/** One run of the ckpt command. */
export interface CkptRun {
  /** From start to exit of the process. */
  readonly seconds: number;
  /** Largest resident size of the process. */
  readonly peakBytes: number;
  /** What `--json` printed. */
  readonly json: unknown;
}

/** npm runs scripts in the project's folder, wherever this file was compiled to. */
const CKPT = resolve('bin/ckpt.js');

/**
 * Reports the largest resident size of a Node program on descriptor 3 when it exits. The number of getrusage will not
 * do: it begins with the size of the process that started this one.
 */
const PEAK_REPORTER = `data:text/javascript,${encodeURIComponent(`
  import { readFileSync, writeSync } from 'node:fs';
  process.on('exit', () => writeSync(3, /VmHWM:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]));
`)}`;

/** Runs `ckpt ... --json` and measures it. */
export async function runCkpt(...arguments_: string[]): Promise<CkptRun> {
  const start = performance.now();
  const child = spawn(process.execPath, ['--import', PEAK_REPORTER, CKPT, ...arguments_, '--json'], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const outputs = Promise.all(child.stdio.slice(1).map((stream) => readText(stream)));
  const [exitCode] = await once(child, 'exit');
  const seconds = (performance.now() - start) / 1000;
  const [output = '', errors = '', peakKibibytes = ''] = await outputs;
  if (exitCode !== 0 && exitCode !== 3 && exitCode !== 15)
    throw new Error(`ckpt ${arguments_[0]} ended with ${exitCode}: ${errors}`);
  return { seconds, peakBytes: Number(peakKibibytes) * 1024, json: JSON.parse(output) };
}

async function readText(stream: unknown): Promise<string> {
  return stream instanceof Readable ? text(stream) : '';
}
