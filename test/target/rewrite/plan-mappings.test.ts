import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERRNO, Kernel, MADV, MAP, MREMAP, OpenFile, PROT, type Process } from '../../../src/kernel/index.ts';
import { layoutDifference } from '../../../src/target/rewrite/compare-layouts.ts';
import { ADVICE, type MappingOperation } from '../../../src/target/rewrite/mapping-operations.ts';
import { planMappings } from '../../../src/target/rewrite/plan-mappings.ts';
import type { Vma } from '../../../src/target/view.ts';

const ARENA = 0x100000000;
const PAGES = 40;
const FILES = ['/lib/one.so', '/srv/two'];

/** A system call of a program, on pages of the arena. */
type Step =
  | {
      do: 'map';
      page: number;
      count: number;
      kind: 'private' | 'file' | 'shared-file' | 'stack';
      prot: number;
    }
  | { do: 'unmap' | 'lock' | 'unlock'; page: number; count: number }
  | { do: 'protect'; page: number; count: number; prot: number }
  | { do: 'advise'; page: number; count: number; advice: keyof typeof ADVICE }
  | { do: 'move'; page: number; count: number; to: number }
  | { do: 'write'; page: number };

const page = fc.nat(PAGES - 1);
const count = fc.integer({ min: 1, max: 10 });
const prot = fc.constantFrom(PROT.none, PROT.read, PROT.read | PROT.write, PROT.read | PROT.execute);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('map' as const),
      page,
      count,
      kind: fc.constantFrom('private' as const, 'file' as const, 'shared-file' as const, 'stack' as const),
      prot,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom('unmap' as const, 'lock' as const, 'unlock' as const),
      page,
      count,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('protect' as const), page, count, prot }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('advise' as const),
      page,
      count,
      advice: fc.constantFrom(
        ...(['doNotFork', 'doFork', 'doNotDump', 'doDump', 'wipeOnFork', 'keepOnFork'] as const),
        ...(['random', 'sequential', 'normal', 'mergeable', 'unmergeable'] as const),
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('move' as const), page, count, to: page }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('write' as const), page }) },
);

class Machine {
  readonly process: Process;
  readonly #files = new Map<string, OpenFile>();

  constructor() {
    const kernel = new Kernel({ version: '6.12' });
    for (const [index, path] of FILES.entries()) {
      kernel.createFile(path, 64, 65 + index);
      const file = kernel.openFile(path, true);
      if (!(file instanceof OpenFile)) throw new Error(`open ${path}: ${file}`);
      this.#files.set(path, file);
    }
    this.process = kernel.spawn();
  }

  /** The arena's mappings. */
  vmas(): Vma[] {
    return this.process.vmas().filter(({ startPage }) => startPage >= ARENA && startPage < ARENA + 4096);
  }

  do(one: Step): void {
    const { process } = this;
    const at = ARENA + one.page;
    switch (one.do) {
      case 'map':
        this.#map(at, one.count, one.prot, one.kind, one.page);
        return;
      case 'unmap':
        process.munmap(at, one.count);
        return;
      case 'lock':
        process.mlock(at, one.count);
        return;
      case 'unlock':
        process.munlock(at, one.count);
        return;
      case 'protect':
        process.mprotect(at, one.count, one.prot);
        return;
      case 'advise':
        process.madvise(at, one.count, ADVICE[one.advice]);
        return;
      case 'move':
        process.mremap(at, one.count, one.count, MREMAP.mayMove | MREMAP.fixed, ARENA + one.to);
        return;
      case 'write':
        process.store(at, 0, 1);
    }
  }

