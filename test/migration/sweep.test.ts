import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/core/index.ts';
import { meetsLimit } from '../../src/migration/advise.ts';
import {
  type Combination,
  type MemorySource,
  parseSweep,
  type RehearsalOptions,
  rehearse,
  type SweepCell,
  sweep,
} from '../../src/migration/index.ts';
import { frontierOf } from '../../src/migration/sweep/frontier.ts';

describe('parseSweep()', () => {
  it('reads lists and ranges, commas between values and between axes', () => {
    const axes = parseSweep('bandwidth=1..40Gbit/s:log8,downtime-limit=50ms,300ms,1s,policy=qemu,clark');
    expect(axes.map(({ name, values }) => [name, values.map(({ label }) => label)])).toEqual([
      [
        'bandwidth',
        [
          '1Gbit/s',
          '1.69Gbit/s',
          '2.87Gbit/s',
          '4.86Gbit/s',
          '8.23Gbit/s',
          '13.9Gbit/s',
          '23.6Gbit/s',
          '40Gbit/s',
        ],
      ],
      ['downtime-limit', ['50ms', '300ms', '1s']],
      ['policy', ['qemu', 'clark']],
    ]);
    expect(axes[0]!.values[0]!.value).toBe(125e6);
    expect(axes[1]!.values.map(({ value }) => value)).toEqual([50_000, 300_000, 1e6]);
  });

  it('spreads values evenly by their differences, too, and whole ones where only those make sense', () => {
    const [rtt, channels, xbzrle] = parseSweep('rtt=1ms..9ms:lin5,multifd-channels=1..8:log20,xbzrle=on,off');
    expect(rtt!.values.map(({ value }) => value)).toEqual([1000, 3000, 5000, 7000, 9000]);
    expect(channels!.values.map(({ value }) => value)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(xbzrle!.values.map(({ value }) => value)).toEqual([true, false]);
  });

  it.each([
    ['', /begins with the name/],
    ['1Gbit/s,bandwidth=2Gbit/s', /begins with the name/],
    ['speed=1', /'speed' cannot be swept/],
    ['constructor=1', /cannot be swept/],
    ['bandwidth=', /bandwidth: bandwidth '' is not a bandwidth/],
    ['bandwidth=0Gbit/s', /carries nothing/],
    ['bandwidth=1Gbit/s,bandwidth=2Gbit/s', /two axes are called bandwidth/],
    ['bandwidth=40..1Gbit/s:log8', /the range 40..1Gbit\/s is empty/],
    ['bandwidth=1..40Gbit/s', /how many values/],
    ['bandwidth=1..40Gbit/s:log1', /2 to 1000 values/],
    ['loss=0..5%:log3', /cannot begin with 0/],
    ['policy=qemu..xen:lin3', /not a range/],
    ['policy=vmotion', /none of qemu, xen/],
    ['cpu-throttle-initial=100', /from 1 to 99/],
    ['bandwidth=1..40Gbit/s:log90,rtt=1..9ms:lin81', /7290 combinations are too many/],
  ])('refuses %j', (text, message) => {
    expect(() => parseSweep(text)).toThrow(UsageError);
    expect(() => parseSweep(text)).toThrow(message);
  });
});

describe('frontierOf()', () => {
  const cell = fc
    .record({
      downtime: fc.integer({ min: 1, max: 8 }),
      total: fc.integer({ min: 1, max: 8 }),
      bandwidth: fc.integer({ min: 1, max: 3 }),
      throttled: fc.integer({ min: 0, max: 2 }),
      converges: fc.boolean(),
    })
    .map(
      ({ downtime, total, bandwidth, throttled, converges }): SweepCell => ({
        indices: [],
        verdict: converges ? 'converges' : 'does-not-converge',
        meetsLimit: converges,
        convergence: 1,
        totalMicroseconds: total * 1e6,
        downtimeMicroseconds: downtime * 1e5,
        transferredBytes: total * 1e8,
        rounds: 3,
        service: { throttledMicroseconds: throttled * 1e6, faultedPages: 0, faultMicroseconds: 0 },
        bandwidthBytesPerSecond: bandwidth * 1e8,
      }),
    );
  const figures = ({ service, ...each }: SweepCell) => [
    each.downtimeMicroseconds,
    each.totalMicroseconds,
    each.transferredBytes,
    each.bandwidthBytesPerSecond,
    service.throttledMicroseconds,
  ];

  it('leaves out what misses its limit where something keeps to it', () => {
    const [first] = fc.sample(cell, 1);
    const cells = [
      { ...first!, verdict: 'converges', meetsLimit: false, downtimeMicroseconds: 1000 },
      { ...first!, verdict: 'converges', meetsLimit: true },
    ] as const;
    expect(frontierOf(cells)).toEqual([1]);
    expect(frontierOf(cells.slice(0, 1))).toEqual([0]);
  });

  it('has for every cell that converges one that is as good in everything, and none that another one beats', () => {
    fc.assert(
      fc.property(fc.array(cell, { maxLength: 40 }), (cells) => {
        const frontier = frontierOf(cells);
        const asGood = (left: SweepCell, right: SweepCell) =>
          figures(left).every((figure, index) => figure <= figures(right)[index]!);
        for (const each of cells.filter(({ verdict }) => verdict === 'converges')) {
          expect(frontier.some((index) => asGood(cells[index]!, each))).toBe(true);
        }
        for (const index of frontier) {
          expect(cells[index]!.verdict).toBe('converges');
          for (const other of frontier) {
            if (other !== index) expect(asGood(cells[other]!, cells[index]!)).toBe(false);
          }
        }
      }),
    );
  });
});

const source: MemorySource = {
  kind: 'workload',
  path: 'small.yaml',
  text: `version: 1
name: small
seed: 11
processes:
  - name: server
    regions:
      heap: { size: 8MiB, resident: 8MiB, kind: anonymous, content: { kind: records } }
    phases:
      - duration: 1h
        writes:
          - { region: heap, pattern: uniform, rate: 1k/s, bytes: 64 }
`,
  warmUpMicroseconds: 0,
};

function optionsFor({ bandwidth, policy }: Combination): RehearsalOptions {
  return {
    link: { bytesPerSecond: Number(bandwidth) },
    choice: policy === 'xen' ? { policy } : { policy: 'qemu', options: { maxBandwidth: 0 } },
    giveUpAfterMicroseconds: 30e6,
  };
}

describe('sweep()', () => {
  const axes = parseSweep('bandwidth=24Mbit/s,80Mbit/s,400Mbit/s,policy=qemu,xen');

  it('rehearses every combination, whatever the number of threads', async () => {
    const alone = await sweep(source, axes, optionsFor, { workers: 0 });
    expect(alone.cells.map(({ indices }) => indices)).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
      [2, 0],
      [2, 1],
    ]);
    expect(alone.cells[0]!.verdict).toBe('does-not-converge');
    expect(alone.cells[4]).toMatchObject({
      verdict: 'converges',
      meetsLimit: true,
      bandwidthBytesPerSecond: 50e6,
    });
    expect(alone.frontier).toContain(4);
    expect(alone.frontier).not.toContain(0);
    expect(await sweep(source, axes, optionsFor, { workers: 2 })).toEqual(alone);
  });

  it('gives intervals for several rehearsals of each', async () => {
    const { cells } = await sweep(source, parseSweep('bandwidth=400Mbit/s'), optionsFor, { runs: 3 });
    const [low, high] = cells[0]!.intervals!.totalMicroseconds;
    expect(low).toBeLessThan(high);
  });

  it('names the combination that cannot be', async () => {
    const impossible = () => {
      throw new UsageError('no such thing');
    };
    await expect(sweep(source, axes, impossible)).rejects.toThrow(
      'bandwidth=24Mbit/s,policy=qemu: no such thing',
    );
  });
});

