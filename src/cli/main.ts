import { Command, CommanderError } from 'commander';
import type { Shell } from './command.ts';
import { declareCommands } from './commands.ts';
import type { CliEnvironment } from './context.ts';
import { EXIT_STATUS } from './exit-status.ts';
import { reportFailure } from './failure.ts';
import { VERSION } from './version.ts';

const EXIT_STATUS_HELP = `
Exit status: 0 done, 1 failed or different, 2 wrong usage, 3 incomplete, 10 no store or checkpoint,
11 store locked, 12 damaged, 13 target gone or forbidden, 14 not supported here,
15 the migration does not converge, 16 the other end of a migration cannot be reached or refuses,
130/143 interrupted.`;

/** Runs one command line (without `node` and the script) and gives its exit status. */
export async function main(argv: readonly string[], environment: CliEnvironment): Promise<number> {
  let status: number = EXIT_STATUS.done;
  const shell: Shell = { environment, finish: (ended) => (status = ended) };
  const program = new Command('ckpt')
    .description('Incremental memory checkpoints and live migrations of Linux processes, simulated and live')
    .version(VERSION, '-V, --version')
    .exitOverride()
    .showHelpAfterError("(try 'ckpt --help' or 'ckpt COMMAND --help')")
    .addHelpText('after', EXIT_STATUS_HELP)
    .configureOutput({
      writeOut: (text) => environment.stdout.write(text),
      writeErr: (text) => environment.stderr.write(text),
    });
  try {
    await declareCommands(program, shell, argv);
    await program.parseAsync([...argv], { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_STATUS.done : EXIT_STATUS.usage;
    return reportFailure(environment, error, argv.includes('--json'));
  }
  return status;
}

/** Entry of `bin/ckpt.js`: the process's own arguments, streams and exit code. */
export async function runFromShell(): Promise<void> {
  // A reader that has seen enough (`ckpt ls | head -1`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(EXIT_STATUS.done);
    throw error;
  });
  process.exitCode = await main(process.argv.slice(2), {
    stdout: process.stdout,
    stderr: process.stderr,
    // Made only when it is asked for: it would keep a pipe open.
    get stdin() {
      return process.stdin;
    },
    variables: process.env,
  });
}