  #map(at: number, pages: number, rights: number, kind: string, offset: number): void {
    const { process } = this;
    if (kind === 'private') process.mmap(at, pages, rights, MAP.private | MAP.anonymous | MAP.fixed);
    else if (kind === 'stack')
      process.mmap(at, pages, rights, MAP.private | MAP.anonymous | MAP.fixed | MAP.growsDown);
    else if (kind === 'file')
      process.mmap(at, pages, rights, MAP.private | MAP.fixed, this.#files.get(FILES[0]!)!, offset);
    else process.mmap(at, pages, rights, MAP.shared | MAP.fixed, this.#files.get(FILES[1]!)!, offset);
  }

  /** Carries out what a plan says, as the executor would. @returns what the kernel refused */
  execute(operation: MappingOperation): number {
    const { process } = this;
    if (operation.kind === 'move') {
      const { fromPage, toPage, pageCount } = operation;
      return process.mremap(fromPage, pageCount, pageCount, MREMAP.mayMove | MREMAP.fixed, toPage);
    }
    const { startPage, endPage } = operation;
    const pages = endPage - startPage;
    switch (operation.kind) {
      case 'unmap':
        return process.munmap(startPage, pages);
      case 'map':
      case 'grow':
        return this.#mapAs(startPage, pages, operation.vma);
      case 'protect':
        return process.mprotect(startPage, pages, rightsOf(operation));
      case 'advise':
        return process.madvise(startPage, pages, ADVICE[operation.advice]);
      case 'lock':
        // What cannot be read is locked, and cannot be filled.
        return Math.max(process.mlock(startPage, pages), -ERRNO.ENOMEM) + ERRNO.ENOMEM;
      case 'unlock':
        return process.munlock(startPage, pages);
      case 'name':
        return 0;
    }
  }

  #mapAs(startPage: number, pages: number, vma: Vma): number {
    const down = vma.flags.includes('gd') ? MAP.growsDown : 0;
    if (vma.inode === 0) {
      const flags = MAP.private | MAP.anonymous | MAP.fixed | down;
      return this.process.mmap(startPage, pages, rightsOf(vma), flags);
    }
    const flags = (vma.shared ? MAP.shared : MAP.private) | MAP.fixed;
    const offset = vma.offsetPages + startPage - vma.startPage;
    return this.process.mmap(startPage, pages, rightsOf(vma), flags, this.#files.get(vma.pathname)!, offset);
  }
}

function rightsOf({ read, write, execute }: Pick<Vma, 'read' | 'write' | 'execute'>): number {
  return (read ? PROT.read : 0) | (write ? PROT.write : 0) | (execute ? PROT.execute : 0);
}

/** Flags that operations bring back, of every page. */
function lastingFlags(vmas: readonly Vma[]): string[] {
  return vmas.flatMap(({ startPage, endPage, flags }) => {
    const lasting = flags.filter((flag) => /^(?:dc|dd|wf|mg|rr|sr|lo|gd)$/.test(flag)).join(' ');
    return Array.from({ length: endPage - startPage }, (_, index) => `${startPage + index} ${lasting}`);
  });
}

describe('planMappings', () => {
  it('leads from any layout of a program to any other one of it, on the simulated kernel', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 25 }),
        fc.array(step, { maxLength: 25 }),
        fc.array(step, { maxLength: 25 }),
        (common, earlier, later) => {
          const [then, now] = [new Machine(), new Machine()];
          for (const one of [...common, ...earlier]) then.do(one);
          for (const one of [...common, ...later]) now.do(one);
          const wanted = then.vmas();
          const plan = planMappings(now.vmas(), wanted);
          expect(plan.obstacles).toEqual([]);
          for (const operation of plan.operations) {
            expect(now.execute(operation), JSON.stringify(operation)).toBeGreaterThanOrEqual(0);
          }
          expect(layoutDifference(now.vmas(), wanted, () => false)).toBeUndefined();
          expect(lastingFlags(now.vmas())).toEqual(lastingFlags(wanted));
          expect(planMappings(now.vmas(), wanted).operations).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('keeps what pages hold where they are mapped to the same before and after, and drops the rest', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), fc.array(step, { maxLength: 25 }), (earlier, later) => {
        const [then, now] = [new Machine(), new Machine()];
        for (const one of earlier) then.do(one);
        for (const one of later) now.do(one);
        const before = now.vmas();
        const held = new Map<number, number>();
        for (const { startPage, endPage, shared } of before) {
          for (let at = startPage; at < endPage && !shared; at++) {
            if (now.process.memWrite(at, 5, Uint8Array.of(at & 255)) === 1) held.set(at, at & 255);
          }
        }
        const plan = planMappings(before, then.vmas());
        for (const operation of plan.operations) now.execute(operation);
        const into = new Uint8Array(1);
        for (const [at, value] of held) {
          expect(plan.kept.has(at) || plan.dropped.has(at)).toBe(true);
          if (!plan.kept.has(at)) continue;
          now.process.memRead(at, 5, into);
          expect(into[0]).toBe(value);
        }
        expect(plan.kept.intersection(plan.fresh).pageCount).toBe(0);
        expect(plan.kept.intersection(plan.dropped).pageCount).toBe(0);
      }),
      { numRuns: 100 },
    );
  });
});

