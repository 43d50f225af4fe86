import type { Command } from 'commander';
import { type CliEnvironment, CommandContext, type CommonOptions } from './context.ts';
import { reportFailure } from './failure.ts';

/** What a command declaration needs of the program around it. */
export interface Shell {
  readonly environment: CliEnvironment;
  /** Keeps the exit status of the command that ran. */
  readonly finish: (status: number) => void;
}

/** Adds the options that every command has. */
export function withCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document on standard output, nothing else there')
    .option('-q, --quiet', 'print results and errors only')
    .option('-v, --verbose', 'tell more; repeat for still more', (_: string, level: number) => level + 1, 0);
}

/**
 * Runs the body of a command: signals are turned into an orderly stop, whatever is thrown into one message and the
 * documented exit status.
 */
export function runsAs<Options extends CommonOptions>(
  shell: Shell,
  body: (context: CommandContext, options: Options, operands: readonly string[]) => Promise<void> | void,
): (...parameters: unknown[]) => Promise<void> {
  return async (...parameters) => {
    const command = parameters.at(-1) as Command;
    const options = command.opts<Options>();
    const context = new CommandContext(shell.environment, options);
    context.signals.install();
    try {
      await body(
        context,
        options,
        command.processedArgs
          .flat()
          .filter((operand) => operand !== undefined)
          .map(String),
      );
      shell.finish(context.exitStatus);
    } catch (error) {
      context.progress.stop();
      shell.finish(reportFailure(shell.environment, error, context.json));
    } finally {
      context.progress.stop();
      context.signals.uninstall();
    }
  };
}
