import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPageAddress, PageRangeList, TargetError } from '../../core/index.ts';
import type { Manifest } from '../../image/index.ts';
import { messagesOf } from './images/messages.ts';
import { everyPage, pagesFlagged } from './images/resolved-pages.ts';
import type { ImageDirectory, MemoryImage } from './images/types.ts';
import { describeObject, PAGE_FLAGS } from './page-server/protocol.ts';
import { nameOfUnknown } from './state/objects.ts';
import type { DirectoryState } from './state/types.ts';

/** `--pre-dump-mode` (criu/include/cr_options.h). */
export const PRE_DUMP_MODE = { splice: 1, read: 2 } as const;

/** A checkpoint and the images that are said to be the rest of it. */
export interface AdoptedPair {
  readonly manifest: Manifest;
  readonly directory: ImageDirectory;
  /** What was received, as the pagemaps that CRIU's own page server would have written. */
  readonly memories: readonly MemoryImage[];
}

/**
 * Proves as far as can be that images and pages are of the same dump.
 * @throws TargetError saying in what they differ
 */
export async function requireTogether(pair: AdoptedPair, known: DirectoryState): Promise<void> {
  requireSameKind(pair);
  if (!pair.directory.isPreDump) {
    requireSameTasks(pair, known);
    requireKnownObjects(pair, known);
    requireMapped(pair, known);
  }
  requireParent(pair);
  await requireCounts(pair);
}

/** @throws TargetError if a directory was not dumped after its parent: the clocks are of different boots then */
export function requireLater(later: ImageDirectory, earlier: ImageDirectory): void {
  const { dumpUptimeMicroseconds: after } = later.inventory;
  const { dumpUptimeMicroseconds: before } = earlier.inventory;
  if (after === undefined || before === undefined || after > before) return;
  throw new TargetError(
    `${later.path} was dumped when the machine had run for ${seconds(after)}, its parent ${earlier.path} at ${seconds(before)}`,
    { hint: 'they are of different boots, or of different chains' },
  );
}

const seconds = (microseconds: bigint) => `${Number(microseconds) / 1e6} s`;

function requireSameKind({
  manifest: { number, preDump },
  directory: { path, isPreDump },
}: AdoptedPair): void {
  if (preDump === isPreDump) return;
  const [here, there] = preDump ? ['a pre-dump', 'a dump'] : ['a dump', 'a pre-dump'];
  throw differ(`checkpoint ${number} is ${here}, and ${path} is ${there}`, 'name the right one by --at');
}

function requireSameTasks({ manifest, directory, memories }: AdoptedPair, known: DirectoryState): void {
  const received = memories.flatMap(({ object }) => (object.kind === 'task' ? [object.pid] : []));
  const described = known.processes.flatMap(({ pid, vmas }) => (vmas.length > 0 ? [pid] : []));
  const missing = described.filter((pid) => !received.includes(pid));
  const foreign = received.filter((pid) => !described.includes(pid));
  if (missing.length === 0 && foreign.length === 0) return;
  const parts = [
    ...(missing.length === 0 ? [] : [`the images tell of ${list(missing)}, whose pages did not come`]),
    ...(foreign.length === 0 ? [] : [`pages came of ${list(foreign)}, of which the images do not tell`]),
  ];
  throw differ(`${directory.path} is not of checkpoint ${manifest.number}: ${parts.join('; ')}`);
}

function requireKnownObjects({ manifest, directory, memories }: AdoptedPair, known: DirectoryState): void {
  for (const { object } of memories) {
    if (object.kind !== 'shmem') continue;
    const described = known.objects.find(({ id }) => id === object.id);
    if (described === undefined || described.name !== nameOfUnknown(object.id)) continue;
    throw differ(
      `${directory.path} is not of checkpoint ${manifest.number}: pages came of ${describeObject(object)}, which nobody maps`,
    );
  }
}

/** CRIU refuses to restore pages that no mapping has (criu/mem.c, premap_priv_vmas). */
function requireMapped({ manifest, directory, memories }: AdoptedPair, known: DirectoryState): void {
  for (const { object, entries } of memories) {
    if (object.kind !== 'task') continue;
    const vmas = known.processes.find(({ pid }) => pid === object.pid)?.vmas ?? [];
    const mapped = new PageRangeList();
    for (const { startPage, endPage } of vmas) mapped.append(startPage, endPage);
    const outside = everyPage(entries).difference(mapped);
    if (outside.pageCount === 0) continue;
    const address = formatPageAddress(outside.startPage(0));
    throw differ(
      `${directory.path} is not of checkpoint ${manifest.number}: task ${object.pid} has the page ${address}, which no mapping has`,
    );
  }
}

function requireParent({ manifest, directory, memories }: AdoptedPair): void {
  const leftOut = countOf(memories, PAGE_FLAGS.parent);
  if (directory.parentLink !== undefined || leftOut === 0) return;
  throw differ(
    `${directory.path} is not of checkpoint ${manifest.number}: it has no parent, but ${leftOut} pages were left out as in one`,
  );
}

/** CRIU counts what it sends (criu/stats.c), if its working directory was the images directory. */
async function requireCounts({ manifest, directory, memories }: AdoptedPair): Promise<void> {
  const path = join(directory.path, 'stats-dump');
  if (!(await exists(path))) return;
  const [entry] = await messagesOf(path, 'STATS');
  const counts = entry?.message('dump');
  if (counts === undefined) return;
  const counted = (...names: readonly string[]) =>
    names.reduce((sum, name) => sum + Number(counts.optionalBig(name) ?? 0n), 0);
  const sent = counted('pages_written', 'shpages_written');
  const received = countOf(memories, PAGE_FLAGS.present);
  // Pages that vanish before they are read are counted all the same.
  const mayVanish = directory.inventory.preDumpMode === PRE_DUMP_MODE.read;
  if (received === sent || (mayVanish && received < sent)) return;
  throw differ(
    `${directory.path} is not of checkpoint ${manifest.number}: its CRIU sent ${sent} pages, and ${received} came`,
  );
}

function countOf(memories: readonly MemoryImage[], flag: number): number {
  return memories.reduce((sum, { entries }) => sum + pagesFlagged(entries, flag).pageCount, 0);
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

const list = (pids: readonly number[]) => `${pids.length === 1 ? 'task' : 'tasks'} ${pids.join(', ')}`;

function differ(
  message: string,
  hint = 'name the images of this dump, or its checkpoint by --at',
): TargetError {
  return new TargetError(message, { hint });
}
