import { CkptError } from '../../core/index.ts';
import { type LazyServerEvent, type LazyServerRequest, servePagesLazily } from '../../interop/index.ts';
import { formatLazyServerEvent, formatServedSession } from '../../report/index.ts';
import type { CommandContext } from '../context.ts';

/** `ckpt page-server --lazy`: gives pages to `criu lazy-pages --page-server`. */
export async function givePages(
  context: CommandContext,
  request: Omit<LazyServerRequest, 'signal' | 'onEvent'>,
): Promise<void> {
  await servePagesLazily({
    ...request,
    signal: context.signals.signal,
    onEvent: (event) => tell(context, event),
  });
}

/** One JSON document on one line with `--json`: several follow each other. */
function tell(context: CommandContext, event: LazyServerEvent): void {
  if (context.json) {
    context.environment.stdout.write(`${JSON.stringify(eventJson(event))}\n`);
    return;
  }
  const line = formatLazyServerEvent(event);
  if (line !== undefined) {
    const error = event.kind === 'failed' || event.kind === 'stuck' ? event.error : undefined;
    const hint = error instanceof CkptError ? error.hint : undefined;
    context.note(hint === undefined ? line : `${line}; ${hint}`);
  }
  if (event.kind === 'served') context.result(event.session, formatServedSession(event.session));
}

function eventJson(event: LazyServerEvent): Readonly<Record<string, unknown>> {
  if (event.kind === 'served') return { event: 'served', ...event.session };
  if (event.kind === 'failed') return { event: 'failed', ...event.session, message: event.error.message };
  if (event.kind === 'stuck') return { event: 'stuck', peer: event.peer, message: event.error.message };
  const { kind, ...facts } = event;
  return { event: kind, ...facts };
}
