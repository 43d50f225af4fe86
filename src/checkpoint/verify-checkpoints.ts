import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { formatPageAddress, IntegrityError, PageRangeList } from '../core/index.ts';
import {
  blockOfPosition,
  type DigestedProcess,
  describeLocation,
  findInSegment,
  MAX_PACK_BLOCKS,
  type Manifest,
  memoryDigest,
  SEGMENT_PAGES,
  type Segment,
  type SegmentReference,
  type StoredProcess,
  segmentDigest,
} from '../image/index.ts';
import { type CheckpointReader, KnownPages, type ProcessIndex, type Store } from '../store/index.ts';
import { errorFinding, type Finding, findingOf } from './finding.ts';
import type { StoredDigests } from './stored-digests.ts';
import type { DamagedBlocks } from './verify-packs.ts';

/** Pages of one segment that cannot be read as they were dumped. */
interface LostPages {
  readonly startPage: number;
  endPage: number;
  readonly why: string;
}

/** What is known of a segment, however many checkpoints share it. */
interface SegmentReport {
  /** Of its pages as the index lists them; undefined if it cannot be decoded. */
  readonly digest: Uint8Array | undefined;
  readonly lost: LostPages[];
}

/** Ranges of lost pages that a finding lists. */
const LISTED_RANGES = 6;

/**
 * Verifies the indexes of all checkpoints against the pages that their packs really hold. A segment that many
 * checkpoints share is looked at once for each batch of digests.
 */
export class CheckpointVerifier {
  readonly #store: Store;
  readonly #manifests: readonly Manifest[];
  readonly #damaged: DamagedBlocks;
  readonly #segments = new Map<number, SegmentReport>();
  /** Differences that were applied and gave the page that an index names. */
  readonly #proven = new KnownPages();

  constructor(store: Store, manifests: readonly Manifest[], damaged: DamagedBlocks) {
    this.#store = store;
    this.#manifests = manifests;
    this.#damaged = damaged;
  }

  /**
   * Compares the digests in all indexes with those of a batch of stored pages.
   * @param complete that no batch follows: differences are then rebuilt and proved too, and what is missing is lost.
   */
  async compare(stored: StoredDigests, complete: boolean): Promise<void> {
    const seen = new Set<number>();
    for (const { number, processes } of this.#manifests) {
      const reader = await this.#store.openDamagedCheckpoint(number);
      for (const { pid } of processes) {
        const index = await openIndex(reader, pid);
        for (const reference of index?.segments ?? []) {
          const key = keyOf(reference);
          if (index === undefined || seen.has(key)) continue;
          seen.add(key);
          await this.#compareSegment(reader, pid, index, reference, stored, complete);
        }
      }
    }
  }

