import { describe, expect, it } from 'vitest';
import { ERRNO, MADV, MAP, UFFD_FEATURE, UFFD_REGISTER } from '../../src/kernel/index.ts';
import { PAGEMAP_HIGH, parseMaps, SCAN_CATEGORY, SCAN_FLAG } from '../../src/procfs/index.ts';
import {
  ARENA,
  COUNTING_CONTENT,
  mapPrivate,
  mapShared,
  opened,
  pagemapOf,
  read,
  start,
  userfaultfdOf,
  WRITABLE,
  word,
  write,
} from './helpers.ts';

describe('clear_refs', () => {
  it('takes one decimal number in at most twelve bytes', () => {
    const { process } = start();
    const results = (...texts: string[]) => texts.map((text) => process.clearRefs(text));
    expect(results('4', ' 4', '4 ', '4\n', '04', '+4', '4\0', '4                   ')).toEqual([
      1, 2, 2, 2, 2, 2, 2, 12,
    ]);
    const invalid = ['0x4', '4x', '4,', '4 4', '', '   ', '0', '6', '-4', '            4'];
    expect(results(...invalid)).toEqual(invalid.map(() => -ERRNO.EINVAL));
    expect(results('99999999999', '-2147483649')).toEqual([-ERRNO.ERANGE, -ERRNO.ERANGE]);
    expect(results('1', '2', '3', '5')).toEqual([1, 1, 1, 1]);
  });

  it('forgets accesses with 1 without arming anything', () => {
    const { kernel, process } = start();
    mapPrivate(process, 0, 2);
    write(process, 0, 2);
    process.clearRefs('1');
    expect(process.smapsText()).toMatch(/100000000000-100000002000[\s\S]*?Referenced: +0 kB/);
    write(process, 0);
    expect(kernel.counters().faults.writeProtect).toBe(0);
    expect(process.smapsText()).toMatch(/100000000000-100000002000[\s\S]*?Referenced: +4 kB/);
    expect(word(process, 1)).toBe('PXD');
  });
});

describe('pagemap', () => {
  it('answers unaligned reads with EINVAL and ends with the address space', () => {
    const pagemap = pagemapOf(start().process);
    const at = BigInt(ARENA) * 8n;
    expect(pagemap.read(at, 16)).toBe(16);
    expect(pagemap.read(at, 0)).toBe(0);
    expect(pagemap.read(at + 4n, 8)).toBe(-ERRNO.EINVAL);
    expect(pagemap.read(at, 7)).toBe(-ERRNO.EINVAL);
    expect(pagemap.read((0x7fffffffe000n / 4096n) * 8n, 4096)).toBe(8);
    expect(pagemap.read((0x7ffffffff000n / 4096n) * 8n, 8)).toBe(0);
    expect(pagemap.read((0xffffffffff600000n / 4096n) * 8n, 8)).toBe(0);
    expect(pagemap.read((0xffffffffff600000n / 4096n) * 8n + 1n, 8)).toBe(-ERRNO.EINVAL);
  });

  it('shows frame numbers that kpagecount knows', () => {
    const { kernel, process } = start();
    mapPrivate(process, 0, 1);
    write(process, 0);
    const bytes = new Uint8Array(8);
    pagemapOf(process).read(BigInt(ARENA) * 8n, 8, bytes);
    const frame = new DataView(bytes.buffer).getUint32(0, true);
    const counts = new Uint32Array(1);
    expect(kernel.readKpagecount(frame, 1, counts)).toBe(1);
    expect(counts[0]).toBe(1);
    process.fork();
    kernel.readKpagecount(frame, 1, counts);
    expect(counts[0]).toBe(2);
    expect(kernel.readKpagecount(2 ** 30, 1, counts)).toBe(0);
  });

  const high = (process: ReturnType<typeof start>['process'], file: 'pagemap' | 'pagemap2' = 'pagemap') => {
    const opened = process.openPagemap(file);
    if (typeof opened === 'number') return opened;
    const words = new Uint32Array(4);
    opened.readWords(ARENA, 2, words);
    return [words[1]! >>> 0, words[3]! >>> 0];
  };
  const shift = 12 * 2 ** 23;

  it('holds the page shift until the first clear in the layout of 3.11', () => {
    const { process } = start({ pagemapLayout: 'switching' });
    mapPrivate(process, 0, 2);
    write(process, 0);
    expect(high(process)).toEqual([PAGEMAP_HIGH.present + shift, shift]);
    process.clearRefs('4');
    write(process, 0);
    expect(high(process)).toEqual([PAGEMAP_HIGH.present + PAGEMAP_HIGH.softDirty, 0]);
  });

  it('has a second file in the layout of the proposal', () => {
    const { process } = start({ pagemapLayout: 'pagemap2' });
    mapPrivate(process, 0, 2);
    write(process, 0);
    process.clearRefs('4');
    write(process, 0);
    expect(high(process)).toEqual([PAGEMAP_HIGH.present + shift, shift]);
    expect(high(process, 'pagemap2')).toEqual([PAGEMAP_HIGH.present + PAGEMAP_HIGH.softDirty, 0]);
    expect(high(start().process, 'pagemap2')).toBe(-ERRNO.ENOENT);
  });

  it('tells swap slots and markers', () => {
    const { process } = start();
    mapPrivate(process, 0, 1);
    write(process, 0);
    process.madvise(ARENA, 1, MADV.pageOut);
    const words = new Uint32Array(2);
    process.readPagemapWords(ARENA, 1, words);
    expect(words[0]! & 31).toBe(0);
    expect(words[0]! >>> 5).toBeGreaterThan(0);
  });
});

