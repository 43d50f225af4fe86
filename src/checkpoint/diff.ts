import { PAGE_SIZE, PageRangeList } from '../core/index.ts';
import { type Segment, type StoredVma, sameDigest } from '../image/index.ts';
import type { CheckpointReader, ProcessIndex } from '../store/index.ts';
import type { LiveState } from '../target/index.ts';
import { ByteDifference, type ByteRange } from './byte-difference.ts';
import type { WorkProgress } from './dump-types.ts';
import { knowsMappings, listMappings } from './mapping-difference.ts';
import { readLiveState } from './read-state.ts';
import { type CheckpointName, openNamed, readStore } from './read-store.ts';
import { compareStates, type StateDifference } from './state-difference.ts';

/** Which checkpoints to compare, and how closely. */
export interface DiffRequest {
  readonly storeDirectory: string;
  readonly a: CheckpointName;
  readonly b: CheckpointName;
  /** Read changed pages and find the bytes that differ. */
  readonly bytes: boolean;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: WorkProgress) => void;
}

/** What differs between two checkpoints. */
export interface CheckpointDifference {
  readonly a: number;
  readonly b: number;
  /** Whether memory differs. A process that lives is never in the same state twice. */
  readonly different: boolean;
  readonly processes: readonly ProcessDifference[];
}

/** What differs in one process, or in an object of shared memory, by mapping. */
export interface ProcessDifference {
  readonly pid: number;
  readonly name: string;
  /** Id of the object of shared memory that it is instead of a process. */
  readonly sharedMemory?: string;
  /** In both checkpoints, or only in one. */
  readonly presence: 'both' | 'only-a' | 'only-b';
  readonly mappings: readonly MappingDifference[];
  /** Beyond memory; absent if nothing differs, or one of the two checkpoints does not tell. */
  readonly state?: StateDifference;
}

/** Pages of one mapping by what happened to them between the two checkpoints. */
export interface MappingDifference {
  readonly vma: StoredVma;
  /** `same`: mapped alike in both. `new` and `gone`: only in the second or the first. `altered`: bounds or rights. */
  readonly state: 'same' | 'new' | 'gone' | 'altered';
  /** In both, with other contents. */
  readonly changedPages: number;
  /** Only in the second. */
  readonly appearedPages: number;
  /** Only in the first. */
  readonly vanishedPages: number;
  /** Bytes that differ in the changed pages; with `bytes` only. */
  readonly changedBytes?: number;
  /** Where they are; with `bytes` only. The list ends at a limit, and `changedBytes` goes on counting. */
  readonly ranges?: readonly ByteRange[];
}

/**
 * Compares two checkpoints of one store: memory by page digests (with `bytes`, changed pages are read), and the states of
 * live processes.
 * @throws CheckpointNotFoundError, IntegrityError.
 */
export async function diffCheckpoints(request: DiffRequest): Promise<CheckpointDifference> {
  return readStore(request.storeDirectory, async (store) => {
    const a = await openNamed(store, request.a);
    const b = await openNamed(store, request.b);
    const pids = new Set([...a.manifest.processes, ...b.manifest.processes].map(({ pid }) => pid));
    const [stateA, stateB] = [await readLiveState(a), await readLiveState(b)];
    const processes: ProcessDifference[] = [];
    for (const pid of [...pids].sort((left, right) => left - right)) {
      request.signal?.throwIfAborted();
      const memory = await diffProcess(a, b, pid, request);
      const state = diffStates(stateA, stateB, pid);
      processes.push(state === undefined ? memory : { ...memory, state });
    }
    return {
      a: a.manifest.number,
      b: b.manifest.number,
      different: processes.some(isDifferent),
      processes,
    };
  });
}

function diffStates(
  a: LiveState | undefined,
  b: LiveState | undefined,
  pid: number,
): StateDifference | undefined {
  const [before, after] = [a, b].map((state) => state?.processes.find((process) => process.pid === pid));
  return before === undefined || after === undefined ? undefined : compareStates(before, after);
}

function isDifferent(process: ProcessDifference): boolean {
  return process.presence !== 'both' || process.mappings.some(isMappingDifferent);
}

/** Whether anything about a mapping differs. */
export function isMappingDifferent(mapping: MappingDifference): boolean {
  return mapping.state !== 'same' || mapping.changedPages + mapping.appearedPages + mapping.vanishedPages > 0;
}