describe('planMappings with mappings of the kernel', () => {
  const vma = (startPage: number, endPage: number, more: Partial<Vma> = {}): Vma => ({
    startPage,
    endPage,
    read: true,
    write: false,
    execute: false,
    shared: false,
    offsetPages: 0,
    deviceMajor: 0,
    deviceMinor: 0,
    inode: 0,
    pathname: '',
    flags: ['rd'],
    ...more,
  });
  const vdso = (startPage: number) => vma(startPage, startPage + 2, { pathname: '[vdso]', execute: true });
  const vvar = (startPage: number) => vma(startPage, startPage + 4, { pathname: '[vvar]' });

  it('moves the vDSO to where it was, and unmaps first what is in the way', () => {
    const plan = planMappings([vma(0x100, 0x110), vdso(0x900)], [vdso(0x104)]);
    expect(plan.operations).toEqual([
      { kind: 'unmap', startPage: 0x100, endPage: 0x110 },
      { kind: 'move', fromPage: 0x900, toPage: 0x104, pageCount: 2 },
    ]);
    expect(plan.obstacles).toEqual([]);
  });

  it('goes by way of free addresses where one would land on the other', () => {
    const plan = planMappings([vvar(0x900), vdso(0x904)], [vvar(0x902), vdso(0x906)]);
    const moves = plan.operations.filter((operation) => operation.kind === 'move');
    expect(moves).toHaveLength(4);
    expect(moves.slice(0, 2).map(({ fromPage }) => fromPage)).toEqual([0x900, 0x904]);
    expect(moves.slice(2).map(({ toPage }) => toPage)).toEqual([0x902, 0x906]);
    expect(moves[0]!.toPage).toBe(moves[2]!.fromPage);
  });

  it('leaves [vsyscall] alone, and cannot make a vDSO', () => {
    const vsyscall = vma(0xffffffffff600, 0xffffffffff601, { pathname: '[vsyscall]', read: false });
    expect(planMappings([vsyscall], []).operations).toEqual([]);
    const { obstacles } = planMappings([vsyscall], [vdso(0x900), vsyscall]);
    expect(obstacles).toHaveLength(1);
    expect(obstacles[0]!.problem).toContain('[vdso]');
  });

  it.each([
    ['a device', { pathname: '/dev/dri/card0', inode: 7 }, /device memory/],
    ['a System V segment', { pathname: '/SYSV00000000 (deleted)', inode: 7, shared: true }, /System V/],
    ['huge pages', { pathname: '/anon_hugepage (deleted)', inode: 7 }, /huge pages/],
    ['the ring of asynchronous I/O', { pathname: '/[aio] (deleted)', inode: 7 }, /asynchronous/],
    ['a kernel object', { pathname: 'anon_inode:[perf_event]', inode: 7, shared: true }, /kernel object/],
  ])('names %s as an obstacle if it is gone, and keeps it if it is not', (_, more, problem) => {
    const one = vma(0x100, 0x110, more);
    const plan = planMappings([], [one]);
    expect(plan.operations).toEqual([]);
    expect(plan.obstacles).toEqual([
      { startPage: 0x100, endPage: 0x110, problem: expect.stringMatching(problem) },
    ]);
    expect(planMappings([one], [one])).toMatchObject({ operations: [], obstacles: [] });
  });

  it('lets a stack grow downwards instead of mapping its lower part', () => {
    const stack = (startPage: number) =>
      vma(startPage, 0x7ff000, { write: true, pathname: '[stack]', flags: ['rd', 'wr', 'gd', 'ac'] });
    const plan = planMappings([stack(0x7fe000)], [stack(0x7fd000)]);
    expect(plan.operations).toMatchObject([
      { kind: 'grow', startPage: 0x7fd000, endPage: 0x7fe000 },
      { kind: 'protect', startPage: 0x7fd000, endPage: 0x7fe000, read: true, write: true, execute: false },
    ]);
    expect(planMappings([stack(0x7fd000)], [stack(0x7fe000)]).operations).toEqual([
      { kind: 'unmap', startPage: 0x7fd000, endPage: 0x7fe000 },
    ]);
  });

  it('cannot unmap what was sealed', () => {
    const sealed = vma(0x100, 0x110, { flags: ['rd', 'sl'] });
    const plan = planMappings([sealed], []);
    expect(plan.operations).toEqual([]);
    expect(plan.obstacles[0]!.problem).toContain('sealed');
  });

  it('gives names to anonymous memory and takes them away', () => {
    const named = (name: string) => vma(0x100, 0x110, { pathname: name });
    expect(planMappings([named('')], [named('[anon:glibc: malloc]')]).operations).toEqual([
      { kind: 'name', startPage: 0x100, endPage: 0x110, name: 'glibc: malloc' },
    ]);
    expect(planMappings([named('[anon:x]')], [named('')]).operations).toEqual([
      { kind: 'name', startPage: 0x100, endPage: 0x110, name: '' },
    ]);
    expect(planMappings([named('[heap]')], [named('')]).operations).toEqual([]);
  });

  it('knows a file by its inode and place, not by its name alone', () => {
    const file = (inode: number, offsetPages = 0) =>
      vma(0x100, 0x110, { pathname: '/lib/a.so', inode, deviceMajor: 254, offsetPages });
    expect(planMappings([file(3)], [file(4)]).operations.map(({ kind }) => kind)).toEqual(['unmap', 'map']);
    expect(planMappings([file(3, 1)], [file(3)]).operations.map(({ kind }) => kind)).toEqual([
      'unmap',
      'map',
    ]);
    const deleted = { ...file(3), pathname: '/lib/a.so (deleted)' };
    expect(planMappings([deleted], [file(3)]).operations).toEqual([]);
  });
});

it('advice has the numbers of the simulated kernel', () => {
  expect(ADVICE).toMatchObject({
    doNotFork: MADV.dontFork,
    doFork: MADV.doFork,
    doNotDump: MADV.dontDump,
    wipeOnFork: MADV.wipeOnFork,
    mergeable: MADV.mergeable,
    huge: MADV.hugePage,
    noHuge: MADV.noHugePage,
    random: MADV.random,
  });
});
