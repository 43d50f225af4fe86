import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ACCESS_SIGNAL,
  KERNEL_VERSIONS,
  Kernel,
  MADV,
  MAP,
  MREMAP,
  PROT,
  type Process,
} from '../../src/kernel/index.ts';
import { ARENA, COUNTING_CONTENT, mapPrivate, opened, start, WRITABLE } from './helpers.ts';

const PAGES = 48;

type Step =
  | { do: 'store'; page: number; count: number; value: number }
  | { do: 'stream'; page: number; stream: number }
  | { do: 'load'; page: number }
  | { do: 'map'; page: number; count: number; kind: 'private' | 'shared' | 'file' }
  | {
      do: 'unmap' | 'discard' | 'pageOut' | 'protect' | 'unprotect' | 'mlock' | 'munlock';
      page: number;
      count: number;
    }
  | { do: 'move'; page: number; count: number; to: number }
  | { do: 'fork' | 'clear' | 'exit' | 'swapOff' | 'huge'; page: number };

const page = fc.nat(PAGES - 1);
const count = fc.integer({ min: 1, max: 12 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('store' as const),
      page,
      count,
      value: fc.integer({ min: 1, max: 255 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('stream' as const), page, stream: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('load' as const), page }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('map' as const),
      page,
      count,
      kind: fc.constantFrom('private' as const, 'shared' as const, 'file' as const),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'unmap' as const,
        'discard' as const,
        'pageOut' as const,
        'protect' as const,
        'unprotect' as const,
        'mlock' as const,
        'munlock' as const,
      ),
      page,
      count,
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('move' as const), page, count, to: page }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom(
        'fork' as const,
        'clear' as const,
        'exit' as const,
        'swapOff' as const,
        'huge' as const,
      ),
      page,
    }),
  },
);

/** Runs one step; the process that acts is chosen by the page, so that relatives mix. */
function run(kernel: Kernel, step: Step): void {
  const living = kernel.processes().filter((process) => process.state === 'running');
  const process = living[step.page % living.length]!;
  const at = ARENA + step.page;
  switch (step.do) {
    case 'store':
      for (let index = 0; index < step.count; index++) process.store(at + index, step.value, step.value);
      return;
    case 'stream':
      process.storeFromStream(at, step.stream, step.page);
      return;
    case 'load':
      process.load(at, step.page);
      return;
    case 'map': {
      if (step.kind === 'file')
        process.mmap(at, step.count, WRITABLE, MAP.private | MAP.fixed, opened(kernel, 'f'), 1);
      else {
        const sharing = step.kind === 'shared' ? MAP.shared : MAP.private;
        process.mmap(at, step.count, WRITABLE, sharing | MAP.anonymous | MAP.fixed);
      }
      return;
    }
    case 'unmap':
      process.munmap(at, step.count);
      return;
    case 'discard':
      process.madvise(at, step.count, MADV.dontNeed);
      return;
    case 'pageOut':
      process.madvise(at, step.count, MADV.pageOut);
      return;
    case 'protect':
      process.mprotect(at, step.count, PROT.read);
      return;
    case 'unprotect':
      process.mprotect(at, step.count, WRITABLE);
      return;
    case 'mlock':
      process.mlock(at, step.count);
      return;
    case 'munlock':
      process.munlock(at, step.count);
      return;
    case 'move':
      process.mremap(at, step.count, step.count, MREMAP.mayMove | MREMAP.fixed, ARENA + step.to);
      return;
    case 'fork':
      if (living.length < 4) process.fork();
      return;
    case 'exit':
      if (living.length > 1) process.exit();
      return;
    case 'clear':
      process.clearRefs('4');
      return;
    case 'swapOff':
      kernel.swapOff();
      kernel.swapOn();
      return;
    case 'huge': {
      kernel.setThp('always');
      const block = ARENA + 512;
      process.mmap(block, 512, WRITABLE, MAP.private | MAP.anonymous | MAP.fixed);
      process.store(block + step.page, 0, 1);
      if (step.page % 3 === 0) process.madvise(block + step.page, 40, MADV.pageOut);
      kernel.setThp('never');
    }
  }
}