describe('advice', () => {
  it('names the least bandwidth and the least stop that would do', async () => {
    const options = optionsFor({ bandwidth: 3e6, policy: 'qemu' });
    const { verdict, advice } = await rehearse(source, options, { runs: 1 });
    expect(verdict).toBe('does-not-converge');
    const link = advice.find((each) => each.change.startsWith('take a link'))!;
    const megabits = Number(/--bandwidth (\d+)Mbit/.exec(link.options)![1]);
    const attempt = async (mbits: number) => {
      const bytesPerSecond = (mbits * 1e6 * 0.958) / 8;
      const changed = { ...options, link: { bytesPerSecond } };
      return meetsLimit(await rehearse(source, changed, { runs: 1, withAdvice: false }), 300_000);
    };
    expect(await attempt(megabits)).toBe(true);
    expect(await attempt(Math.floor(megabits * 0.9))).toBe(false);
  });

  it('asks for no shorter stop than the one that it takes', async () => {
    const slow = { resumeMicroseconds: 700_000 };
    const options = { ...optionsFor({ bandwidth: 40e6, policy: 'qemu' }), costs: slow };
    const { verdict, advice } = await rehearse(source, options, { runs: 1 });
    expect(verdict).toBe('converges');
    const longer = advice.find(({ change }) => change.startsWith('allow a downtime'))!;
    const limit = Number(/--downtime-limit (\d+)ms/.exec(longer.options)![1]) * 1000;
    expect(longer.downtimeMicroseconds).toBeGreaterThan(700_000);
    expect(limit).toBeGreaterThanOrEqual(longer.downtimeMicroseconds);
  });

  it('is there for a fixed number of rounds that misses its limit, too, and not for policies without one', async () => {
    const link = { bytesPerSecond: 3e6 };
    const fixed = { policy: 'fixed', options: { downtimeLimitMicroseconds: 100_000 } } as const;
    const missed = await rehearse(source, { link, choice: fixed }, { runs: 1 });
    expect(missed.advice.map(({ change }) => change.split(' ')[0])).toContain('take');
    expect((await rehearse(source, { link, choice: { policy: 'xen' } }, { runs: 1 })).advice).toEqual([]);
  });
});
