import { join } from 'node:path';
import { formatPageAddress, IntegrityError, PageRangeList, UnsupportedError } from '../../../core/index.ts';
import { PAGE_FLAGS } from '../page-server/protocol.ts';
import type { ImageDirectory, MemoryImage, PagemapEntries } from './types.ts';

/** One memory in one directory of a chain. */
export interface MemoryLevel {
  readonly directory: Pick<ImageDirectory, 'path' | 'parentLink'>;
  /** Undefined where the directory has no pagemap of it. */
  readonly image: MemoryImage | undefined;
}

/** Where the pages of one memory are in a chain. Element `i` of each list is of run `i`; runs ascend. */
export interface ResolvedPages {
  readonly startPages: Float64Array;
  readonly pageCounts: Float64Array;
  /** Of the entry that has the content. */
  readonly flags: Uint8Array;
  /** Index of the directory with the content. */
  readonly levels: Uint32Array;
  /** Page of its pages file at which the content begins. */
  readonly dataPages: Float64Array;
}

/**
 * Finds the pages of the last directory by CRIU's rules (criu/pagemap.c): a page without an entry does not exist, even
 * if a parent has it; a page of the parent may be one of the parent's parent.
 * @param levels oldest first
 * @throws IntegrityError if a parent lacks a page, UnsupportedError if pages were left on a page server
 */
export function resolvePages(levels: readonly MemoryLevel[]): ResolvedPages {
  let level = levels.length - 1;
  let wanted = everyPage(levels[level]?.image?.entries);
  let resolved = new ResolvedRuns(0);
  for (; wanted.pageCount > 0; level--) {
    const { directory, image } = levels[level]!;
    const found = new ResolvedRuns(level);
    const next = takePages(wanted, image, found, directory.path);
    resolved = resolved.merged(found);
    const older = levels[level - 1];
    if (next.pageCount > 0 && older?.image === undefined) throw withoutParent(levels[level]!, next);
    wanted = next;
  }
  return resolved.finish();
}

/**
 * The same for one directory of a chain that is taken whole: its own pages, and those that are as its parent has them.
 * That the parent's are there is proved by asking this of the parent.
 * @param level index of the directory in the chain
 * @throws as `resolvePages`
 */
export function ownPages(
  here: MemoryLevel,
  parent: MemoryLevel | undefined,
  level: number,
): { readonly own: ResolvedPages; readonly inherited: PageRangeList } {
  const found = new ResolvedRuns(level);
  const inherited = takePages(everyPage(here.image?.entries), here.image, found, here.directory.path);
  if (inherited.pageCount > 0) {
    if (parent?.image === undefined) throw withoutParent(here, inherited);
    const lacking = inherited.difference(everyPage(parent.image.entries));
    if (lacking.pageCount > 0) throw missing(parent.directory.path, parent.image, lacking.startPage(0));
  }
  return { own: found.finish(), inherited };
}

/** Pages of a pagemap that have one of these flags. */
export function pagesFlagged(entries: PagemapEntries, flags: number): PageRangeList {
  const pages = new PageRangeList();
  for (let index = 0; index < entries.flags.length; index++) {
    if ((entries.flags[index]! & flags) === 0) continue;
    pages.append(entries.startPages[index]!, entries.startPages[index]! + entries.pageCounts[index]!);
  }
  return pages;
}

/** All pages of a pagemap. */
export function everyPage(entries: PagemapEntries | undefined): PageRangeList {
  if (entries === undefined) return new PageRangeList();
  return pagesFlagged(entries, PAGE_FLAGS.parent | PAGE_FLAGS.lazy | PAGE_FLAGS.present);
}

/** Adds the wanted pages of one pagemap that have their content beside it. @returns those that the parent has */
function takePages(
  wanted: PageRangeList,
  image: MemoryImage | undefined,
  found: ResolvedRuns,
  directory: string,
): PageRangeList {
  const ofParent = new PageRangeList();
  if (image === undefined) return ofParent;
  const { startPages, pageCounts, flags, dataPages } = image.entries;
  let index = 0;
  for (const { startPage, endPage } of wanted) {
    for (let page = startPage; page < endPage; ) {
      while (index < flags.length && startPages[index]! + pageCounts[index]! <= page) index++;
      const entryStart = startPages[index];
      if (entryStart === undefined || entryStart > page) throw missing(directory, image, page);
      const until = Math.min(endPage, entryStart + pageCounts[index]!);
      const flag = flags[index]!;
      if ((flag & PAGE_FLAGS.parent) !== 0) ofParent.append(page, until);
      else if ((flag & PAGE_FLAGS.present) === 0) throw elsewhere(directory, image, page);
      else found.add(page, until - page, flag, dataPages[index]! + page - entryStart);
      page = until;
    }
  }
  return ofParent;
}

