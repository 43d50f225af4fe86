import { type Command, Option } from 'commander';
import { MAX_ZSTD_LEVEL, MIN_ZSTD_LEVEL } from '../../codec/index.ts';
import { parseBandwidth, UsageError } from '../../core/index.ts';
import {
  type ConnectOptions,
  loadSecurity,
  type MigrateRequest,
  type Migration,
  migrateTarget,
  type PeerAddress,
  resolveMigration,
} from '../../migration/index.ts';
import {
  formatMigration,
  formatMigrationProgress,
  formatResolution,
  migrationJson,
} from '../../report/index.ts';
import { runsAs, type Shell, withCommonOptions } from '../command.ts';
import type { CommandContext, CommonOptions } from '../context.ts';
import { EXIT_STATUS } from '../exit-status.ts';
import { argument, durationOption, integer } from '../parse.ts';
import { addressOption, declarePeerOptions, type PeerOptions } from '../peer-options.ts';
import { declarePolicyOptions, type PolicyOptions, policyChoice } from '../policy-options.ts';
import { trackerOption } from '../tracker-option.ts';
import { VERSION } from '../version.ts';

interface MigrateOptions extends CommonOptions, PolicyOptions, PeerOptions {
  readonly target?: string;
  readonly to: PeerAddress;
  readonly resolve?: string;
  readonly single?: boolean;
  readonly wait?: number;
  readonly virtualBandwidth?: number;
  readonly tracker: NonNullable<MigrateRequest['tracker']>;
  readonly compress: NonNullable<MigrateRequest['compression']>;
  readonly level?: number;
  readonly workers?: number;
  readonly connections: number;
  readonly reconnectFor: number;
  readonly leaveStopped?: boolean;
}

const EXAMPLES = `
Examples:
  ckpt migrate -t 4711 --to 127.0.0.1:7000                   to 'ckpt receive' in another PID namespace
  ckpt migrate -t 4711 --to db2:7000 --tls --tls-cacert ca.pem --tls-cert me.pem --tls-key me.key
  ckpt migrate -t sim:fixtures/kv-store.yaml --to 127.0.0.1:7000 --policy xen --wait 2s
  ckpt migrate --resolve ID --to db2:7000                    what became of a migration in doubt`;

/** `ckpt migrate`: a migration for real. */
export function declareMigrate(program: Command, shell: Shell): void {
  const command = program
    .command('migrate')
    .description('move a process and its descendants to another machine, where ckpt receive runs')
    .option('-t, --target <target>', 'PID of a live process, or sim:FILE for a simulated workload')
    .addOption(addressOption('--to <addr:port>', 'where ckpt receive listens').makeOptionMandatory())
    .addOption(
      new Option('--resolve <id>', 'ask what became of a migration, and end or resume its target').conflicts(
        'target',
      ),
    )
    .option('--single', 'the live process alone, without its descendants')
    .addOption(durationOption('--wait <duration>', 'let a simulated workload run this long first'))
    .addOption(
      new Option(
        '--virtual-bandwidth <rate>',
        "a simulated workload's time passes as if the link had this bandwidth (default: as time passes)",
      ).argParser(argument((text: string) => parseBandwidth(text))),
    )
    .addOption(trackerOption())
    .addOption(
      new Option('-c, --compress <method>', 'how pages travel').choices(['zstd', 'none']).default('zstd'),
    )
    .addOption(new Option('--level <n>', 'zstd level').argParser(integer(MIN_ZSTD_LEVEL, MAX_ZSTD_LEVEL)))
    .addOption(
      new Option('--workers <n>', 'compression threads (default: one a core)').argParser(integer(1, 64)),
    )
    .addOption(
      new Option('--connections <n>', 'TCP connections to spread the pages over')
        .argParser(integer(1, 16))
        .default(1),
    )
    .addOption(
      durationOption(
        '--reconnect-for <duration>',
        'how long a lost connection is tried to be made again',
      ).default(30_000_000, '30s'),
    )
    .option(
      '-s, --leave-stopped',
      'leave the processes here stopped when they run there, instead of ending them',
    )
    .addHelpText('after', EXAMPLES);
  declarePolicyOptions(command);
  declarePeerOptions(command);
  withCommonOptions(command).action(
    runsAs<MigrateOptions>(shell, async (context, options) => {
      const connect = await connectOptions(context, options);
      if (options.resolve !== undefined) await resolve(context, options, options.resolve, connect);
      else await migrate(context, options, connect);
    }),
  );
}

async function connectOptions(context: CommandContext, options: MigrateOptions): Promise<ConnectOptions> {
  return {
    security: await loadSecurity(options, options.to),
    connections: options.connections,
    giveUpMicroseconds: options.reconnectFor,
    onEvent: (event) => {
      if (event.kind === 'connection-lost') context.note(`connection lost: ${event.reason}`);
      if (event.kind === 'connection-resumed') context.note('connected again');
    },
  };
}

async function migrate(
  context: CommandContext,
  options: MigrateOptions,
  connect: ConnectOptions,
): Promise<void> {
  if (options.target === undefined) {
    throw new UsageError('nothing is named that is to be moved', { hint: '-t PID, or -t sim:FILE' });
  }
  const migration = await migrateTarget({
    target: options.target,
    to: options.to,
    connect,
    purpose: 'migrate',
    program: `ckpt ${VERSION}`,
    choice: policyChoice(options),
    tracker: options.tracker,
    compression: options.compress,
    single: options.single === true,
    leaveStopped: options.leaveStopped === true,
    ...(options.level === undefined ? {} : { level: options.level }),
    ...(options.workers === undefined ? {} : { workers: options.workers }),
    ...(options.wait === undefined ? {} : { waitMicroseconds: options.wait }),
    ...(options.giveUpAfter === undefined ? {} : { giveUpAfterMicroseconds: options.giveUpAfter }),
    ...(options.virtualBandwidth === undefined ? {} : { virtualBytesPerSecond: options.virtualBandwidth }),
    signal: context.signals.signal,
    onStop: (release) => context.signals.onSignal(release),
    onProgress: (progress) => context.progress.update({ phase: formatMigrationProgress(progress) }),
    onNote: (note) => context.detail(1, note),
  });
  context.progress.stop();
  for (const warning of migration.warnings) context.note(`warning: ${warning}`);
  context.result(migrationJson(migration), formatMigration(migration));
  context.exitStatus = exitStatusOf(migration);
}

function exitStatusOf({ end, warnings }: Migration): number {
  if (end === 'given-up') return EXIT_STATUS.notConverged;
  return end === 'not-runnable' || warnings.length > 0 ? EXIT_STATUS.incomplete : EXIT_STATUS.done;
}

async function resolve(
  context: CommandContext,
  { to }: MigrateOptions,
  migrationId: string,
  connect: ConnectOptions,
): Promise<void> {
  const resolution = await resolveMigration({ migrationId, to, connect, program: `ckpt ${VERSION}` });
  context.result(resolution, formatResolution(resolution));
}