/** Everything that can be observed of a kernel, frames and counters included. */
function observe(kernel: Kernel): unknown {
  const contents = new Uint8Array(4096);
  return {
    counters: kernel.counters(),
    processes: kernel.processes().map((process) => {
      if (process.state === 'zombie') return [process.pid, 'zombie'];
      const words = new Uint32Array(2048);
      process.readPagemapWords(ARENA, 1024, words);
      const bytes = Array.from({ length: PAGES }, (_, index) => {
        process.peekPage(ARENA + index, contents);
        return Buffer.from(contents).toString('latin1').replace(/\0+/g, '.');
      });
      return [process.pid, process.parentPid, process.smapsText(), Array.from(words), bytes];
    }),
  };
}

function fresh(version: (typeof KERNEL_VERSIONS)[number]): Kernel {
  const { kernel } = start({ version, content: COUNTING_CONTENT });
  kernel.createFile('f', 16, 102);
  return kernel;
}

const version = fc.constantFrom(...KERNEL_VERSIONS);

describe('save and restore', () => {
  it('cut a run anywhere without anybody noticing, frame numbers included', () => {
    fc.assert(
      fc.property(version, fc.array(step, { maxLength: 60 }), fc.nat(60), (version, steps, cut) => {
        const whole = fresh(version);
        let parts = fresh(version);
        steps.forEach((step, index) => {
          if (index === cut) parts = Kernel.restore(parts.save(), { content: COUNTING_CONTENT });
          run(whole, step);
          run(parts, step);
        });
        expect(observe(parts)).toEqual(observe(whole));
        expect(parts.save()).toEqual(whole.save());
        const restored = Kernel.restore(whole.save(), { content: COUNTING_CONTENT });
        expect(observe(restored)).toEqual(observe(whole));
      }),
      { numRuns: 120 },
    );
  });

  it('refuses bytes that are no saved kernel', () => {
    const bytes = fresh('6.1').save();
    expect(() => Kernel.restore(bytes.subarray(0, bytes.length - 3))).toThrow(/damaged/);
    expect(() => Kernel.restore(Uint8Array.of(99, ...bytes.subarray(1)))).toThrow(/format version 99/);
  });
});

/** The memory of private mappings as a program sees it: page to its bytes, by process. */
class Oracle {
  readonly mapped = new Map<number, Uint8Array>();
  readonly writable = new Set<number>();

  fork(): Oracle {
    const child = new Oracle();
    for (const [page, bytes] of this.mapped) child.mapped.set(page, bytes.slice());
    for (const page of this.writable) child.writable.add(page);
    return child;
  }

  map(page: number, count: number): void {
    for (let at = page; at < page + count; at++) {
      this.mapped.set(at, new Uint8Array(4096));
      this.writable.add(at);
    }
  }

  unmap(page: number, count: number): void {
    for (let at = page; at < page + count; at++) {
      this.mapped.delete(at);
      this.writable.delete(at);
    }
  }
}

