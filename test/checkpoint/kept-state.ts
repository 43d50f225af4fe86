import { IncomingCheckpoints } from '../../src/checkpoint/index.ts';
import { PAGE_SIZE, PageRangeList, Random } from '../../src/core/index.ts';
import { FIRST_OBJECT_PID, type Manifest } from '../../src/image/index.ts';
import type { NewFiles, NewProcess, Store } from '../../src/store/index.ts';
import {
  CODEC,
  fingerprintOf,
  type Memory,
  pageOf,
  readBack,
  type TargetMemory,
  vmaOf,
} from '../store/harness.ts';

/** A process with memory of its own and a part of the object. */
export const FIRST_PID = 7;
/** A process that maps the whole object, across the border of two windows. */
export const SECOND_PID = 8;
export const OBJECT_PID = FIRST_OBJECT_PID;

export const PRIVATE_START = 4096;
export const PRIVATE_PAGES = 24;
export const OBJECT_PAGES = 32;

const FIRST_SHOWN = { startPage: 9000, endPage: 9016, objectPid: OBJECT_PID, objectPage: 4 };
const SECOND_SHOWN = {
  startPage: 8192 * 5 - 10,
  endPage: 8192 * 5 - 10 + OBJECT_PAGES,
  objectPid: OBJECT_PID,
  objectPage: 0,
};

/** Two processes and the object of memory that they share. */
export const PROCESSES: readonly NewProcess[] = [
  {
    pid: FIRST_PID,
    parentPid: 0,
    name: 'first',
    vmas: [
      vmaOf(PRIVATE_START, PRIVATE_START + PRIVATE_PAGES),
      vmaOf(FIRST_SHOWN.startPage, FIRST_SHOWN.endPage),
    ],
    sharedRanges: [FIRST_SHOWN],
  },
  {
    pid: SECOND_PID,
    parentPid: FIRST_PID,
    name: 'second',
    vmas: [vmaOf(SECOND_SHOWN.startPage, SECOND_SHOWN.endPage)],
    sharedRanges: [SECOND_SHOWN],
  },
  { pid: OBJECT_PID, parentPid: 0, name: '/dev/zero', sharedMemory: '42', vmas: [vmaOf(0, OBJECT_PAGES)] },
];

/** The same as a page server knows them: no more than which pages came. */
export const BARE_PROCESSES: readonly NewProcess[] = [
  {
    pid: FIRST_PID,
    parentPid: 0,
    name: '',
    vmas: [vmaOf(PRIVATE_START, PRIVATE_START + PRIVATE_PAGES)],
  },
  { pid: OBJECT_PID, parentPid: 0, name: '', sharedMemory: '42', vmas: [vmaOf(0, OBJECT_PAGES)] },
];

export const FACTS = {
  preDump: false,
  target: { kind: 'criu', name: 'redis-server', fingerprint: 'f' },
  tracker: 'criu',
  createdAt: '2026-01-01T00:00:00.000Z',
  times: () => ({ freeze: 0, scan: 0, read: 0, total: 0 }),
} as const;

/** What changes from one checkpoint to the next: pages by offset, with what each becomes. */
export interface Step {
  readonly own: readonly (readonly [page: number, edit: number])[];
  readonly shared: readonly (readonly [page: number, edit: number])[];
  readonly goneShared: readonly number[];
  readonly fileBytes: number;
}

/** What the target's own memory and the object hold. */
export class Model {
  readonly #own: Memory = new Map();
  readonly #shared: Memory = new Map();

  apply({ own, shared, goneShared }: Step): void {
    for (const page of goneShared) this.#shared.delete(page);
    for (const [page, edit] of own) this.#own.set(PRIVATE_START + page, contentOf(page, edit));
    for (const [page, edit] of shared) this.#shared.set(page, contentOf(page + 100, edit));
  }

