import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntegrityError } from '../../../../src/core/index.ts';
import type { FileRecord } from '../../../../src/interop/criu/state/file-record.ts';
import { type Mappings, mappingsOf } from '../../../../src/interop/criu/state/vmas.ts';
import { decideMapping } from '../../../../src/target/index.ts';
import { type EncodedVma, entry, mmImage, VMA_STATUS } from '../image-encoder.ts';
import { nested, number, numbers, signed } from '../protobuf.ts';
import { readEntry } from './image-files.ts';

const { regular, anonymousPrivate, anonymousShared, filePrivate, fileShared, memfd, systemV } = VMA_STATUS;
const STACK = 0x7fff_0000_0n;

const FILES: Readonly<Record<number, Partial<FileRecord>>> = {
  7: { path: '/usr/bin/program' },
  8: { path: '/memfd:mine (deleted)', objectId: '900' },
};
const NAMES = {
  files: {
    get: (id: number) => FILES[id] as FileRecord | undefined,
    path: (id: number) => FILES[id]?.path,
  },
  segments: new Map([[5, { key: 0x1234 }]]),
  stackAddress: STACK * 4096n,
};

/** The mappings as they come out of an image. */
async function mappings(vmas: readonly EncodedVma[]): Promise<Mappings> {
  const file = mmImage(vmas);
  // Without the magics: one entry, its length in front.
  const mm = await readEntry('MM', file.subarray(8));
  return mappingsOf(mm.messages('vmas'), NAMES);
}

const at = (startPage: number, given: Partial<EncodedVma>): EncodedVma => ({
  startPage,
  endPage: startPage + 4,
  status: regular | anonymousPrivate,
  ...given,
});

const mmFields = numbers(...Array.from({ length: 12 }, () => 0));

