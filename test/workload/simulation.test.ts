import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IntegrityError } from '../../src/core/index.ts';
import { parseWorkload, Simulation, type Workload } from '../../src/workload/index.ts';
import { observe, oneProcess, start } from './helpers.ts';

/** Everything at once, small enough to be run hundreds of times. */
const BUSY = parseWorkload(
  `version: 1
name: busy
seed: 99
processes:
  - name: main
    regions:
      a: { size: 2MiB, resident: 1MiB, kind: anonymous }
      b: { size: 256KiB, resident: 64KiB, kind: file-private, content: { kind: text } }
      c: { size: 256KiB, resident: 128KiB, kind: file-shared, content: { kind: mix, compressible: 0.5 } }
      d: { size: 128KiB, resident: 64KiB, kind: shared-anonymous, content: { kind: zero } }
      e: { size: 4MiB, resident: 2MiB, kind: huge, content: { kind: random } }
      f: { size: 256KiB, resident: 64KiB, kind: heap }
      g: { size: 64KiB, kind: anonymous, mapped: false }
    phases:
      - duration: 7ms
        writes:
          - { region: a, pattern: zipf, rate: 20k/s, bytes: 64 }
          - { region: a, pattern: uniform, rate: 3333/s, bytes: 100 }
          - { region: b, pattern: sequential, rate: 1000/s, bytes: 16 }
          - { region: c, pattern: append, rate: 5000/s, bytes: 512 }
          - { region: d, pattern: hot-cold, hot: 0.1, probability: 0.9, rate: 2000/s, bytes: 8 }
          - { region: g, pattern: uniform, rate: 3000/s, bytes: 8 }
        reads:
          - { region: e, pattern: strided, stride: 64KiB, rate: 2000/s }
        events:
          - { at: 1ms, do: fork, program: child, count: 2 }
          - { at: 1500us, do: mmap, region: g, resident: 16KiB }
          - { at: 2ms, do: mremap, region: a, size: 3MiB, move: true }
          - { at: 3ms, do: madvise, advice: dontneed, region: a, from: 512KiB, span: 128KiB }
          - { at: 3ms, do: swap-out, region: b, share: 0.5 }
          - { at: 4ms, do: brk, region: f, size: 512KiB }
          - { at: 5ms, do: munmap, region: g }
          - { at: 3500us, every: 500us, do: mprotect, region: d, from: 0, span: 96KiB, access: read }
      - duration: 4ms
        writes:
          - { region: a, pattern: rewrite-in-place, changed: 0.5, rate: 9000/s, bytes: 1000 }
          - { region: e, pattern: uniform, rate: 1000/s, bytes: 4096 }
        events:
          - { at: 500us, do: swap-out, region: a, share: 0.5 }
          - { at: 1ms, do: thp, region: e, action: split }
          - { at: 2ms, do: mprotect, region: d, access: read-write }
          - { at: 3ms, do: mremap, region: a, size: 2MiB }
programs:
  child:
    regions:
      own: { size: 256KiB, kind: anonymous }
    phases:
      - duration: 3ms
        writes:
          - { region: a, pattern: zipf, rate: 10k/s, bytes: 64 }
          - { region: own, pattern: append, rate: 9000/s, bytes: 300 }
          - { region: d, pattern: uniform, rate: 1000/s, bytes: 8 }
`,
  'busy.yaml',
);

function uncut(workload: Workload, microseconds: number): unknown {
  const simulation = start(workload);
  simulation.run(microseconds);
  return observe(simulation);
}

