import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { restoreToDirectory } from '../../src/checkpoint/index.ts';
import { ckptJson } from './command.ts';
import { threadStates, until } from './programs.ts';
import { type Digests, readMemory, readRestored, type Stretch } from './read-memory.mjs';

/** How a running process and its descendants are followed. */
export interface Following {
  readonly pid: number;
  /** Where the store is made. */
  readonly store: string;
  /** Deltas on the one base. */
  readonly deltas: number;
  readonly between: () => Promise<unknown>;
  readonly dumpOptions?: readonly string[];
}

/** What the processes of a tree held, by PID. */
type SeenTree = ReadonlyMap<number, Digests>;

/**
 * Dumps a running process once fully and then incrementally, each time looking at its memory with another program
 * before it goes on, and restores every checkpoint afterwards.
 * @returns what the dumps printed
 */
export async function followAndRestore(following: Following): Promise<Record<string, unknown>[]> {
  const { pid, store, deltas, between, dumpOptions = [] } = following;
  const seen: SeenTree[] = [];
  const results: Record<string, unknown>[] = [];
  let threads = '';
  let ignored: readonly Stretch[] = [];
  for (let index = 0; index <= deltas; index++) {
    const incremental = index === 0 ? [] : ['--incremental'];
    const options = ['--leave-stopped', ...incremental, ...dumpOptions];
    const result = await ckptJson('dump', '-t', `${pid}`, '-D', store, ...options);
    expect(result).toMatchObject({
      checkpoint: index + 1,
      kind: index === 0 ? 'base' : 'delta',
      warnings: [],
    });
    results.push(result);
    const pids = dumpOptions.includes('--single') ? [pid] : treeOf(pid);
    // The command may be over before the last thread has come to rest; none executes anything until then.
    for (const each of pids) await until('rest', 5000, () => /^T+$/.test(threadStates(each)));
    const threadsNow = pids.map(threadsOf).join();
    if (threadsNow !== threads) ignored = [...ignored, ...(await rseqAreas(store))];
    threads = threadsNow;
    seen.push(new Map(pids.map((each) => [each, readMemory(each, ignored)])));
    for (const each of pids) process.kill(each, 'SIGCONT');
    await between();
  }
  for (const [index, tree] of seen.entries()) await expectTreeRestored(store, index + 1, tree, ignored);
  expect(new Set(seen.map((tree) => JSON.stringify([...tree]))).size).toBe(deltas + 1);
  await ckptJson('verify', '-D', store);
  return results;
}

/** Restores a checkpoint of one process and compares what it held with the files. */
export function expectRestored(
  store: string,
  checkpoint: number,
  expected: Digests,
  ignored: readonly Stretch[],
): Promise<void> {
  return expectTreeRestored(store, checkpoint, new Map([[0, expected]]), ignored);
}

/** The files of mappings that are not kept have to be empty. */
async function expectTreeRestored(
  store: string,
  checkpoint: number,
  tree: SeenTree,
  ignored: readonly Stretch[],
): Promise<void> {
  const out = join(store, `../out-${checkpoint}`);
  await restoreToDirectory({ storeDirectory: store, checkpoint, outputDirectory: out });
  for (const [pid, expected] of tree) {
    const { digests, empty } = readRestored(tree.size === 1 ? out : join(out, `${pid}`), ignored);
    expect(digests).toMatchObject(expected);
    const others = Object.keys(digests).filter((name) => expected[name] === undefined);
    expect(others.filter((name) => !empty.includes(name))).toEqual([]);
  }
  rmSync(out, { recursive: true });
}

/** Another text for other threads, and after an exec. */
function threadsOf(pid: number): string {
  return [...readdirSync(`/proc/${pid}/task`), readFileSync(`/proc/${pid}/cmdline`, 'latin1')].join();
}

/** A process and its descendants, in no order. */
function treeOf(root: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {
      // It has ended.
    }
  }
  const tree = [root];
  for (const pid of tree)
    tree.push(...[...parents].filter(([, parent]) => parent === pid).map(([child]) => child));
  return tree;
}

/** The part of `ckpt show --json` that tells of threads. */
interface ShownThreads {
  readonly liveState: {
    readonly processes: readonly {
      readonly threads: readonly {
        readonly rseq: { readonly pointer: string; readonly sizeBytes: number } | null;
      }[];
    }[];
  } | null;
}

/**
 * Where the kernel notes down, whenever a thread goes on, which processor it is on: that is not what the program
 * holds, and is also written when ckpt has the thread make a call. As the newest checkpoint tells.
 */
export async function rseqAreas(store: string): Promise<Stretch[]> {
  const { liveState } = (await ckptJson('show', 'latest', '-D', store)) as unknown as ShownThreads;
  return (liveState?.processes ?? [])
    .flatMap(({ threads }) => threads)
    .flatMap(({ rseq }): Stretch[] => (rseq === null ? [] : [[Number(rseq.pointer), rseq.sizeBytes]]));
}