describe('maps and smaps', () => {
  it('print mappings as the kernel does', () => {
    const { kernel, process } = start();
    kernel.createFile('/tmp/file', 4, 102);
    process.mmap(ARENA, 4, WRITABLE, MAP.shared | MAP.fixed, opened(kernel, '/tmp/file'));
    mapShared(process, 8, 2);
    mapPrivate(process, 16, 3);
    write(process, 16, 2);
    const lines = process
      .mapsText()
      .split('\n')
      .filter((line) => line.startsWith('1000000'));
    expect(lines[0]).toMatch(/^100000000000-100000004000 rw-s 00000000 00:1d \d+ +\/tmp\/file$/);
    expect(lines[1]).toMatch(/ rw-s 00000000 00:01 \d+ +\/dev\/zero \(deleted\)$/);
    expect(lines[2]).toBe('100000010000-100000013000 rw-p 00000000 00:00 0 ');
    expect(parseMaps(process.mapsText()).map(({ pathname }) => pathname)).toContain('[stack]');
    const smaps = process.smapsText();
    const mine = smaps.slice(smaps.indexOf('100000010000-'));
    const value = (name: string) => Number(new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(mine)?.[1]);
    expect(['Size', 'Rss', 'Pss', 'Private_Dirty', 'Anonymous', 'Swap'].map(value)).toEqual([
      12, 8, 8, 8, 8, 0,
    ]);
    expect(mine).toMatch(/^VmFlags: rd wr mr mw me ac sd $/m);
    expect(mine).toMatch(/^Rss: {19}8 kB$/m);
  });

  it('divide shared pages between their owners and count what is swapped', () => {
    const { process } = start();
    mapPrivate(process, 0, 4);
    write(process, 0, 4);
    process.madvise(ARENA, 1, MADV.pageOut);
    process.fork();
    const mine = process.smapsText().slice(process.smapsText().indexOf('100000000000-'));
    expect(mine).toMatch(/^Rss: +12 kB\nPss: +6 kB$/m);
    expect(mine).toMatch(/^Swap: +4 kB\nSwapPss: +2 kB$/m);
  });
});