function missing(directory: string, { name }: MemoryImage, page: number): IntegrityError {
  const path = join(directory, name);
  return new IntegrityError(
    `${path} lacks the page ${formatPageAddress(page)}, which its child has from it`,
    {
      hint: 'the two are not of one chain, or one of them is damaged',
      data: { path, address: formatPageAddress(page) },
    },
  );
}

function elsewhere(directory: string, { name }: MemoryImage, page: number): UnsupportedError {
  const path = join(directory, name);
  return new UnsupportedError(
    `${path} has no content for ${formatPageAddress(page)}: criu dump --lazy-pages left it on a page server`,
    {
      hint: 'dump without --lazy-pages to keep all pages',
      data: { path, address: formatPageAddress(page) },
    },
  );
}

function withoutParent({ directory, image }: MemoryLevel, pages: PageRangeList): IntegrityError {
  const path = join(directory.path, image?.name ?? '');
  const address = formatPageAddress(pages.startPage(0));
  const parent = directory.parentLink;
  const why = parent === undefined ? 'there is no parent' : `${parent} has no ${image?.name}`;
  return new IntegrityError(`${path} has the page ${address} from its parent, but ${why}`, {
    hint: 'the link parent must lead to the directory that criu was given by --prev-images-dir',
    data: { path, address },
  });
}

const FIRST_CAPACITY = 64;

/** Runs of one level or of several, in columns that grow. */
class ResolvedRuns {
  readonly #level: number;
  #startPages = new Float64Array(FIRST_CAPACITY);
  #pageCounts = new Float64Array(FIRST_CAPACITY);
  #dataPages = new Float64Array(FIRST_CAPACITY);
  #flags = new Uint8Array(FIRST_CAPACITY);
  #levels = new Uint32Array(FIRST_CAPACITY);
  #count = 0;

  constructor(level: number) {
    this.#level = level;
  }

  add(startPage: number, pageCount: number, flags: number, dataPage: number, level = this.#level): void {
    if (this.#count === this.#flags.length) this.#grow();
    const at = this.#count++;
    this.#startPages[at] = startPage;
    this.#pageCounts[at] = pageCount;
    this.#dataPages[at] = dataPage;
    this.#flags[at] = flags;
    this.#levels[at] = level;
  }

  /** The runs of both in order; they do not overlap. */
  merged(other: ResolvedRuns): ResolvedRuns {
    if (this.#count === 0) return other;
    if (other.#count === 0) return this;
    const both = new ResolvedRuns(0);
    let left = 0;
    let right = 0;
    while (left < this.#count || right < other.#count) {
      const fromLeft =
        right >= other.#count || (left < this.#count && this.#startPages[left]! < other.#startPages[right]!);
      if (fromLeft) both.#take(this, left++);
      else both.#take(other, right++);
    }
    return both;
  }

  finish(): ResolvedPages {
    return {
      startPages: this.#startPages.subarray(0, this.#count),
      pageCounts: this.#pageCounts.subarray(0, this.#count),
      flags: this.#flags.subarray(0, this.#count),
      levels: this.#levels.subarray(0, this.#count),
      dataPages: this.#dataPages.subarray(0, this.#count),
    };
  }

  #take(from: ResolvedRuns, index: number): void {
    this.add(
      from.#startPages[index]!,
      from.#pageCounts[index]!,
      from.#flags[index]!,
      from.#dataPages[index]!,
      from.#levels[index]!,
    );
  }

  #grow(): void {
    const capacity = this.#count * 2;
    this.#startPages = enlarged(new Float64Array(capacity), this.#startPages);
    this.#pageCounts = enlarged(new Float64Array(capacity), this.#pageCounts);
    this.#dataPages = enlarged(new Float64Array(capacity), this.#dataPages);
    this.#flags = enlarged(new Uint8Array(capacity), this.#flags);
    this.#levels = enlarged(new Uint32Array(capacity), this.#levels);
  }
}

function enlarged<Column extends Float64Array | Uint8Array | Uint32Array>(
  larger: Column,
  column: Column,
): Column {
  larger.set(column);
  return larger;
}
