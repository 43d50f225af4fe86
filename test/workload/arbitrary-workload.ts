import fc from 'fast-check';
import { stringify } from 'yaml';

/** Small sizes, so that streams and events meet each other often. */
const REGIONS = ['a', 'b', 'c', 'd'] as const;
const region = fc.constantFrom(...REGIONS);
const pages = (maximum: number) => fc.integer({ min: 1, max: maximum }).map((count) => `${count * 4}KiB`);
const content = fc.constantFrom('zero', 'text', 'records', 'random').map((kind) => ({ kind }));

const regionDefinition = fc
  .record({
    kind: fc.constantFrom('anonymous', 'file-private', 'file-shared', 'shared-anonymous', 'huge'),
    size: fc.integer({ min: 1, max: 1200 }),
    resident: fc.integer({ min: 0, max: 100 }),
    content,
    mapped: fc.boolean(),
  })
  .map(({ size, resident, mapped, ...rest }) => ({
    ...rest,
    mapped,
    size: `${size * 4}KiB`,
    resident: mapped ? `${Math.min(size, resident) * 4}KiB` : 0,
  }));

const stream = fc.record({
  region,
  rate: fc.integer({ min: 1, max: 40 }).map((thousands) => `${thousands}k/s`),
  bytes: fc.constantFrom(1, 8, 64, 700, 4096),
  from: fc.constantFrom(0, '64KiB'),
  shape: fc.constantFrom(
    { pattern: 'uniform' },
    { pattern: 'zipf', theta: 0.9 },
    { pattern: 'hot-cold', hot: 0.1, probability: 0.8 },
    { pattern: 'sequential' },
    { pattern: 'strided', stride: '28KiB' },
    { pattern: 'append' },
    { pattern: 'rewrite-in-place', changed: 0.3 },
  ),
});

const action = fc.oneof(
  fc.record({ do: fc.constant('mmap'), region, resident: pages(50) }),
  fc.record({ do: fc.constant('munmap'), region }),
  fc.record({ do: fc.constant('munmap'), region, from: pages(200), span: pages(100) }),
  fc.record({ do: fc.constant('mremap'), region, size: pages(1500), move: fc.boolean() }),
  fc.record({ do: fc.constant('mprotect'), region, access: fc.constantFrom('none', 'read', 'read-write') }),
  fc.record({
    do: fc.constant('madvise'),
    region,
    advice: fc.constantFrom(
      'dontneed',
      'free',
      'cold',
      'hugepage',
      'nohugepage',
      'wipeonfork',
      'populate-write',
    ),
  }),
  fc.record({ do: fc.constant('swap-out'), region, share: fc.constantFrom(0.3, 1) }),
  fc.record({ do: fc.constant('thp'), region, action: fc.constantFrom('collapse', 'split') }),
  fc.record({ do: fc.constant('fork'), program: fc.constant('child') }),
);

const phase = fc
  .record({
    duration: fc.integer({ min: 500, max: 3000 }),
    streams: fc.array(stream, { maxLength: 4 }),
    reads: fc.array(region, { maxLength: 2 }),
    events: fc.array(fc.tuple(fc.integer({ min: 0, max: 499 }), action), { maxLength: 8 }),
  })
  .map(({ duration, streams, reads, events }) => ({
    duration: `${duration}us`,
    writes: streams.map(({ shape, ...rest }) => ({ ...rest, ...shape })),
    reads: reads.map((where) => ({ region: where, pattern: 'uniform', rate: '9k/s' })),
    events: events.map(([at, what]) => ({ at: `${at}us`, ...what })),
  }));

const childPhase = phase.map((drawn) => ({
  ...drawn,
  events: drawn.events.filter((event) => event.do !== 'fork'),
}));

/** Text of a workload file in which anything may happen. */
export const anyWorkload = fc
  .record({
    seed: fc.nat(),
    version: fc.constantFrom('6.1', '6.12', '7.2'),
    thp: fc.constantFrom('never', 'always'),
    regions: fc.tuple(regionDefinition, regionDefinition, regionDefinition, regionDefinition),
    phases: fc.array(phase, { minLength: 1, maxLength: 3 }),
    child: fc.array(childPhase, { minLength: 1, maxLength: 2 }),
  })
  .map(({ seed, version, thp, regions, phases, child }) =>
    stringify({
      version: 1,
      name: 'random',
      seed,
      kernel: { version, thp },
      processes: [
        {
          name: 'main',
          regions: Object.fromEntries(REGIONS.map((name, index) => [name, regions[index]])),
          phases,
        },
      ],
      programs: { child: { phases: child } },
    }),
  );
