import { CkptError } from '../core/index.ts';
import type { CliEnvironment } from './context.ts';
import { exitStatusOf } from './exit-status.ts';

/** Prints why a command failed and how to go on, and gives the exit status. Stack traces only with CKPT_DEBUG. */
export function reportFailure(environment: CliEnvironment, error: unknown, json: boolean): number {
  const status = exitStatusOf(error);
  const expected = error instanceof CkptError;
  const message = error instanceof Error ? error.message : String(error);
  const hint = expected ? error.hint : 'this is a bug in ckpt; CKPT_DEBUG=1 prints where it happened';
  if (json) {
    const failure = {
      code: expected ? error.code : 'bug',
      message,
      ...(hint === undefined ? {} : { hint }),
      data: expected ? error.data : {},
      exitStatus: status,
    };
    environment.stderr.write(`${JSON.stringify({ error: failure })}\n`);
  } else {
    environment.stderr.write(`ckpt: ${expected ? message : `internal error: ${message}`}\n`);
    if (hint !== undefined) environment.stderr.write(`hint: ${hint}\n`);
  }
  if (environment.variables['CKPT_DEBUG'] && error instanceof Error) {
    environment.stderr.write(`${error.stack ?? ''}\n`);
    if (error.cause !== undefined) environment.stderr.write(`cause: ${String(error.cause)}\n`);
  }
  return status;
}
