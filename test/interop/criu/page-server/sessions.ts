import { PAGE_SIZE } from '../../../../src/core/index.ts';
import {
  COMMAND,
  encodeHeader,
  FLAG,
  sharedDestination,
  taskDestination,
  type WireHeader,
  type WireLayout,
} from './wire.ts';

/** What one task or object holds: page number to the seed of its content; 0 is a page of zeros. */
export type Contents = ReadonlyMap<number, number>;

/** The memory of a dumped tree. */
export interface Tree {
  /** By PID. */
  readonly tasks: ReadonlyMap<number, Contents>;
  /** Shared memory objects by id; their pages count from 0. */
  readonly objects: ReadonlyMap<number, Contents>;
}

/** What a client sends before it waits, and what it then must be told. */
export interface Step {
  readonly bytes: Buffer;
  readonly answer: Buffer;
}

export interface SessionRequest {
  readonly layout: WireLayout;
  readonly kind: 'dump' | 'pre-dump';
  /** What the parent holds; undefined if the server is to say that it has none. */
  readonly previous?: Tree | undefined;
  /** Most pages of an entry: CRIU splits at the limits of its pipes. */
  readonly entryPages?: number;
}

const PAD = 0xdeadbeef;

/** The page of a seed. */
export function pageOfSeed(seed: number): Buffer {
  const page = Buffer.alloc(PAGE_SIZE);
  if (seed === 0) return page;
  for (let at = 0; at < PAGE_SIZE; at += 16) {
    page.writeUInt32LE(Math.imul(seed, 0x9e3779b1) >>> 0, at);
    page.writeUInt32LE(Math.imul(seed + at, 0x85ebca6b) >>> 0, at + 4);
  }
  return page;
}

/**
 * The session of `criu dump --page-server` or `criu pre-dump --page-server`, in CRIU's order: a pre-dump asks for the
 * parents of all tasks and sends shared memory while the tree is frozen, the tasks' pages afterwards; a dump sends task
 * by task, then shared memory.
 */
export function dumpSession(tree: Tree, request: SessionRequest): Step[] {
  const { kind, previous } = request;
  const tasks = [...tree.tasks].flatMap(([pid, contents]) =>
    destinationSteps(request, taskDestination(pid), contents, previous?.tasks.get(pid), FLAG.lazy),
  );
  // CRIU does not track shared memory: each object comes whole every time.
  const objects = [...tree.objects].flatMap(([id, contents]) =>
    destinationSteps(request, sharedDestination(id), contents, undefined, 0, previous?.objects.has(id)),
  );
  const questions = [...tree.tasks.keys()].map((pid) => ({
    bytes: header(request, { command: COMMAND.parent, destination: taskDestination(pid) }),
    answer: int32(previous?.tasks.has(pid) === true ? 1 : 0),
  }));
  const close = { bytes: header(request, { command: COMMAND.close }), answer: int32(0) };
  return kind === 'dump'
    ? joined([...tasks, ...objects, close])
    : joined([...questions, ...objects, ...tasks, close]);
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

function header({ layout }: SessionRequest, fields: Partial<WireHeader>): Buffer {
  return encodeHeader(layout, fields, PAD);
}

function destinationSteps(
  request: SessionRequest,
  destination: bigint,
  contents: Contents,
  before: Contents | undefined,
  extraFlags: number,
  hasParent = before !== undefined,
): Step[] {
  const open = {
    bytes: header(request, { command: COMMAND.open2, destination }),
    answer: Buffer.of(hasParent ? 1 : 0),
  };
  const entries = entriesOf(contents, before, request.entryPages ?? 16);
  const pieces = entries.flatMap(({ startPage, seeds, isHole }) => {
    const fields = {
      command: COMMAND.addFlags,
      flags: isHole ? FLAG.parent : FLAG.present | extraFlags,
      pageCount: seeds.length,
      address: BigInt(startPage) * BigInt(PAGE_SIZE),
      destination,
    };
    return [header(request, fields), ...(isHole ? [] : seeds.map(pageOfSeed))];
  });
  return [open, { bytes: Buffer.concat(pieces), answer: Buffer.alloc(0) }];
}

interface Entry {
  readonly startPage: number;
  readonly seeds: number[];
  readonly isHole: boolean;
}

/** Adjacent pages of one kind; what is as before is a hole. */
function entriesOf(contents: Contents, before: Contents | undefined, entryPages: number): Entry[] {
  const entries: Entry[] = [];
  for (const [page, seed] of [...contents].sort(([a], [b]) => a - b)) {
    const isHole = before?.get(page) === seed;
    const last = entries.at(-1);
    const fits =
      last?.isHole === isHole &&
      last.startPage + last.seeds.length === page &&
      last.seeds.length < entryPages;
    if (fits) last.seeds.push(seed);
    else entries.push({ startPage: page, seeds: [seed], isHole });
  }
  return entries;
}

/** Steps without an answer go with the next one. */
function joined(steps: readonly Step[]): Step[] {
  const result: Step[] = [];
  let waiting: Buffer[] = [];
  for (const { bytes, answer } of steps) {
    waiting.push(bytes);
    if (answer.length === 0) continue;
    result.push({ bytes: Buffer.concat(waiting), answer });
    waiting = [];
  }
  return result;
}