  async #compareSegment(
    reader: CheckpointReader,
    pid: number,
    index: ProcessIndex,
    reference: SegmentReference,
    stored: StoredDigests,
    complete: boolean,
  ): Promise<void> {
    const report = this.#segments.get(keyOf(reference));
    const segment = await loadSegment(index, reference, report);
    if (typeof segment === 'string') {
      const { startPage } = reference;
      const lost = [{ startPage, endPage: startPage + SEGMENT_PAGES, why: segment }];
      this.#segments.set(keyOf(reference), { digest: undefined, lost });
      return;
    }
    const lost = report?.lost ?? [];
    if (report === undefined) this.#segments.set(keyOf(reference), { digest: segmentDigest(segment), lost });
    const differences = new PageRangeList();
    for (let entry = 0; entry < segment.count; entry++) {
      const page = segment.startPage + segment.offsets[entry]!;
      if (segment.deltaPacks[entry] !== 0) {
        if (!this.#isProven(segment, entry)) differences.append(page, page + 1);
      } else if (segment.packs[entry] !== 0) {
        const why = this.#problemOf(segment, entry, stored, complete);
        if (why !== undefined) addLost(lost, page, page + 1, why);
      }
    }
    if (!complete || differences.pageCount === 0) return;
    const onLost = (startPage: number, endPage: number, why: IntegrityError) =>
      addLost(lost, startPage, endPage, why.message);
    for await (const { startPage, pageCount } of reader.salvage(pid, onLost, differences)) {
      for (let page = startPage; page < startPage + pageCount; page++) this.#remember(segment, page);
    }
  }

  /** Whether this very difference was already found to give this very page, for another segment that lists it. */
  #isProven(segment: Segment, entry: number): boolean {
    return (
      this.#proven.find(segment.digests, entry * PAGE_DIGEST_BYTES) &&
      this.#proven.foundPack === segment.deltaPacks[entry] &&
      this.#proven.foundPosition === segment.deltaPositions[entry]
    );
  }

  #remember(segment: Segment, page: number): void {
    const entry = findInSegment(segment, page);
    const { digests, deltaPacks, deltaPositions } = segment;
    this.#proven.add(digests, entry * PAGE_DIGEST_BYTES, deltaPacks[entry]!, deltaPositions[entry]!);
  }

  #problemOf(segment: Segment, entry: number, stored: StoredDigests, complete: boolean): string | undefined {
    const pack = segment.packs[entry]!;
    const position = segment.positions[entry]!;
    const block = blockOfPosition(position);
    const check = stored.check(pack, position, segment.digests, entry);
    const where = describeLocation(pack, position);
    if (check === 'different') return `${where} holds something else`;
    if (check === 'equal' || !complete) return undefined;
    if (this.#damaged.has(pack, block)) return `${where} is damaged`;
    return this.#exists(pack, block) ? undefined : `${where} does not exist`;
  }

  #exists(pack: number, block: number): boolean {
    try {
      return this.#store.damagedBlocks.pack(pack).indexOf(block) >= 0;
    } catch (cause) {
      if (cause instanceof IntegrityError) return false;
      throw cause;
    }
  }

  /** Reports, checkpoint by checkpoint, what is wrong. */
  async *report(): AsyncGenerator<Finding> {
    for (const manifest of this.#manifests) {
      const reader = await this.#store.openDamagedCheckpoint(manifest.number);
      yield* this.#reportBlobs(reader);
      const digested: DigestedProcess[] = [];
      for (const process of manifest.processes) {
        const place = `checkpoint ${manifest.number}, process ${process.pid}`;
        try {
          const index = await reader.index(process.pid);
          yield* this.#reportProcess(manifest, process, index, place);
          digested.push({ pid: process.pid, vmas: process.vmas, segments: index.segments });
        } catch (cause) {
          yield findingOf(place, cause);
        }
      }
      const isComplete = digested.length === manifest.processes.length;
      if (isComplete && memoryDigest(digested) !== manifest.memoryDigest) {
        yield errorFinding(
          `checkpoint ${manifest.number}`,
          'its memory digest does not follow from its indexes',
        );
      }
    }
  }

  *#reportProcess(
    { number }: Manifest,
    { pid }: StoredProcess,
    index: ProcessIndex,
    place: string,
  ): Generator<Finding> {
    const lost: LostPages[] = [];
    for (const reference of index.segments) {
      const report = this.#segments.get(keyOf(reference));
      if (report?.digest !== undefined && Buffer.compare(report.digest, reference.digest) !== 0) {
        const address = formatPageAddress(reference.startPage);
        yield errorFinding(place, `the index segment of ${address} does not have the digest in its root`, {
          address,
        });
      }
      lost.push(...(report?.lost ?? []));
    }
    if (lost.length === 0) return;
    const lostPages = lost.reduce((sum, { startPage, endPage }) => sum + endPage - startPage, 0);
    const listed = lost
      .slice(0, LISTED_RANGES)
      .map(
        ({ startPage, endPage, why }) =>
          `${formatPageAddress(startPage)}-${formatPageAddress(endPage)} (${why})`,
      );
    const more = lost.length > listed.length ? `, and ${lost.length - listed.length} ranges more` : '';
    yield errorFinding(place, `${lostPages} pages are lost: ${listed.join(', ')}${more}`, {
      checkpoint: number,
      pid,
      lostPages,
    });
  }

  async *#reportBlobs(reader: CheckpointReader): AsyncGenerator<Finding> {
    const { number, processes } = reader.manifest;
    try {
      await reader.state();
    } catch (cause) {
      yield findingOf(`checkpoint ${number}, state`, cause);
    }
    for (const { pid } of processes) {
      try {
        await reader.trackerState(pid);
      } catch (cause) {
        yield findingOf(`checkpoint ${number}, process ${pid}, tracker state`, cause);
      }
    }
  }
}

function keyOf({ location }: SegmentReference): number {
  return location.pack * MAX_PACK_BLOCKS + location.block;
}

/** The index of a process, or undefined if its root is damaged, which `report` tells. */
async function openIndex(reader: CheckpointReader, pid: number): Promise<ProcessIndex | undefined> {
  try {
    return await reader.index(pid);
  } catch (cause) {
    if (cause instanceof IntegrityError) return undefined;
    throw cause;
  }
}

/** The segment, or why it cannot be decoded. */
async function loadSegment(
  index: ProcessIndex,
  reference: SegmentReference,
  known: SegmentReport | undefined,
): Promise<Segment | string> {
  if (known !== undefined && known.digest === undefined) return known.lost[0]?.why ?? 'it is damaged';
  try {
    return (await index.load(reference)).segment;
  } catch (cause) {
    if (cause instanceof IntegrityError) return cause.message;
    throw cause;
  }
}

/** Adds lost pages, joined to the last ones where they adjoin for the same reason. */
function addLost(lost: LostPages[], startPage: number, endPage: number, why: string): void {
  const last = lost.at(-1);
  if (last !== undefined && last.endPage === startPage && last.why === why) last.endPage = endPage;
  else lost.push({ startPage, endPage, why });
}
