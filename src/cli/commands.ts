import type { Command } from 'commander';
import type { Shell } from './command.ts';

type Declare = (program: Command, shell: Shell) => void;

/** Every command in the order of the help, with its module, which is loaded only where it is needed. */
const COMMANDS: readonly (readonly [name: string, load: () => Promise<Declare>])[] = [
  ['dump', async () => (await import('./commands/dump.ts')).declareDump],
  ['restore', async () => (await import('./commands/restore.ts')).declareRestore],
  ['gdb', async () => (await import('./commands/gdb.ts')).declareGdb],
  ['ls', async () => (await import('./commands/ls.ts')).declareLs],
  ['show', async () => (await import('./commands/show.ts')).declareShow],
  ['diff', async () => (await import('./commands/diff.ts')).declareDiff],
  ['verify', async () => (await import('./commands/verify.ts')).declareVerify],
  ['squash', async () => (await import('./commands/squash.ts')).declareSquash],
  ['prune', async () => (await import('./commands/prune.ts')).declarePrune],
  ['check', async () => (await import('./commands/check.ts')).declareCheck],
  ['sim', async () => (await import('./commands/sim.ts')).declareSim],
  ['watch', async () => (await import('./commands/watch.ts')).declareWatch],
  ['record', async () => (await import('./commands/record.ts')).declareRecord],
  ['rehearse', async () => (await import('./commands/rehearse.ts')).declareRehearse],
  ['migrate', async () => (await import('./commands/migrate.ts')).declareMigrate],
  ['receive', async () => (await import('./commands/receive.ts')).declareReceive],
  ['import', async () => (await import('./commands/import.ts')).declareImport],
  ['export', async () => (await import('./commands/export.ts')).declareExport],
  ['decode', async () => (await import('./commands/decode.ts')).declareDecode],
  ['adopt', async () => (await import('./commands/adopt.ts')).declareAdopt],
  ['page-server', async () => (await import('./commands/page-server.ts')).declarePageServer],
  ['untrack', async () => (await import('./commands/untrack.ts')).declareUntrack],
];

const VERSION_OPTIONS: readonly (string | undefined)[] = ['-V', '--version'];

/**
 * Declares what a command line needs: the command that it names, nothing for the version, and everything where all are
 * listed or the name is not known.
 */
export async function declareCommands(
  program: Command,
  shell: Shell,
  argv: readonly (string | undefined)[],
): Promise<void> {
  if (VERSION_OPTIONS.includes(argv[0])) return;
  const named = COMMANDS.filter(([name]) => name === argv[0]);
  for (const [, load] of named.length > 0 ? named : COMMANDS) (await load())(program, shell);
}