describe('contents and soft-dirty', () => {
  type Pair = { process: Process; oracle: Oracle };

  /** A step on private memory, on the kernel and on the oracle alike; pages stored to are added to `stored`. */
  function both(pairs: Pair[], step: Step, stored: Map<Pair, Set<number>>): void {
    const pair = pairs[step.page % pairs.length]!;
    const { process, oracle } = pair;
    const at = ARENA + step.page;
    if (step.do === 'store') {
      for (let index = 0; index < step.count; index++) {
        const result = process.store(at + index, step.value, step.value);
        expect(result === 0).toBe(oracle.writable.has(step.page + index));
        if (result !== 0) continue;
        oracle.mapped.get(step.page + index)![step.value] = step.value;
        stored.get(pair)!.add(step.page + index);
      }
    } else if (step.do === 'stream') {
      if (process.storeFromStream(at, step.stream, step.page) === 0) {
        // The oracle learns what the program reads back: streams are checked against bytes elsewhere.
        process.loadPage(at, oracle.mapped.get(step.page)!);
        stored.get(pair)!.add(step.page);
      }
    } else if (step.do === 'load') {
      const expected = oracle.mapped.get(step.page);
      const loaded = process.load(at, 7);
      expect(loaded).toBe(expected === undefined ? ACCESS_SIGNAL.segmentation : expected[7]);
    } else if (step.do === 'map') {
      mapPrivate(process, step.page, step.count);
      oracle.map(step.page, step.count);
      for (let index = 0; index < step.count; index++) stored.get(pair)!.delete(step.page + index);
    } else if (step.do === 'unmap') {
      process.munmap(at, step.count);
      oracle.unmap(step.page, step.count);
    } else if (step.do === 'discard') {
      process.madvise(at, step.count, MADV.dontNeed);
      for (let index = 0; index < step.count; index++) {
        oracle.mapped.get(step.page + index)?.fill(0);
        stored.get(pair)!.delete(step.page + index);
      }
    } else if (step.do === 'pageOut') process.madvise(at, step.count, MADV.pageOut);
    else if (step.do === 'protect' || step.do === 'unprotect') {
      for (let index = 0; index < step.count; index++) {
        if (process.mprotect(at + index, 1, step.do === 'protect' ? PROT.read : WRITABLE) !== 0) continue;
        if (step.do === 'protect') oracle.writable.delete(step.page + index);
        else oracle.writable.add(step.page + index);
      }
    } else if (step.do === 'fork' && pairs.length < 3) {
      const child = { process: process.fork(), oracle: oracle.fork() };
      pairs.push(child);
      stored.set(child, new Set());
      child.process.clearRefs('4');
    } else if (step.do === 'clear') {
      process.clearRefs('4');
      stored.get(pair)!.clear();
    } else if (step.do === 'swapOff') {
      process.kernel.swapOff();
      process.kernel.swapOn();
    }
  }

  it('are those of a map from pages to bytes, and no store after a clear is missed', () => {
    fc.assert(
      fc.property(version, fc.array(step, { maxLength: 80 }), (version, steps) => {
        const { process } = start({ version, content: COUNTING_CONTENT });
        const first = { process, oracle: new Oracle() };
        const pairs: Pair[] = [first];
        const stored = new Map<Pair, Set<number>>([[first, new Set<number>()]]);
        for (const step of steps) both(pairs, step, stored);
        const bytes = new Uint8Array(4096);
        for (const { process, oracle } of pairs) {
          for (let page = 0; page < PAGES + 12; page++) {
            process.peekPage(ARENA + page, bytes);
            const expected = oracle.mapped.get(page) ?? new Uint8Array(4096);
            expect(Buffer.compare(bytes, expected), `page ${page}`).toBe(0);
          }
        }
        const words = new Uint32Array(2);
        for (const [{ process, oracle }, pages] of stored) {
          for (const page of pages) {
            if (!oracle.mapped.has(page)) continue;
            process.readPagemapWords(ARENA + page, 1, words);
            expect(words[1]! & 0x00800000, `page ${page} was stored to`).not.toBe(0);
          }
        }
      }),
      { numRuns: 150 },
    );
  });

  it('come to the same bytes by descriptions and by applied stores', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ page: fc.nat(3), stream: fc.nat(1) }), { maxLength: 40 }),
        (stores) => {
          const described = start({ content: COUNTING_CONTENT }).process;
          const real = start({ content: COUNTING_CONTENT }).process;
          for (const process of [described, real]) mapPrivate(process, 0, 4);
          // A byte stored by hand makes a page real from the start; writing back what was there changes nothing.
          for (let page = 0; page < 4; page++) real.store(ARENA + page, 4095, 0);
          const [left, right] = [new Uint8Array(4096), new Uint8Array(4096)];
          for (const { page, stream } of stores) {
            described.storeFromStream(ARENA + page, stream, page);
            real.storeFromStream(ARENA + page, stream, page);
          }
          for (let page = 0; page < 4; page++) {
            described.peekPage(ARENA + page, left);
            real.peekPage(ARENA + page, right);
            expect(Buffer.compare(left, right)).toBe(0);
          }
        },
      ),
    );
  });
});
