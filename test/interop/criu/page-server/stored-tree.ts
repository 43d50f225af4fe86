import { IncomingCheckpoints, MAX_INCOMING_PAGES } from '../../../../src/checkpoint/index.ts';
import { PAGE_SIZE, PageRangeList } from '../../../../src/core/index.ts';
import { CODEC, openStore, vmaOf } from '../../../store/harness.ts';
import { type Contents, pageOfSeed, type Tree } from './sessions.ts';

/** Makes a store with one checkpoint of CRIU that holds the tasks of a tree. @returns its number */
export async function storeTree(directory: string, tree: Tree): Promise<number> {
  const store = await openStore(directory);
  const incoming = new IncomingCheckpoints(store, CODEC, { name: 'zstd', level: 1 });
  try {
    await incoming.begin();
    for (const [pid, contents] of tree.tasks) await addAll(incoming, pid, contents);
    await incoming.seal(
      [...tree.tasks.keys()].map((pid) => ({ pid, parentPid: 0, name: 'task', vmas: [vmaOf(0, 2 ** 35)] })),
    );
    const manifest = await incoming.commit({
      preDump: false,
      target: { kind: 'criu', name: 'task', fingerprint: 'origin' },
      tracker: 'criu',
      createdAt: '2026-01-02T03:04:05.000Z',
      times: () => ({ freeze: 0, scan: 0, read: 0, total: 0 }),
    });
    return manifest.number;
  } finally {
    incoming.close();
    await store.close();
  }
}

async function addAll(incoming: IncomingCheckpoints, pid: number, contents: Contents): Promise<void> {
  const pages = [...contents.keys()].sort((a, b) => a - b);
  for (let at = 0; at < pages.length; at += MAX_INCOMING_PAGES) {
    const some = pages.slice(at, at + MAX_INCOMING_PAGES);
    const ranges = PageRangeList.of(...some.map((page) => ({ startPage: page, endPage: page + 1 })));
    await incoming.add(pid, ranges, async (into) => {
      for (const [index, page] of some.entries())
        into.set(pageOfSeed(contents.get(page) ?? 0), index * PAGE_SIZE);
    });
  }
}
