import fc from 'fast-check';
import { patternPage } from '../../../checkpoint/memory-target.ts';
import { type DirectoryModel, type MemoryModel, vmasAround } from '../image-directory.ts';
import { VMA_STATUS } from '../image-encoder.ts';

const PARENT = 1;
const PRESENT = 4;
const LAZY = 2;

type Pages = ReadonlyMap<number, { readonly value: number; readonly flags: number }>;

const OBJECT_PAGES = 8;
const PLACES: Readonly<Record<string, number>> = { '71': 0x800, '72': 0x900 };

function memoryOf(pages: Pages, start: number): MemoryModel {
  return {
    entries: [...pages]
      .sort(([a], [b]) => a - b)
      .map(([page, { flags }]) => ({ startPage: start + page, pageCount: 1, flags })),
    content: (page) => patternPage(pages.get(page - start)?.value ?? 0),
  };
}

const drawnPages = fc
  .array(
    fc.option(
      fc.record({
        value: fc.nat(4),
        flags: fc.constantFrom(PARENT, PARENT, PRESENT, PRESENT | LAZY),
      }),
      { freq: 3, nil: undefined },
    ),
    { minLength: OBJECT_PAGES, maxLength: OBJECT_PAGES },
  )
  .map((pages): Pages => new Map(pages.flatMap((page, at) => (page === undefined ? [] : [[at, page]]))));

/** Pages of the parent only where it has them. */
const sound = (drawn: Pages, before: Pages | undefined): Pages =>
  new Map(
    [...drawn].map(([page, one]) => [
      page,
      one.flags === PARENT && before?.has(page) !== true ? { value: 9, flags: PRESENT } : one,
    ]),
  );

const drawnLevel = fc.record({
  preDump: fc.boolean(),
  version: fc.constantFrom('3.17' as const, '4.2' as const),
  root: drawnPages,
  child: fc.oneof(drawnPages, fc.constantFrom('zombie' as const, 'gone' as const)),
  first: fc.option(drawnPages, { nil: undefined }),
  second: fc.option(drawnPages, { nil: undefined }),
});

/**
 * Chains of directories of a process, a child that ends, goes and comes back under its PID, and two objects of shared
 * memory that come and go. Each directory was taken at a time of its own.
 */
export const arbitraryChain: fc.Arbitrary<readonly DirectoryModel[]> = fc
  .array(drawnLevel, { minLength: 2, maxLength: 5 })
  .map((drawn) => {
    let before = new Map<string, Pages>();
    return drawn.map(({ preDump, version, root, child, first, second }, index): DirectoryModel => {
      const now = new Map<string, Pages>();
      const put = (id: string, pages: Pages) => now.set(id, sound(pages, before.get(id)));
      put('root', root);
      if (typeof child !== 'string') put('child', child);
      if (first !== undefined) put('71', first);
      if (second !== undefined) put('72', second);
      before = now;
      const own = memoryOf(now.get('root')!, 0x400);
      const objects = ['71', '72'].filter((id) => now.has(id));
      const shown = objects.map((id) => ({
        startPage: PLACES[id]!,
        endPage: PLACES[id]! + OBJECT_PAGES,
        status: VMA_STATUS.regular | VMA_STATUS.anonymousShared,
        shmid: BigInt(id),
      }));
      const living = now.get('child');
      const isEnded = child === 'zombie' && !preDump;
      return {
        preDump,
        version,
        uptime: 1_000_000 * (index + 1) + 17,
        ...(index === 0 ? {} : { parent: `../${index}` }),
        processes: [
          { pid: 7, name: 'root', ...own, vmas: [...vmasAround(own.entries), ...shown] },
          ...(living === undefined
            ? []
            : [{ pid: 8, parentPid: 7, name: 'child', ...memoryOf(living, 0x400) }]),
          ...(isEnded ? [{ pid: 8, parentPid: 7, name: 'child', state: 6, ...memoryOf(new Map(), 0) }] : []),
        ],
        shared: objects.map((id) => ({ id, ...memoryOf(now.get(id)!, 0) })),
        files: { 'dump.log': `taken as number ${index}\n`, 'netns-ct-9.img': '' },
      };
    });
  });
