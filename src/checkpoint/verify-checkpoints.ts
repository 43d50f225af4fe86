import { PAGE_DIGEST_BYTES } from '../codec/index.ts';
import { formatPageAddress, IntegrityError, PageRangeList } from '../core/index.ts';
import {
  blockOfPosition,
  type DigestedProcess,
  describeLocation,
  describeProcess,
  findInSegment,
  MAX_PACK_BLOCKS,
  type Manifest,
  memoryDigest,
  SEGMENT_PAGES,
  type Segment,
  type SegmentReference,
} from '../image/index.ts';
import { type CheckpointReader, KnownPages, type ProcessIndex, type Store } from '../store/index.ts';
import { errorFinding, type Finding, findingOf } from './finding.ts';
import type { DamagedBlocks } from './verify-packs.ts';

/** Pages of one segment that cannot be read as they were dumped. */
interface LostPages {
  readonly startPage: number;
  endPage: number;
  readonly why: string;
}

/** Differences remembered as proven; those beyond are proved again for each segment that lists them. */
const PROVEN_CAPACITY = 2 ** 18;

/** Ranges of lost pages that a finding lists. */
const LISTED_RANGES = 6;

/**
 * Verifies what lies above blocks: manifests, roots, segments, differences, states. A segment that many checkpoints
 * share is looked at once.
 */
export class CheckpointVerifier {
  readonly #store: Store;
  readonly #manifests: readonly Manifest[];
  readonly #damaged: DamagedBlocks;
  readonly #signal: AbortSignal | undefined;
  /** Pages lost of each segment that was looked at. */
  readonly #segments = new Map<number, readonly LostPages[]>();
  /** Differences that were applied and gave the page that an index names. */
  readonly #proven = new KnownPages(PROVEN_CAPACITY);

  constructor(
    store: Store,
    manifests: readonly Manifest[],
    damaged: DamagedBlocks,
    signal: AbortSignal | undefined,
  ) {
    this.#store = store;
    this.#manifests = manifests;
    this.#damaged = damaged;
    this.#signal = signal;
  }

  /** Reports, checkpoint by checkpoint, what is wrong. */
  async *verify(): AsyncGenerator<Finding> {
    for (const manifest of this.#manifests) {
      const reader = await this.#store.openDamagedCheckpoint(manifest.number);
      yield* this.#verifyBlobs(reader);
      const digested: DigestedProcess[] = [];
      for (const process of manifest.processes) {
        const { pid, vmas } = process;
        const place = `checkpoint ${manifest.number}, ${describeProcess(process)}`;
        try {
          const index = await reader.index(pid);
          yield* this.#verifyProcess(reader, pid, index, place);
          digested.push({ pid, vmas, segments: index.segments });
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

  async *#verifyProcess(
    reader: CheckpointReader,
    pid: number,
    index: ProcessIndex,
    place: string,
  ): AsyncGenerator<Finding> {
    const lost: LostPages[] = [];
    for (const reference of index.segments) {
      this.#signal?.throwIfAborted();
      const key = reference.location.pack * MAX_PACK_BLOCKS + reference.location.block;
      const ofSegment = this.#segments.get(key) ?? (await this.#verifySegment(reader, pid, index, reference));
      this.#segments.set(key, ofSegment);
      lost.push(...ofSegment);
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
      checkpoint: reader.manifest.number,
      pid,
      lostPages,
    });
  }

  /** What of a segment cannot be read as it was dumped. */
  async #verifySegment(
    reader: CheckpointReader,
    pid: number,
    index: ProcessIndex,
    reference: SegmentReference,
  ): Promise<LostPages[]> {
    const segment = await loadSegment(index, reference);
    if (typeof segment === 'string') {
      return [{ startPage: reference.startPage, endPage: reference.startPage + SEGMENT_PAGES, why: segment }];
    }
    const lost: LostPages[] = [];
    const differences = new PageRangeList();
    for (let entry = 0; entry < segment.count; entry++) {
      const page = segment.startPage + segment.offsets[entry]!;
      if (segment.packs[entry] === 0) continue;
      if (segment.deltaPacks[entry] !== 0) {
        if (!this.#isProven(segment, entry)) differences.append(page, page + 1);
      } else if (this.#damaged.has(segment.packs[entry]!, blockOfPosition(segment.positions[entry]!))) {
        const where = describeLocation(segment.packs[entry]!, segment.positions[entry]!);
        addLost(lost, page, page + 1, `${where} is damaged`);
      }
    }
    const onLost = (startPage: number, endPage: number, why: IntegrityError) =>
      addLost(lost, startPage, endPage, why.message);
    if (differences.pageCount > 0) {
      for await (const { startPage, pageCount } of reader.salvage(pid, onLost, differences)) {
        for (let page = startPage; page < startPage + pageCount; page++) this.#remember(segment, page);
      }
    }
    return lost;
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

  async *#verifyBlobs(reader: CheckpointReader): AsyncGenerator<Finding> {
    const { number, processes } = reader.manifest;
    try {
      await reader.state();
    } catch (cause) {
      yield findingOf(`checkpoint ${number}, state`, cause);
    }
    try {
      const files = await reader.files();
      for await (const _ of files?.read(0, files.contentBytes) ?? []) this.#signal?.throwIfAborted();
    } catch (cause) {
      yield findingOf(`checkpoint ${number}, kept files`, cause);
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

/** The segment, or why it cannot be read. */
async function loadSegment(index: ProcessIndex, reference: SegmentReference): Promise<Segment | string> {
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
