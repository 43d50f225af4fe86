import { main } from '../../src/cli/main.ts';

/** What one command line printed, and its exit status. */
export interface CliRun {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command line in this process, with captured output. */
export async function ckpt(...argv: string[]): Promise<CliRun> {
  let stdout = '';
  let stderr = '';
  const status = await main(argv, {
    stdout: { write: (text) => (stdout += String(text)) },
    stderr: { write: (text) => (stderr += String(text)) },
    variables: {},
  });
  return { status, stdout, stderr };
}
