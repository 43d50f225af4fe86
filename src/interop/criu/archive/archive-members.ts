import { IntegrityError, PAGE_SIZE } from '../../../core/index.ts';
import { ContentCutter } from '../export-files.ts';
import { type ExportLevel, isParentLink, type PlannedMemory } from '../export-levels.ts';
import { PageCursor } from '../export-memory.ts';
import { encodePagemap } from '../export-pagemap.ts';
import type { CriuVersion } from '../export-types.ts';
import type { ListedFile } from '../listing.ts';
import type { MemberToWrite } from './tar-writer.ts';

/** What has been handed out; counted on while members are read. */
export interface ArchiveProgress {
  members: number;
  donePages: number;
  doneBytes: number;
}

/** CRIU makes its images 0644; whoever unpacks an archive in a private place gets them so. */
const IMAGE_MODE = 0o644;
const ZEROS = new Uint8Array(16 * PAGE_SIZE);

/**
 * The members of an archive, to be read one after another: directories, kept files as they were, pagemaps and pages, and
 * links, through which nothing can be written that way.
 * @param onPart is called whenever `progress` has changed; may throw to stop.
 * @throws IntegrityError if what was kept, or a page, is damaged or missing.
 */
export async function* archiveMembers(
  level: ExportLevel,
  criuVersion: CriuVersion | undefined,
  progress: ArchiveProgress,
  onPart: () => void,
): AsyncGenerator<MemberToWrite> {
  const counted = (member: MemberToWrite) => countedMember(member, progress, onPart);
  const { listing } = level;
  const files = listing.files.filter(({ name }) => !isParentLink(listing, name));
  const ofKind = (wanted: ListedFile['kind']) => files.filter(({ kind }) => kind === wanted);
  for (const directory of ofKind('directory')) yield counted({ ...directory, content: nothing });
  for await (const file of keptFiles(ofKind('file'), level)) yield counted(file);
  for (const memory of level.memories) {
    yield counted(pagemapMember(level, memory, criuVersion));
    // CRIU leaves files out that would be empty, too.
    if (memory.stored.pageCount > 0) yield counted(pagesMember(level, memory, progress));
  }
  for (const link of ofKind('link')) yield counted({ ...link, content: nothing });
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

function countedMember(member: MemberToWrite, progress: ArchiveProgress, onPart: () => void): MemberToWrite {
  progress.members++;
  return {
    ...member,
    async *content() {
      for await (const piece of member.content()) {
        progress.doneBytes += piece.length;
        onPart();
        yield piece;
      }
    },
  };
}

/** Kept files in the order of their contents, all of which are read, so that their digest is proved. */
async function* keptFiles(
  files: readonly ListedFile[],
  { kept }: ExportLevel,
): AsyncGenerator<MemberToWrite> {
  const cutter = new ContentCutter(kept, () => undefined);
  for (const file of files.toSorted((a, b) => a.offset - b.offset)) {
    await cutter.skipTo(file.offset, file.name);
    yield { ...file, content: () => cutter.take(file.bytes, file.name) };
  }
  await cutter.finish();
}

function pagemapMember(
  { listing, reader }: ExportLevel,
  { listed, entries }: PlannedMemory,
  criuVersion: CriuVersion | undefined,
): MemberToWrite {
  if (!PAGEMAP_NAME.test(listed.name)) {
    throw new IntegrityError(
      `checkpoint ${reader.manifest.number} lists a pagemap of the name ${listed.name}`,
      {
        data: { name: listed.name },
      },
    );
  }
  // Its length stands in front of it in a tar: it is made twice rather than kept.
  let bytes = 0;
  for (const piece of encodePagemap(listed.pagesId, entries, criuVersion)) bytes += piece.length;
  return {
    name: `${listing.imagesPath}/${listed.name}`,
    kind: 'file',
    mode: IMAGE_MODE,
    bytes,
    async *content() {
      yield* encodePagemap(listed.pagesId, entries, criuVersion);
    },
  };
}

function pagesMember(
  { listing, reader }: ExportLevel,
  { listed, stored, where }: PlannedMemory,
  progress: ArchiveProgress,
): MemberToWrite {
  return {
    name: `${listing.imagesPath}/pages-${listed.pagesId}.img`,
    kind: 'file',
    mode: IMAGE_MODE,
    bytes: stored.pageCount * PAGE_SIZE,
    async *content() {
      const cursor = new PageCursor(stored, where);
      for await (const { startPage, pageCount, bytes } of reader.pages(listed.pid, stored)) {
        cursor.take(startPage, pageCount);
        progress.donePages += pageCount;
        if (bytes === undefined) yield* zeros(pageCount * PAGE_SIZE);
        else yield bytes;
      }
      cursor.expectEnd();
    },
  };
}

function* zeros(count: number): Generator<Uint8Array> {
  for (let left = count; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, left);
}

const PAGEMAP_NAME = /^pagemap-(shmem-)?[0-9]+\.img$/;