  /** The memory that a checkpoint with PROCESSES must have. */
  fingerprint(): Record<string, string> {
    const target: TargetMemory = new Map([
      [FIRST_PID, new Map(this.#own)],
      [SECOND_PID, new Map()],
      [OBJECT_PID, this.#shared],
    ]);
    for (const { pid, sharedRanges = [] } of PROCESSES) {
      for (const { startPage, endPage, objectPage } of sharedRanges) {
        for (let page = startPage; page < endPage; page++) {
          const content = this.#shared.get(page - startPage + objectPage);
          if (content !== undefined) target.get(pid)?.set(page, content);
        }
      }
    }
    return fingerprintOf(target);
  }
}

/** Edit 0 is a page of zeros. */
function contentOf(seed: number, edit: number): Uint8Array | null {
  return edit === 0 ? null : pageOf(seed, edit);
}

/** Files that follow from their length. */
export function filesOf(bytes: number): { readonly listing: Uint8Array; readonly content: Uint8Array } {
  const content = new Uint8Array(bytes);
  const random = new Random(bytes);
  for (let at = 0; at < bytes; at++) content[at] = random.nextBelow(7);
  return { listing: new TextEncoder().encode(`one file of ${bytes} bytes`), content };
}

/** The same, to be stored, in pieces of odd lengths. */
export function newFilesOf(bytes: number): NewFiles {
  const { listing, content } = filesOf(bytes);
  async function* pieces() {
    for (let at = 0; at < bytes; at += 77_777) yield content.subarray(at, at + 77_777);
  }
  return { format: 'test-1', listing, content: pieces() };
}

/** Writes the next checkpoint of a chain. */
export async function writeStep(
  incoming: IncomingCheckpoints,
  step: Step,
  processes: readonly NewProcess[] = PROCESSES,
  notRestorable?: 'pages-only',
): Promise<Manifest> {
  await incoming.begin();
  incoming.drop(OBJECT_PID, rangesOf(step.goneShared));
  await addPages(incoming, FIRST_PID, PRIVATE_START, 0, step.own);
  await addPages(incoming, OBJECT_PID, 0, 100, step.shared);
  await incoming.seal(processes);
  const files = notRestorable === undefined ? newFilesOf(step.fileBytes) : undefined;
  return incoming.commit({ ...FACTS, notRestorable }, undefined, files);
}

export function openIncoming(store: Store): IncomingCheckpoints {
  return new IncomingCheckpoints(store, CODEC, { name: 'zstd', level: 1 }, { differences: true });
}

async function addPages(
  incoming: IncomingCheckpoints,
  pid: number,
  startPage: number,
  seed: number,
  pages: Step['own'],
): Promise<void> {
  const sorted = [...pages].sort(([a], [b]) => a - b);
  const stored = sorted.filter(([, edit]) => edit !== 0);
  const zeros = sorted.filter(([, edit]) => edit === 0);
  await incoming.add(pid, rangesOf(stored.map(([page]) => startPage + page)), async (into) => {
    for (const [index, [page, edit]] of stored.entries())
      into.set(pageOf(page + seed, edit), index * PAGE_SIZE);
  });
  await incoming.addZeros(pid, rangesOf(zeros.map(([page]) => startPage + page)));
}

function rangesOf(pages: readonly number[]): PageRangeList {
  const ranges = new PageRangeList();
  for (const page of [...pages].sort((a, b) => a - b)) ranges.append(page, page + 1);
  return ranges;
}

/** Memory and files of a checkpoint, small enough to compare. */
export async function everythingIn(
  store: Store,
  number: number,
): Promise<{ readonly memory: Record<string, string>; readonly fileBytes: number | undefined }> {
  const reader = await store.openCheckpoint(number);
  const memory = fingerprintOf(await readBack(reader));
  const files = await reader.files();
  if (files === undefined) return { memory, fileBytes: undefined };
  const pieces: Uint8Array[] = [];
  for await (const piece of files.read(0, files.contentBytes)) pieces.push(piece);
  const expected = filesOf(files.contentBytes);
  const isSame =
    Buffer.compare(Buffer.concat(pieces), expected.content) === 0 &&
    Buffer.compare(files.listing, expected.listing) === 0;
  return { memory, fileBytes: isSame ? files.contentBytes : -1 };
}
