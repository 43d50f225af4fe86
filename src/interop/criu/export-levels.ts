import { requireRestorable } from '../../checkpoint/index.ts';
import { IntegrityError, PageRangeList, UnsupportedError } from '../../core/index.ts';
import type { StoredProcess, StoredVma } from '../../image/index.ts';
import type { CheckpointReader, KeptFiles, Store } from '../../store/index.ts';
import { type EntryTreatment, type PlannedEntries, planEntries } from './export-entries.ts';
import type { ExportRequest } from './export-types.ts';
import {
  decodeListing,
  type ImageListing,
  LISTING_FORMAT,
  type ListedMemory,
  nameOfImage,
} from './listing.ts';
import { PAGE_FLAGS } from './page-server/protocol.ts';

/** One memory of a directory that is to be written. */
export interface PlannedMemory extends PlannedEntries {
  readonly listed: ListedMemory;
  /** Names the memory in errors. */
  readonly where: string;
}

/** One directory that is to be written. */
export interface ExportLevel {
  readonly reader: CheckpointReader;
  readonly kept: KeptFiles;
  readonly listing: ImageListing;
  /** Whether its pages of its parent stay there. */
  readonly hasParent: boolean;
  readonly memories: readonly PlannedMemory[];
}

/** The directories of an export, oldest first, and what is to be said about them. */
export interface ExportPlan {
  readonly levels: readonly ExportLevel[];
  readonly warnings: readonly string[];
}

interface Imported {
  readonly reader: CheckpointReader;
  readonly kept: KeptFiles;
  readonly listing: ImageListing;
}

/**
 * Decides what directories are written and how their pagemaps look.
 * @throws TargetError if criu could not restore the checkpoint, UnsupportedError if it has no images of CRIU,
 *   IntegrityError for damage.
 */
export async function planLevels(
  store: Store,
  reader: CheckpointReader,
  { layout, lazy }: Pick<ExportRequest, 'layout' | 'lazy'>,
): Promise<ExportPlan> {
  requireOfCriu(reader);
  const isPredecessor = layout === 'chain' && reader.manifest.preDump;
  if (!isPredecessor) requireRestorable(reader);
  const imported = await openImported(reader);
  if (layout === 'flat') {
    return { levels: [planLevel(imported, lazy === true ? 'lazy' : 'flat', false)], warnings: [] };
  }
  const warnings = isPredecessor
    ? [`checkpoint ${reader.manifest.number} is a pre-dump: criu can dump on top of it, not restore it`]
    : [];
  return { levels: await planChain(store, imported, warnings), warnings };
}

async function planChain(store: Store, newest: Imported, warnings: string[]): Promise<ExportLevel[]> {
  const numbers = await store.numbers();
  const levels: ExportLevel[] = [];
  let current = newest;
  while (needsParent(current.listing)) {
    const { number, parent } = current.reader.manifest;
    const before =
      parent === null || !numbers.includes(parent)
        ? undefined
        : await store.openCheckpoint(parent).then((reader) => openIfKept(reader));
    if (before === undefined) {
      warnings.push(
        `the images before those of checkpoint ${number} are not in the store: it has all pages itself`,
      );
      return [planLevel(current, 'flat', false), ...levels];
    }
    levels.unshift(planLevel(current, 'chain', true));
    current = before;
  }
  return [planLevel(current, 'chain', false), ...levels];
}

/** Whether CRIU would look for the directory before. */
function needsParent(listing: ImageListing): boolean {
  const { files, memories } = listing;
  return (
    files.some(({ name }) => isParentLink(listing, name)) ||
    memories.some(({ runs }) => runs.flags.some((flags) => (flags & PAGE_FLAGS.parent) !== 0))
  );
}

/** Whether a kept file is the link to the directory before, or lies in that directory itself. */
export function isParentLink(listing: ImageListing, name: string): boolean {
  const link = nameOfImage(listing, 'parent');
  return name === link || name.startsWith(`${link}/`);
}

const PAGEMAP_NAME = /^pagemap-(shmem-)?[0-9]+\.img$/;

function planLevel(imported: Imported, treatment: EntryTreatment, hasParent: boolean): ExportLevel {
  const { number, processes } = imported.reader.manifest;
  const memories = imported.listing.memories.map((listed): PlannedMemory => {
    const where = `${listed.name} of checkpoint ${number}`;
    if (!PAGEMAP_NAME.test(listed.name)) {
      throw new IntegrityError(`${where} has no name of a pagemap`, { data: { name: listed.name } });
    }
    const process = processes.find(({ pid }) => pid === listed.pid);
    const deferrable = deferrablePages(process);
    return { listed, where, ...planEntries(listed.runs, treatment, deferrable, where) };
  });
  return { ...imported, hasParent, memories };
}

/** Mappings that `vma_entry_can_be_lazy` leaves out by what they are, though they are private and of no file. */
const NEVER_DEFERRED = new Set(['[vdso]', '[vvar]', '[vvar_vclock]', '[vsyscall]', '[uprobes]']);
/** VmFlags codes: locked, of huge pages, a shadow stack, which userfaultfd cannot fill. */
const PROMPT_FLAGS = ['lo', 'ht', 'ss'];

function deferrablePages(process: StoredProcess | undefined): PageRangeList {
  if (process === undefined || process.sharedMemory !== undefined) return new PageRangeList();
  return PageRangeList.of(...process.vmas.filter(isDeferrable));
}

function isDeferrable({ shared, inode, pathname, flags }: StoredVma): boolean {
  const isAnonymous = !shared && inode === 0 && !NEVER_DEFERRED.has(pathname);
  return isAnonymous && !PROMPT_FLAGS.some((code) => flags.includes(code));
}

function requireOfCriu({ manifest: { number, target } }: CheckpointReader): void {
  if (target.kind === 'criu') return;
  const isLive = target.kind === 'live';
  throw new UnsupportedError(
    `checkpoint ${number} is of ckpt itself: it has none of the images that criu restore needs`,
    {
      hint: isLive
        ? `'ckpt restore --at ${number} --new' brings it back`
        : `'ckpt restore --at ${number} --run DURATION' lets it go on`,
      data: { checkpoint: number, kind: target.kind },
    },
  );
}

async function openImported(reader: CheckpointReader): Promise<Imported> {
  const imported = await openIfKept(reader);
  if (imported !== undefined) return imported;
  const { number } = reader.manifest;
  throw new UnsupportedError(`checkpoint ${number} has no images beside its pages`, {
    hint: "'ckpt adopt DIR' joins those of the criu that sent the pages; or export a later checkpoint of its chain",
    data: { checkpoint: number },
  });
}

/** @returns undefined for pages alone: without an inventory criu takes no directory, be it that of a parent */
async function openIfKept(reader: CheckpointReader): Promise<Imported | undefined> {
  const kept = await reader.files();
  if (kept === undefined) return undefined;
  if (kept.format !== LISTING_FORMAT) {
    throw new UnsupportedError(
      `the files of checkpoint ${reader.manifest.number} are listed in the format ${kept.format}`,
      { hint: `this ckpt knows ${LISTING_FORMAT}; a newer one can export it` },
    );
  }
  const listing = decodeListing(kept.listing);
  const inventory = nameOfImage(listing, 'inventory.img');
  return listing.files.some(({ name }) => name === inventory) ? { reader, kept, listing } : undefined;
}