async function diffProcess(
  a: CheckpointReader,
  b: CheckpointReader,
  pid: number,
  request: DiffRequest,
): Promise<ProcessDifference> {
  const inA = a.manifest.processes.find((process) => process.pid === pid);
  const inB = b.manifest.processes.find((process) => process.pid === pid);
  const pages = await comparePages(inA && (await a.index(pid)), inB && (await b.index(pid)));
  const bytes = request.bytes ? await compareBytes(a, b, pid, pages.changed, request) : undefined;
  const presence = inA === undefined ? 'only-b' : inB === undefined ? 'only-a' : 'both';
  const mappings = listMappings(inA, inB, { a: knowsMappings(a.manifest), b: knowsMappings(b.manifest) }).map(
    ({ vma, state }) => {
      const count = (list: PageRangeList) => list.within(vma.startPage, vma.endPage).pageCount;
      const both = {
        vma,
        state,
        changedPages: state === 'gone' ? 0 : count(pages.changed),
        appearedPages: state === 'gone' ? 0 : count(pages.appeared),
        vanishedPages: state === 'new' ? 0 : count(pages.vanished),
      };
      return bytes === undefined || state === 'gone' ? both : { ...both, ...bytes.within(vma) };
    },
  );
  const { name, sharedMemory } = (inB ?? inA)!;
  return { pid, name, ...(sharedMemory === undefined ? {} : { sharedMemory }), presence, mappings };
}

interface PageSets {
  readonly changed: PageRangeList;
  readonly appeared: PageRangeList;
  readonly vanished: PageRangeList;
}

/** Merges two page indexes window by window. */
async function comparePages(a: ProcessIndex | undefined, b: ProcessIndex | undefined): Promise<PageSets> {
  const sets = { changed: new PageRangeList(), appeared: new PageRangeList(), vanished: new PageRangeList() };
  const windows = new Set([...(a?.segments ?? []), ...(b?.segments ?? [])].map(({ startPage }) => startPage));
  for (const startPage of [...windows].sort((left, right) => left - right)) {
    const left = a?.referenceOf(startPage);
    const right = b?.referenceOf(startPage);
    if (left !== undefined && right !== undefined && Buffer.compare(left.digest, right.digest) === 0)
      continue;
    compareSegments(
      (await a?.window(startPage))?.segment,
      (await b?.window(startPage))?.segment,
      startPage,
      sets,
    );
  }
  return sets;
}

function compareSegments(
  a: Segment | undefined,
  b: Segment | undefined,
  startPage: number,
  sets: PageSets,
): void {
  const countA = a?.count ?? 0;
  const countB = b?.count ?? 0;
  for (let left = 0, right = 0; left < countA || right < countB; ) {
    const offsetA = left < countA ? a!.offsets[left]! : Number.POSITIVE_INFINITY;
    const offsetB = right < countB ? b!.offsets[right]! : Number.POSITIVE_INFINITY;
    const page = startPage + Math.min(offsetA, offsetB);
    if (offsetA < offsetB) sets.vanished.append(page, page + 1);
    else if (offsetB < offsetA) sets.appeared.append(page, page + 1);
    else if (!sameDigest(a!.digests, left, b!.digests, right)) sets.changed.append(page, page + 1);
    if (offsetA <= offsetB) left++;
    if (offsetB <= offsetA) right++;
  }
}

/** Reads the changed pages of both checkpoints side by side. */
async function compareBytes(
  a: CheckpointReader,
  b: CheckpointReader,
  pid: number,
  changed: PageRangeList,
  request: DiffRequest,
): Promise<ByteDifference> {
  const difference = new ByteDifference();
  if (changed.pageCount === 0) return difference;
  const older = singlePages(a, pid, changed);
  let donePages = 0;
  for await (const { page, bytes } of singlePages(b, pid, changed)) {
    request.signal?.throwIfAborted();
    const { value } = await older.next();
    difference.addPage(page, value?.bytes, bytes);
    donePages++;
    request.onProgress?.({
      phase: 'comparing',
      donePages,
      totalPages: changed.pageCount,
      doneBytes: donePages * PAGE_SIZE,
    });
  }
  return difference;
}

async function* singlePages(
  reader: CheckpointReader,
  pid: number,
  pages: PageRangeList,
): AsyncGenerator<{ readonly page: number; readonly bytes: Uint8Array | undefined }, undefined> {
  for await (const run of reader.pages(pid, pages)) {
    for (let index = 0; index < run.pageCount; index++) {
      const bytes = run.bytes?.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
      yield { page: run.startPage + index, bytes };
    }
  }
  return undefined;
}
