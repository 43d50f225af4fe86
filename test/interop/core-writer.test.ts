import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { IntegrityError, PAGE_SIZE, PageRangeList } from '../../src/core/index.ts';
import { type CoreMapping, coreSegments, planCore } from '../../src/interop/core-layout.ts';
import { writeCore } from '../../src/interop/core-writer.ts';
import { encodeNotes } from '../../src/interop/notes.ts';
import type { PageRun } from '../../src/store/index.ts';
import { mappingsAndPages } from './arbitrary-core.ts';
import { type ReadCore, readCore } from './elf-reader.ts';

const directory = mkdtempSync(join(tmpdir(), 'ckpt-core-test-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let made = 0;

const NOTES = encodeNotes([{ owner: 'CORE', type: 77, content: Uint8Array.of(1, 2, 3) }]);

/** What page `page` holds: every fourth is zeros. */
function contentOf(page: number): Buffer {
  const bytes = Buffer.alloc(PAGE_SIZE);
  if (page % 4 !== 0) {
    for (let at = 0; at < PAGE_SIZE; at += 512) bytes.writeDoubleLE(page + at / 1024, at);
  }
  return bytes;
}

/** The pages in runs, as a store gives them: zeros apart from data. */
async function* runsOf(present: PageRangeList): AsyncGenerator<PageRun> {
  for (const { startPage, endPage } of present) {
    for (let page = startPage; page < endPage; ) {
      const isZero = page % 4 === 0;
      let end = page + 1;
      while (end < endPage && (end % 4 === 0) === isZero) end++;
      const pages = Array.from({ length: end - page }, (_, index) => contentOf(page + index));
      yield { startPage: page, pageCount: end - page, bytes: isZero ? undefined : Buffer.concat(pages) };
      page = end;
    }
  }
}

async function writeFile(
  mappings: readonly CoreMapping[],
  present: PageRangeList,
  pages: AsyncIterable<PageRun>,
): Promise<string> {
  const path = join(directory, `core-${made++}`);
  const file = await open(path, 'wx');
  try {
    const layout = planCore(mappings, present, NOTES.length);
    await writeCore(
      file,
      path,
      { machine: 'x86_64', mappings, present, notes: NOTES, layout },
      pages,
      () => {},
    );
  } finally {
    await file.close();
  }
  return path;
}

function expectMapping(
  core: ReadCore,
  { startPage, endPage, absent, firstPage }: CoreMapping,
  present: PageRangeList,
) {
  for (let page = startPage; page < endPage; page++) {
    const found = core.memory(BigInt(page) * 4096n, PAGE_SIZE);
    if (present.has(page)) expect(found?.equals(contentOf(page))).toBe(true);
    else if (page === startPage && firstPage !== undefined) expect(found?.equals(firstPage)).toBe(true);
    else if (absent === 'nowhere') expect(found).toBeUndefined();
    else if (found?.some((byte) => byte !== 0) !== false) throw new Error(`page ${page} should be zeros`);
  }
}

describe('writeCore()', () => {
  it('makes a core in which another reader finds every page', async () => {
    await fc.assert(
      fc.asyncProperty(mappingsAndPages, async ({ mappings, present }) => {
        const path = await writeFile(mappings, present, runsOf(present));
        const core = readCore(readFileSync(path));
        expect([core.type, core.machine]).toEqual([4, 62]);
        expect(core.notes).toEqual([{ owner: 'CORE', type: 77, content: Buffer.of(1, 2, 3) }]);
        for (const segment of core.segments) {
          expect(segment.alignment).toBe(PAGE_SIZE);
          expect(segment.offset % PAGE_SIZE).toBe(0);
        }
        for (const one of mappings) expectMapping(core, one, present);
        rmSync(path);
      }),
      { numRuns: 60 },
    );
  });

  it('leaves holes where pages hold zeros', async () => {
    const mappings = [wide(1, 2 ** 20)];
    const present = PageRangeList.of({ startPage: 4, endPage: 5 }, { startPage: 200, endPage: 240 });
    const zeros: PageRun[] = [
      { startPage: 4, pageCount: 1, bytes: undefined },
      { startPage: 200, pageCount: 40, bytes: undefined },
    ];
    const path = await writeFile(
      mappings,
      present,
      (async function* () {
        yield* zeros;
      })(),
    );
    expect(statSync(path).size).toBe(PAGE_SIZE + 239 * PAGE_SIZE);
    expect(statSync(path).blocks * 512).toBeLessThanOrEqual(2 * PAGE_SIZE);
  });

  it('counts more segments than an ELF header can, as other readers expect', async () => {
    const mappings: CoreMapping[] = [];
    for (let index = 0; index < 70_000; index++) mappings.push(wide(1 + index * 2, 2 + index * 2));
    const present = PageRangeList.of({ startPage: 139_999, endPage: 140_000 });
    const path = await writeFile(mappings, present, runsOf(present));
    const core = readCore(readFileSync(path));
    expect(core.segments).toHaveLength(70_000);
    expect(core.memory(139_999n * 4096n, PAGE_SIZE)?.equals(contentOf(139_999))).toBe(true);
    expect(core.notes).toHaveLength(1);
    const header = headerByReadelf(path);
    if (header !== undefined) expect(header).toMatch(/Number of program headers:\s+65535 \(70001\)/);
  });

  it('takes a page that no mapping has for damage', async () => {
    const mappings = [wide(10, 20)];
    const present = PageRangeList.of({ startPage: 10, endPage: 12 });
    const stray = PageRangeList.of({ startPage: 30, endPage: 31 });
    await expect(writeFile(mappings, present, runsOf(stray))).rejects.toThrow(IntegrityError);
    const before = PageRangeList.of({ startPage: 9, endPage: 10 });
    await expect(writeFile(mappings, present, runsOf(before))).rejects.toThrow(
      /0x9000 .*in none of its mappings/,
    );
  });

  it('computes the same segments in every pass', () => {
    fc.assert(
      fc.property(mappingsAndPages, ({ mappings, present }) => {
        expect([...coreSegments(mappings, present, 4096)]).toEqual([
          ...coreSegments(mappings, present, 4096),
        ]);
      }),
      { numRuns: 20 },
    );
  });
});

function wide(startPage: number, endPage: number): CoreMapping {
  return { startPage, endPage, read: true, write: true, execute: false, absent: 'zeros' };
}

/** What readelf makes of the ELF header; undefined where there is none. It must have nothing to complain about. */
function headerByReadelf(path: string): string | undefined {
  try {
    return execFileSync('readelf', ['-h', path], { encoding: 'utf8', env: { ...process.env, LC_ALL: 'C' } });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
