import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';

/** What one run of the built program left behind. */
export interface CommandRun {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

const PROGRAM = resolve(import.meta.dirname, '../../bin/ckpt.js');

/** Runs `ckpt`; `started` gets its PID and the child itself while it runs. */
export async function ckpt(
  args: readonly string[],
  started?: (pid: number, child: ChildProcess) => void,
): Promise<CommandRun> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  started?.(child.pid!, child);
  await once(child, 'close');
  return { exitCode: child.exitCode, stdout, stderr };
}

/** Runs `ckpt` with `--json` and returns the document. @throws Error with its messages if it fails */
export async function ckptJson(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { exitCode, stdout, stderr } = await ckpt([...args, '--json']);
  if (exitCode !== 0) throw new Error(`ckpt ${args.join(' ')} failed with ${exitCode}: ${stderr}${stdout}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}