describe('Simulation', () => {
  it('does the stated number of writes and reads', () => {
    const simulation = start(
      oneProcess(`    regions:
      a: { size: 1MiB, kind: anonymous }
    phases:
      - duration: 1s
        writes:
          - { region: a, pattern: uniform, rate: 777/s, bytes: 8 }
          - { region: a, pattern: sequential, rate: 30/min, bytes: 8 }
        reads:
          - { region: a, pattern: uniform, rate: 100/s }
`),
    );
    simulation.run(4_000_000);
    expect(simulation.programs[0]!.counts).toEqual({
      writes: 4 * 777 + 2,
      reads: 400,
      refused: 0,
      failedEvents: 0,
    });
    expect(simulation.programs[0]!.repetitions).toBe(3);
  });

  it('exercises what the cut property is about', () => {
    const simulation = start(BUSY);
    simulation.run(30_000);
    const [main] = simulation.programs;
    expect(main!.counts.refused).toBeGreaterThan(0);
    expect(main!.counts.failedEvents).toBe(0);
    expect(main!.repetitions).toBe(2);
    expect(simulation.exited.get('child')!.processes).toBeGreaterThan(2);
    const { faults } = simulation.kernel.counters();
    for (const kind of ['anonymousNew', 'copyOnWrite', 'fileRead', 'huge', 'swapIn', 'signal'] as const) {
      expect([kind, faults[kind] > 0]).toEqual([kind, true]);
    }
  });

  it('is the same run twice', () => {
    expect(uncut(BUSY, 20_000)).toEqual(uncut(BUSY, 20_000));
  });

  it('may be cut anywhere', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9000 }), { minLength: 1, maxLength: 5 }), (cuts) => {
        const simulation = start(BUSY);
        for (const cut of cuts) simulation.run(cut);
        const total = cuts.reduce((sum, cut) => sum + cut, 0);
        expect(observe(simulation)).toEqual(uncut(BUSY, total));
      }),
      { numRuns: 12 },
    );
  });

  it('may be saved and restored anywhere', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9000 }), { minLength: 1, maxLength: 4 }), (cuts) => {
        let simulation = start(BUSY);
        for (const cut of cuts) {
          simulation.run(cut);
          simulation = Simulation.restore(BUSY, simulation.save().slice());
        }
        const total = cuts.reduce((sum, cut) => sum + cut, 0);
        expect(observe(simulation)).toEqual(uncut(BUSY, total));
      }),
      { numRuns: 12 },
    );
  });

  it('writes the same under tracking', () => {
    const contents = (tracked: boolean) => {
      const simulation = start(BUSY);
      for (let round = 0; round < 10; round++) {
        if (tracked) for (const { process } of simulation.programs) process.clearRefs('4');
        simulation.run(1500);
      }
      const bytes = new Uint8Array(4096);
      const pages: string[] = [];
      for (const { process } of simulation.programs) {
        for (const vma of process.vmas()) {
          for (let page = vma.startPage; page < vma.endPage; page += 3) {
            if (process.peekPage(page, bytes)) pages.push(Buffer.from(bytes).toString('base64'));
          }
        }
      }
      return { pages, faults: simulation.kernel.counters().faults.writeProtect };
    };
    const plain = contents(false);
    const tracked = contents(true);
    expect(tracked.pages).toEqual(plain.pages);
    expect(tracked.faults).toBeGreaterThan(plain.faults + 50);
  });

  it('gives processes of one program different contents and places', () => {
    const simulation = start(BUSY);
    simulation.run(3000);
    const children = simulation.programs.filter((program) => program.definition.name === 'child');
    expect(children.length).toBe(2);
    const [first, second] = children.map((program) => {
      const own = program.regions.get('own')!;
      const bytes = new Uint8Array(4096);
      expect(program.process.peekPage(own.startPage, bytes)).toBe(true);
      return Buffer.from(bytes).toString('base64');
    });
    expect(first).not.toBe(second);
  });

  it('lets a stream rest while its region is not mapped', () => {
    const simulation = start(
      oneProcess(`    regions:
      a: { size: 64KiB, kind: anonymous, mapped: false }
    phases:
      - duration: 10ms
        writes:
          - { region: a, pattern: sequential, rate: 10k/s, bytes: 8 }
        events:
          - { at: 2ms, do: mmap, region: a }
          - { at: 5ms, do: munmap, region: a }
`),
    );
    simulation.run(10_000);
    expect(simulation.programs[0]!.counts).toEqual({ writes: 30, reads: 0, refused: 0, failedEvents: 0 });
  });

  it('counts what the kernel refuses and goes on', () => {
    const simulation = start(
      oneProcess(`    regions:
      a: { size: 64KiB, resident: 64KiB, kind: anonymous }
    phases:
      - duration: 10ms
        writes:
          - { region: a, pattern: sequential, rate: 10k/s, bytes: 8 }
        events:
          - { at: 0s, do: mprotect, region: a, access: read }
          - { at: 5ms, do: mprotect, region: a, access: read-write }
          - { at: 6ms, do: munmap, region: a }
          - { at: 7ms, do: madvise, region: a, advice: dontneed }
`),
    );
    simulation.run(10_000);
    expect(simulation.programs[0]!.counts).toEqual({ writes: 10, reads: 0, refused: 50, failedEvents: 1 });
  });

  it('refuses regions for which there is no address space, and counts later ones as failed', () => {
    const regions = (count: number, last: string) =>
      Array.from(
        { length: count },
        (_, index) => `      r${index}: { size: 16TiB, kind: anonymous${index === count - 1 ? last : ''} }\n`,
      ).join('');
    expect(() => start(oneProcess(`    regions:\n${regions(9, '')}`))).toThrow(
      "region 'r7' of 'p' cannot be mapped: ENOMEM",
    );
    const simulation = start(
      oneProcess(`    regions:
${regions(8, ', mapped: false')}    phases:
      - duration: 1ms
        events:
          - { at: 0s, do: mmap, region: r7 }
`),
    );
    simulation.run(1000);
    expect(simulation.programs[0]!.counts.failedEvents).toBe(1);
  });

  it('ends programs as their files say', () => {
    const ending = (atEnd: string) => {
      const simulation = start(
        oneProcess(`    regions:
      a: { size: 64KiB, kind: anonymous }
    phases:
      - duration: 1ms
        writes:
          - { region: a, pattern: uniform, rate: 10k/s, bytes: 8 }
    atEnd: ${atEnd}
`),
      );
      simulation.run(5000);
      return simulation.programs.map((program) => [program.status, program.counts.writes]);
    };
    expect(ending('repeat')).toEqual([['running', 50]]);
    expect(ending('idle')).toEqual([['idle', 10]]);
    expect(ending('exit')).toEqual([]);
  });

  it('holds a sparse terabyte in memory for what is touched', () => {
    const simulation = start(
      oneProcess(`    regions:
      a: { size: 1TiB, kind: anonymous }
    phases:
      - duration: 1s
        writes:
          - { region: a, pattern: uniform, rate: 2000/s, bytes: 64 }
          - { region: a, pattern: zipf, rate: 2000/s, bytes: 64 }
`),
    );
    simulation.run(1_000_000);
    expect(simulation.programs[0]!.counts.writes).toBe(4000);
    expect(simulation.programs[0]!.process.residentPages()).toBeGreaterThan(3000);
    expect(simulation.save().length).toBeLessThan(2 ** 20);
  });

  it('refuses a damaged state, and one of another workload', () => {
    const simulation = start(BUSY);
    simulation.run(2000);
    const state = simulation.save().slice();
    expect(() => Simulation.restore(BUSY, state.subarray(0, state.length - 1))).toThrow(IntegrityError);
    expect(() => Simulation.restore(BUSY, new Uint8Array([9, ...state.subarray(1)]))).toThrow(IntegrityError);
    const other = oneProcess('    phases: []\n');
    expect(() => Simulation.restore(other, state)).toThrow(IntegrityError);
  });
});