describe('PAGEMAP_SCAN', () => {
  const request = {
    startPage: ARENA,
    endPage: ARENA + 64,
    flags: 0,
    maximumRegions: 64,
    maximumPages: 0,
    categoryInverted: 0,
    categoryMask: SCAN_CATEGORY.softDirty,
    categoryAnyOfMask: 0,
    returnMask: SCAN_CATEGORY.softDirty,
  };
  const raw = {
    sizeBytes: 96,
    flags: 0n,
    startBytes: BigInt(ARENA) * 4096n,
    endBytes: BigInt(ARENA + 8) * 4096n,
    vectorLength: 8,
    maximumPages: 0,
    categoryInverted: 0n,
    categoryMask: 0n,
    categoryAnyOfMask: 0n,
    returnMask: 0n,
  };

  it('exists from 6.7 on and checks its argument', () => {
    const { process } = start();
    expect(process.scanPagemap(request)).toBe(-ERRNO.ENOTTY);
    const pagemap = pagemapOf(start({ version: '6.12' }).process);
    const result = (change: Partial<typeof raw>) => pagemap.ioctlScan({ ...raw, ...change }).result;
    expect(result({})).toBe(0);
    expect(result({ sizeBytes: 88 })).toBe(-ERRNO.EINVAL);
    expect(result({ flags: 4n })).toBe(-ERRNO.EINVAL);
    expect(result({ categoryMask: 256n })).toBe(-ERRNO.EINVAL);
    expect(result({ startBytes: raw.startBytes + 1n })).toBe(-ERRNO.EINVAL);
    expect(result({ endBytes: 1n << 60n })).toBe(-ERRNO.EFAULT);
    expect(result({ endBytes: raw.endBytes - 4095n })).toBe(0);
    const newer = pagemapOf(start({ version: '6.18' }).process);
    expect(newer.ioctlScan({ ...raw, categoryMask: 256n }).result).toBe(0);
  });

  it('stops when the array or the page limit is full, and says where', () => {
    const { process } = start({ version: '6.12' });
    mapPrivate(process, 0, 32);
    process.clearRefs('4');
    for (const page of [1, 2, 3, 7, 9]) write(process, page);
    const scan = (change: Partial<typeof request>) => {
      const answer = process.scanPagemap({ ...request, ...change });
      if (typeof answer === 'number') throw new Error(`scan: ${answer}`);
      const regions = answer.regions.map(
        ({ startPage, endPage }) => `${startPage - ARENA}-${endPage - ARENA - 1}`,
      );
      return `${regions.join(' ')} to ${answer.walkEndPage - ARENA}`;
    };
    expect(scan({})).toBe('1-3 7-7 9-9 to 64');
    expect(scan({ maximumRegions: 1 })).toBe('1-3 to 7');
    expect(scan({ maximumPages: 2 })).toBe('1-2 to 3');
    expect(scan({ maximumPages: 3 })).toBe('1-3 to 7');
    expect(scan({ maximumRegions: 0 })).toBe(' to 64');
    expect(scan({ categoryInverted: SCAN_CATEGORY.softDirty })).toBe('0-0 4-6 8-8 10-31 to 64');
  });

  it('gets and resets written pages with asynchronous write protection', () => {
    const { process } = start({ version: '6.12' });
    mapPrivate(process, 0, 8);
    write(process, 0, 8);
    const features = UFFD_FEATURE.writeProtectAsync | UFFD_FEATURE.writeProtectUnpopulated;
    const check = { ...request, flags: SCAN_FLAG.writeProtectMatching | SCAN_FLAG.checkAsynchronous };
    const written = { ...check, categoryMask: SCAN_CATEGORY.written, returnMask: SCAN_CATEGORY.written };
    expect(process.scanPagemap(written)).toBe(-ERRNO.EPERM);
    userfaultfdOf(process, features).register(ARENA, 8, UFFD_REGISTER.writeProtect);
    const pages = () => {
      const answer = process.scanPagemap({ ...written, endPage: ARENA + 8 });
      if (typeof answer === 'number') throw new Error(`scan: ${answer}`);
      return answer.regions.reduce((sum, { startPage, endPage }) => sum + endPage - startPage, 0);
    };
    expect(pages()).toBe(8);
    expect(pages()).toBe(0);
    write(process, 3, 2);
    read(process, 6);
    expect(pages()).toBe(2);
  });

  it('costs what it finds: a terabyte with a thousand dirty pages', () => {
    const { kernel, process } = start({ version: '6.12', content: COUNTING_CONTENT });
    const pages = 2 ** 28;
    process.mmap(ARENA, pages, WRITABLE, MAP.private | MAP.anonymous | MAP.fixed | MAP.noReserve);
    const spread = (index: number) => ARENA + ((index * 268_431) % pages);
    for (let index = 0; index < 5000; index++) process.storeFromStream(spread(index), 0, index);
    process.clearRefs('4');
    for (let index = 0; index < 1000; index++) process.storeFromStream(spread(index * 7), 0, index * 7);
    const terabyte = { ...request, endPage: ARENA + pages, maximumRegions: 2000 };
    const before = kernel.nanoseconds;
    const answer = process.scanPagemap(terabyte);
    if (typeof answer === 'number') throw new Error(`scan: ${answer}`);
    expect(answer.regions.reduce((sum, region) => sum + region.endPage - region.startPage, 0)).toBe(1000);
    expect(kernel.nanoseconds - before).toBeLessThan(1000 * 200 + 10_000);
    const times = Array.from({ length: 20 }, () => {
      const begin = performance.now();
      process.scanPagemap(terabyte);
      return performance.now() - begin;
    });
    expect(Math.min(...times)).toBeLessThan(5);
    expect(kernel.save().length).toBeLessThan(2 ** 20);
  });
});
