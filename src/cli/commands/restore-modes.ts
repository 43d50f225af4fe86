import { restoreToDirectory, runFromCheckpoint } from '../../checkpoint/index.ts';
import { UsageError } from '../../core/index.ts';
import { writeCoreFile } from '../../interop/index.ts';
import { formatCoreResult, formatRestoreResult, formatRunResult, restoredJson } from '../../report/index.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';

/** What `ckpt restore` was asked for. */
export interface RestoreCommandOptions extends CommonOptions {
  readonly store: string;
  readonly at: number | 'latest';
  readonly to?: string;
  readonly salvage?: boolean;
  readonly run?: number;
  readonly format?: 'core';
  readonly output?: string;
  readonly pid?: number;
  readonly new?: boolean;
  readonly detach?: boolean;
  readonly stdio?: 'inherit' | 'null';
  readonly inPlace?: boolean;
  readonly tree?: number;
  readonly single?: boolean;
  readonly dryRun?: boolean;
  readonly leaveStopped?: boolean;
  readonly force?: boolean;
}

/** One thing that a checkpoint can be restored to. */
export interface RestoreMode {
  /** The option that asks for it, and what it does. */
  readonly usage: string;
  isAskedFor(options: RestoreCommandOptions): boolean;
  run(context: CommandContext, options: RestoreCommandOptions): Promise<void>;
}

/** What every mode passes on. */
export function commonRequest(context: CommandContext, options: RestoreCommandOptions) {
  return {
    storeDirectory: options.store,
    checkpoint: options.at,
    signal: context.signals.signal,
    onProgress: context.progress.update.bind(context.progress),
  };
}

/** Files, one for each mapping. */
export const filesMode: RestoreMode = {
  usage: '--to DIR writes files',
  isAskedFor: ({ to }) => to !== undefined,
  async run(context, options) {
    const result = await restoreToDirectory({
      ...commonRequest(context, options),
      outputDirectory: options.to ?? '',
      salvage: options.salvage === true,
    });
    context.result(restoredJson(result), formatRestoreResult(result));
    if (result.lost.length > 0) context.exitStatus = EXIT_STATUS.incomplete;
  },
};

/** A simulated process that goes on. */
export const runMode: RestoreMode = {
  usage: '--run DURATION lets a simulated process go on',
  isAskedFor: ({ run }) => run !== undefined,
  async run(context, options) {
    const result = await runFromCheckpoint({
      ...commonRequest(context, options),
      runMicroseconds: options.run ?? 0,
    });
    context.result(result, formatRunResult(result));
  },
};

/** An ELF core. */
export const coreMode: RestoreMode = {
  usage: '--format core -o FILE writes a core for a debugger',
  isAskedFor: ({ format }) => format === 'core',
  async run(context, options) {
    if (options.output === undefined) {
      throw new UsageError('--format core needs a file to write', { hint: 'add -o FILE' });
    }
    if (options.salvage === true) {
      throw new UsageError('--salvage goes with --to: a core of damaged memory would mislead');
    }
    const result = await writeCoreFile({
      ...commonRequest(context, options),
      outputFile: options.output,
      pid: options.pid,
    });
    for (const warning of result.warnings) context.note(`warning: ${warning}`);
    context.result(result, formatCoreResult(result));
  },
};
