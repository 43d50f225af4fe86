import { type Command, Option } from 'commander';
import { CkptError, UsageError } from '../../core/index.ts';
import {
  formatPeerAddress,
  loadSecurity,
  type PeerAddress,
  type ReceivedMigration,
  type ReceiveEvent,
  receiveMigrations,
} from '../../migration/index.ts';
import { formatReceived } from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { durationOption, integer } from '../parse.ts';
import { addressOption, declarePeerOptions, type PeerOptions } from '../peer-options.ts';

interface ReceiveCommandOptions extends CommonOptions, PeerOptions {
  readonly listen: PeerAddress;
  readonly store?: string;
  readonly once?: boolean;
  readonly discard?: boolean;
  readonly run?: number;
  readonly force?: boolean;
  readonly workers?: number;
  readonly reconnectFor: number;
}

const DEFAULT_PORT = 7000;

const EXAMPLES = `
What comes is written into the store, each round as a pre-dump and the last one as a whole checkpoint. A simulated
process then lives in its newest checkpoint; a live one runs, if it can be made anew here. A migration that fails
leaves nothing. Without options about certificates or keys it takes connections of the same user on this machine only.

Examples:
  ckpt receive -D store                                      on 127.0.0.1:${DEFAULT_PORT}
  ckpt receive --listen 0.0.0.0:7000 -D store --tls --tls-cacert ca.pem --tls-cert me.pem --tls-key me.key
  ckpt receive --listen [::]:7000 -D store --key-file shared.key --once
  ckpt receive --discard                                     for ckpt rehearse --shadow`;

/** `ckpt receive`: the destination of migrations. */
export function declareReceive(program: Command, shell: Shell): void {
  const command = program
    .command('receive')
    .description('receive migrations: what ckpt migrate sends')
    .addOption(
      addressOption('--listen <addr:port>', 'where to listen').default(
        { host: '127.0.0.1', port: DEFAULT_PORT },
        `127.0.0.1:${DEFAULT_PORT}`,
      ),
    )
    .addOption(
      // Not by `env`: a store that is named there is none that --discard contradicts.
      new Option(
        '-D, --store <dir>',
        'directory of the checkpoint store; made if there is none (env: CKPT_STORE)',
      ).conflicts('discard'),
    )
    .option('--discard', 'count what comes and keep nothing (for ckpt rehearse --shadow)')
    .option('--once', 'end after one migration')
    .addOption(
      durationOption(
        '--run <duration>',
        'let a simulated process run on for so long, into a further checkpoint',
      ),
    )
    .option('--force', 'let a live process run despite obstacles that it may not mind')
    .addOption(new Option('--workers <n>', 'codec threads (default: one a core)').argParser(integer(1, 64)))
    .addOption(
      durationOption('--reconnect-for <duration>', 'how long a lost connection is waited for').default(
        30_000_000,
        '30s',
      ),
    )
    .addHelpText('after', EXAMPLES);
  declarePeerOptions(command);
  withCommonOptions(command).action(runsAs<ReceiveCommandOptions>(shell, receive));
}

async function receive(context: CommandContext, options: ReceiveCommandOptions): Promise<void> {
  const { listen, run, workers } = options;
  const discard = options.discard === true;
  const store = options.store ?? (discard ? undefined : context.environment.variables['CKPT_STORE']);
  if (store === undefined && !discard) {
    throw new UsageError('nothing says where to keep what comes', {
      hint: '-D DIR, or --discard to count it only',
    });
  }
  await receiveMigrations({
    listen,
    connection: {
      security: await loadSecurity(options, listen),
      giveUpMicroseconds: options.reconnectFor,
      onEvent: (event) => {
        if (event.kind === 'refused') context.note(`refused ${event.peer}: ${event.reason}`);
        else if (event.kind === 'connection-lost') context.note(`connection lost: ${event.reason}`);
        else if (event.kind === 'connection-resumed') context.note('connected again');
      },
    },
    storeDirectory: store,
    discard,
    once: options.once === true,
    force: options.force === true,
    ...(run === undefined ? {} : { runMicroseconds: run }),
    ...(workers === undefined ? {} : { workers }),
    signal: context.signals.signal,
    onEvent: (event) => tell(context, event),
    onListening: (address) => {
      const text = formatPeerAddress(address);
      if (context.json) line(context, { event: 'listening', address: text });
      else context.note(`listening on ${text}`);
    },
    onReceived: (migration) => report(context, migration),
    onFailed: (error) => {
      context.progress.stop();
      const hint = error instanceof CkptError && error.hint !== undefined ? `; ${error.hint}` : '';
      if (context.json) line(context, { event: 'failed', message: error.message });
      else context.note(`a migration failed: ${error.message}${hint}`);
    },
  });
}

function report(context: CommandContext, migration: ReceivedMigration): void {
  context.progress.stop();
  if (context.json) line(context, { event: 'received', ...migration });
  else context.result(migration, formatReceived(migration));
  context.exitStatus = migration.outcome === 'kept' ? EXIT_STATUS.incomplete : EXIT_STATUS.done;
}

function tell(context: CommandContext, event: ReceiveEvent): void {
  if (event.kind === 'note') context.note(event.text);
  else if (event.kind === 'begun') context.note(`${event.target} comes from ${event.peer}`);
  else {
    const { round, final, pages, receivedBytes } = event.progress;
    const phase = final ? 'receiving the rest' : `receiving round ${round}`;
    context.progress.update({ phase, donePages: pages, doneBytes: receivedBytes });
  }
}

/** One JSON document on one line: several may follow each other. */
function line(context: CommandContext, value: Readonly<Record<string, unknown>>): void {
  context.environment.stdout.write(`${JSON.stringify(value)}\n`);
}
