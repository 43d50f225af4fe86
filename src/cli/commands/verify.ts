import type { Command } from 'commander';
import { verifyDirectory } from '../../checkpoint/index.ts';
import { formatFinding, formatVerification } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { storeOption } from '../parse.ts';

interface VerifyOptions extends CommonOptions {
  readonly store: string;
}

/** `ckpt verify`: every checksum and digest of a store; all findings, each with its place. */
export function declareVerify(program: Command, shell: Shell): void {
  const command = program
    .command('verify')
    .description('read everything in a store and check every checksum and digest')
    .addOption(storeOption());
  withCommonOptions(command).action(
    runsAs<VerifyOptions>(shell, async (context, options) => {
      const verification = await verifyDirectory({
        storeDirectory: options.store,
        signal: context.signals.signal,
        onProgress: (progress) => context.progress.update(progress),
        onFinding: (finding) => {
          if (!context.json) context.partialResult(formatFinding(finding));
        },
      });
      context.progress.stop();
      context.result(verification, formatVerification(verification));
      if (verification.errors > 0) context.exitStatus = EXIT_STATUS.integrity;
      else if (verification.warnings > 0) context.exitStatus = EXIT_STATUS.incomplete;
    }),
  );
}
