import { type Command, Option } from 'commander';
import { CkptError, UsageError } from '../../core/index.ts';
import { formatPeer, type PageServerEvent, type PeerSecurity, receivePages } from '../../interop/index.ts';
import { isLoopback, loadSecurity, requireSameUser, type SecurityOptions } from '../../migration/index.ts';
import { formatPageServerEvent, formatReceivedSession } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { argument, checkpointNumber, integer, patienceOption, storeOption } from '../parse.ts';
import { declareCriuPeerOptions } from '../peer-options.ts';
import { givePages } from './page-server-lazy.ts';

interface PageServerOptions extends CommonOptions, SecurityOptions {
  readonly store: string;
  readonly address: string;
  readonly port: number;
  readonly once?: boolean;
  readonly chain?: boolean;
  readonly lazy?: boolean;
  readonly at?: number | 'latest';
  readonly silence?: number;
  readonly workers?: number;
}

const DEFAULT_PORT = 12_345;

const EXAMPLES = `
What comes is written into the store, a checkpoint for each session. CRIU is told that all is well when everything is
on disk, and otherwise keeps the process alive. Only memory comes this way: when 'criu dump' has ended, copy its images
directory and join it with 'ckpt adopt'. Pre-dumps followed by a dump need --chain here and --prev-images-dir there, and
no --pre-dump-mode read: CRIU can overwrite what it reads in that way before it is sent.
With --lazy it is the other way round: criu lazy-pages fetches the pages that 'ckpt export --lazy' has left out, for as
many restores as wanted, also several at a time. If criu lazy-pages loses this server before it has everything, criu
lets what it restored run on with zeros in the place of what is missing: end it, and restore again.
Without --tls or --insecure it takes connections of the same user and of root, on this machine only.

Examples:
  ckpt page-server -D store                                  on 127.0.0.1:${DEFAULT_PORT}
  criu dump -t PID -D img --page-server --address 127.0.0.1 --port ${DEFAULT_PORT}
  ckpt adopt img -D store
  ckpt page-server -D store --address 0.0.0.0 --port 9000 --chain --tls --tls-cacert ca.pem --tls-cert me.pem \\
    --tls-key me.key
  ckpt page-server -D store --lazy --at 4                    while these restore checkpoint 4:
  ckpt export -D store --format criu --at 4 --lazy -o img
  criu lazy-pages -D img --page-server --address 127.0.0.1 --port ${DEFAULT_PORT}
  criu restore -D img --lazy-pages`;

/** `ckpt page-server`: what CRIU's own page server does, into a store. */
export function declarePageServer(program: Command, shell: Shell): void {
  const command = program
    .command('page-server')
    .description('receive the pages of criu dump and pre-dump, or give them to criu lazy-pages')
    .addOption(storeOption())
    .option('--address <address>', 'where to listen', '127.0.0.1')
    .addOption(
      new Option('--port <n>', 'where to listen; 0 for any')
        .argParser(integer(0, 65_535))
        .default(DEFAULT_PORT),
    )
    .option('--once', 'end after one session')
    .option('--chain', 'each session continues the newest checkpoint: for criu with --prev-images-dir')
    .addOption(
      new Option('--lazy', 'give the pages of a checkpoint to criu lazy-pages --page-server').conflicts(
        'chain',
      ),
    )
    .addOption(
      new Option('--at <checkpoint>', 'with --lazy: which checkpoint (default: latest)').argParser(
        argument(checkpointNumber),
      ),
    )
    .addOption(
      patienceOption(
        '--silence <duration>',
        'longest silence between two messages (default: 10m; with --lazy 1h)',
      ),
    )
    .addOption(new Option('--workers <n>', 'codec threads (default: one a core)').argParser(integer(1, 64)))
    .addHelpText('after', EXAMPLES);
  declareCriuPeerOptions(command);
  withCommonOptions(command).action(runsAs<PageServerOptions>(shell, servePages));
}

async function servePages(context: CommandContext, options: PageServerOptions): Promise<void> {
  if (options.at !== undefined && options.lazy !== true) {
    throw new UsageError('--at says whose pages --lazy gives');
  }
  const common = {
    storeDirectory: options.store,
    address: options.address,
    port: options.port,
    security: await criuSecurity(options),
    once: options.once,
    silenceMicroseconds: options.silence,
    workers: options.workers,
  };
  if (options.lazy === true) {
    await givePages(context, { ...common, checkpoint: options.at ?? 'latest' });
    return;
  }
  await receivePages({
    ...common,
    chain: options.chain,
    signal: context.signals.signal,
    onEvent: (event) => tell(context, event),
  });
}

/** Who may connect, from the options. @throws UsageError where they say too little, or name what cannot be used */
async function criuSecurity(options: PageServerOptions): Promise<PeerSecurity> {
  const { address, port } = options;
  if (options.tls !== true && options.insecure !== true && !isLoopback(address)) {
    throw new UsageError(`${formatPeer(address, port)} is not a loopback address and needs security`, {
      hint: 'give --tls with certificates, or, where every host on the way is trusted, --insecure',
    });
  }
  const security = await loadSecurity(options, { host: address, port });
  if (security.kind === 'same-user') return { kind: 'same-user', require: requireSameUser };
  if (security.kind === 'shared-key') throw new UsageError('CRIU does not know shared keys');
  return security;
}

/** One JSON document on one line with `--json`: several follow each other. */
function tell(context: CommandContext, event: PageServerEvent): void {
  if (context.json) {
    context.environment.stdout.write(`${JSON.stringify(eventJson(event))}\n`);
    return;
  }
  const line = formatPageServerEvent(event);
  if (line !== undefined) {
    const hint = event.kind === 'failed' && event.error instanceof CkptError ? event.error.hint : undefined;
    context.note(hint === undefined ? line : `${line}; ${hint}`);
  }
  if (event.kind === 'received') context.result(event.session, formatReceivedSession(event.session));
}

function eventJson(event: PageServerEvent): Readonly<Record<string, unknown>> {
  if (event.kind === 'received') return { event: 'received', ...event.session };
  if (event.kind === 'failed') {
    const { peer, error } = event;
    const hint = error instanceof CkptError && error.hint !== undefined ? { hint: error.hint } : {};
    return { event: 'failed', peer, message: error.message, ...hint };
  }
  const { kind, ...facts } = event;
  return { event: kind, ...facts };
}