describe('mappings of an image', () => {
  it.each([
    ['private memory', {}, '', 'existing'],
    ['the heap', { status: regular | anonymousPrivate | VMA_STATUS.heap }, '[heap]', 'existing'],
    ['the vDSO', { status: regular | anonymousPrivate | VMA_STATUS.vdso }, '[vdso]', 'every'],
    ['clock data', { status: regular | anonymousPrivate | VMA_STATUS.vvar }, '[vvar]', 'none'],
    ['vsyscall', { status: VMA_STATUS.vsyscall }, '[vsyscall]', 'none'],
    ['a program', { status: regular | filePrivate, shmid: 7, offsetPages: 3 }, '/usr/bin/program', 'copied'],
    ['a shared file', { status: regular | fileShared, shmid: 7 }, '/usr/bin/program', 'none'],
    ['shared memory', { status: regular | anonymousShared, shmid: 77 }, '/dev/zero (deleted)', 'object'],
    ['a segment', { status: regular | systemV, shmid: 5 }, '/SYSV00001234 (deleted)', 'object'],
    ['a memfd', { status: regular | fileShared | memfd, shmid: 8 }, '/memfd:mine (deleted)', 'object'],
    ['huge pages', { flags: 0x40022 }, '/anon_hugepage (deleted)', 'untracked'],
    ['asynchronous I/O', { status: regular | (1 << 13), flags: 1 }, '/[aio] (deleted)', 'every'],
  ])('are named as maps names them: %s', async (_what, given, pathname, rule) => {
    const { vmas } = await mappings([at(0x1000, given)]);
    expect(vmas).toHaveLength(1);
    expect(vmas[0]).toMatchObject({ startPage: 0x1000, endPage: 0x1004, pathname, read: true, write: true });
    expect(vmas[0]?.offsetPages).toBe('offsetPages' in given ? given.offsetPages : 0);
    expect(decideMapping(vmas[0]!).rule).toBe(rule);
  });

  it('are the stack where the stack began', async () => {
    const below = Number(STACK) - 3;
    const { vmas } = await mappings([at(below - 10, {}), at(below, { flags: 0x122 })]);
    expect(vmas.map(({ pathname }) => pathname)).toEqual(['', '[stack]']);
    expect(vmas[1]?.flags).toEqual(['rd', 'wr', 'gd']);
  });

  it('that show an object name it and the page of it', async () => {
    const { sharedRanges } = await mappings([
      at(0x1000, {}),
      at(0x1010, { status: regular | anonymousShared, shmid: 2n ** 60n + 1n, offsetPages: 9 }),
      at(0x1020, { status: regular | systemV, shmid: 5 }),
      at(0x1030, { status: regular | fileShared | memfd, shmid: 8, offsetPages: 2 }),
      at(0x1040, { status: regular | filePrivate | memfd, shmid: 8, flags: 2 }),
    ]);
    expect(sharedRanges).toEqual([
      { startPage: 0x1010, endPage: 0x1014, objectId: String(2n ** 60n + 1n), objectPage: 9 },
      { startPage: 0x1020, endPage: 0x1024, objectId: '5', objectPage: 0 },
      { startPage: 0x1030, endPage: 0x1034, objectId: '900', objectPage: 2 },
    ]);
  });

  it('have the advice that was given for them, and are without marks of guarded pages', async () => {
    const advised = (bits: number) =>
      nested(14, numbers(0x1000_000n, 0x1004_000n, 0, 0, 3, 0x6022, regular), signed(8, -1), number(9, bits));
    const guard = nested(14, numbers(0x1001_000n, 0x1002_000n, 0, 0, 0, 0x22, 1 << 16), signed(8, -1));
    const mm = await readEntry('MM', entry(mmFields, advised((1 << 14) | (1 << 10)), guard));
    const { vmas } = mappingsOf(mm.messages('vmas'), NAMES);
    expect(vmas.map(({ flags }) => flags)).toEqual([['rd', 'wr', 'lo', 'nr', 'dc', 'hg']]);
  });

  it('come in order, with what they may be used for', () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ gap: fc.nat(9), pages: fc.integer({ min: 1, max: 9 }), prot: fc.nat(7) }), {
          maxLength: 20,
        }),
        async (specs) => {
          let page = 0x1000;
          const wanted = specs.map(({ gap, pages, prot }) => {
            const startPage = page + gap;
            page = startPage + pages;
            return { startPage, endPage: page, prot, status: regular | anonymousPrivate };
          });
          const { vmas } = await mappings(wanted);
          expect(vmas.map(({ startPage, endPage }) => ({ startPage, endPage }))).toEqual(
            wanted.map(({ startPage, endPage }) => ({ startPage, endPage })),
          );
          expect(vmas.map(({ read, write, execute }) => +read + 2 * +write + 4 * +execute)).toEqual(
            wanted.map(({ prot }) => prot),
          );
        },
      ),
      { numRuns: 20 },
    ));

  it.each([
    ['overlap', [at(0x1000, {}), at(0x1003, {})], /the mapping at 0x1003000 is not in order/],
    [
      'show what no file can have',
      [at(0x1000, { status: regular | anonymousShared, offsetPages: 2 ** 52 - 3 })],
      /the mapping at 0x1000000 shows what no file can have/,
    ],
    ['go backwards', [at(0x1000, {}), at(0x900, {})], /the mapping at 0x900000 is not in order/],
    ['are empty', [at(0x1000, { endPage: 0x1000 })], /ends at 0x1000000 before it begins/],
    ['end before they begin', [at(0x1000, { endPage: 0xfff })], /ends at 0xfff000 before it begins/],
  ])('that %s are damage', async (_what, vmas, message) => {
    await expect(mappings(vmas)).rejects.toThrow(IntegrityError);
    await expect(mappings(vmas)).rejects.toThrow(message);
  });

  it('are of whole pages', async () => {
    const odd = nested(14, numbers(0x1000_001n, 0x1004_000n, 0, 0, 3, 0x22, regular), signed(8, -1));
    const mm = await readEntry('MM', entry(mmFields, odd));
    expect(() => mappingsOf(mm.messages('vmas'), NAMES)).toThrow(
      /\.img is damaged at byte 8: start of a mapping is 16777217, which is no multiple of 4096/,
    );
  });
});
