import { closeSync, openSync, writeSync } from 'node:fs';
import { PageRangeList, Random } from '../../src/core/index.ts';
import { type PageSample, TraceWriter } from '../../src/migration/index.ts';
import type { MapsEntry } from '../../src/procfs/index.ts';

const INTERVAL_MICROSECONDS = 100_000;
const FIRST_PAGE = 0x7f0000000;
const PAGES_PER_GIBIBYTE = 262_144;

/** What a made-up database writes. */
export interface DatabaseShape {
  readonly gibibytes: number;
  readonly seconds: number;
  /** Pages written in an interval of 100 ms: nine of ten in a tenth of the memory, a third of them in runs of four. */
  readonly pagesPerInterval: number;
}

/** Writes the trace of a database that fills its memory; a twentieth of it holds zeros. @returns its size in bytes. */
export async function writeDatabaseTrace(
  path: string,
  { gibibytes, seconds, pagesPerInterval }: DatabaseShape,
): Promise<number> {
  const file = openSync(path, 'w');
  let bytes = 0;
  const put = async (block: Uint8Array) => {
    bytes += writeSync(file, block);
  };
  const pages = gibibytes * PAGES_PER_GIBIBYTE;
  const writer = await TraceWriter.begin(
    {
      target: '4242 (database)',
      kind: 'live',
      tracker: 'pagemap-scan',
      pageSize: 4096,
      intervalMicroseconds: INTERVAL_MICROSECONDS,
      clock: 'monotonic',
    },
    put,
  );
  const random = new Random(7);
  const step = (index: number, change: Partial<Record<'resident' | 'zero' | 'written', PageRangeList>>) => ({
    atMicroseconds: index * INTERVAL_MICROSECONDS,
    frozenMicroseconds: 0,
    started: index === 0 ? [{ pid: 4242, parentPid: 0, name: 'database' }] : [],
    ended: [],
    processes: [
      {
        pid: 4242,
        unmapped: [],
        mapped: index === 0 ? [heapOf(pages)] : [],
        resident: new PageRangeList(),
        zero: new PageRangeList(),
        written: new PageRangeList(),
        gone: new PageRangeList(),
        samples: samplesOf(pages, random),
        ...change,
      },
    ],
  });
  await writer.step(
    step(0, {
      resident: PageRangeList.of({ startPage: FIRST_PAGE, endPage: FIRST_PAGE + pages }),
      zero: PageRangeList.of({
        startPage: FIRST_PAGE + Math.floor(pages * 0.95),
        endPage: FIRST_PAGE + pages,
      }),
    }),
  );
  for (let index = 1; index <= seconds * 10; index++) {
    await writer.step(step(index, { written: writtenPages(pages, pagesPerInterval, random) }));
  }
  await writer.seal('duration');
  closeSync(file);
  return bytes;
}

function heapOf(pages: number): MapsEntry {
  return {
    startPage: FIRST_PAGE,
    endPage: FIRST_PAGE + pages,
    read: true,
    write: true,
    execute: false,
    shared: false,
    offsetPages: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    inode: 0,
    pathname: '',
  };
}

function samplesOf(pages: number, random: Random): PageSample[] {
  const sampled = Array.from({ length: 8 }, () => FIRST_PAGE + random.nextBelow(pages));
  return [...new Set(sampled)]
    .sort((left, right) => left - right)
    .map((page) => ({ page, compressedBytes: 900 + random.nextBelow(1200), differenceBytes: undefined }));
}

function writtenPages(pages: number, count: number, random: Random): PageRangeList {
  const hot = Math.floor(pages / 10);
  const written = new Set<number>();
  while (written.size < count) {
    const page = random.nextFraction() < 0.9 ? random.nextBelow(hot) : random.nextBelow(pages - 4);
    const run = random.nextFraction() < 0.1 ? 4 : 1;
    for (let next = page; next < page + run; next++) written.add(FIRST_PAGE + next);
  }
  const list = new PageRangeList();
  for (const page of Float64Array.from(written).sort()) list.append(page, page + 1);
  return list;
}
