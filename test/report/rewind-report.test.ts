import { expect, it } from 'vitest';
import type { RewindResult } from '../../src/checkpoint/index.ts';
import { formatRewindResult } from '../../src/report/index.ts';

const RESULT: RewindResult = {
  checkpoint: 3,
  pid: 4711,
  outcome: 'rewound',
  processes: 1,
  obstacles: [],
  mappings: { unmapped: 1, mapped: 2, adjusted: 3 },
  pages: { compared: 100, written: 20, discarded: 4 },
  threadsEnded: 0,
  leftStopped: false,
  microseconds: { freeze: 12_400, total: 50_000 },
};
const obstacles = [
  { pid: 4711, problem: 'descriptor 7 (socket:[1]) was opened since', otherwise: 'it is closed' },
  { pid: 4711, problem: 'its PID belongs to another one now', otherwise: null },
];

it('tells what a rewind did', () => {
  expect(formatRewindResult(RESULT, false)).toBe(
    [
      'process 4711 was rewound to checkpoint 3',
      '  pages     100 compared, 20 written, 4 discarded',
      '  mappings  1 unmapped, 2 mapped, 3 adjusted',
      '  stopped   12.4 ms of 50.0 ms',
    ].join('\n'),
  );
});

it('names processes, ended threads and the stop only where there are any', () => {
  const text = formatRewindResult({ ...RESULT, processes: 2, threadsEnded: 1, leftStopped: true }, false);
  expect(text).toContain('  processes 2\n  threads   1 ended that were created since');
  expect(text).toMatch(/kill -CONT 4711 lets it go on$/);
});

it('lists what stands against it, and what --force would do', () => {
  const refused: RewindResult = { ...RESULT, outcome: 'refused', obstacles };
  expect(formatRewindResult(refused, false)).toBe(
    [
      'process 4711 was not rewound to checkpoint 3: 2 obstacles',
      '  process 4711: descriptor 7 (socket:[1]) was opened since (with --force it is closed)',
      '  process 4711: its PID belongs to another one now (nothing can be done then)',
    ].join('\n'),
  );
  const forced = formatRewindResult({ ...RESULT, obstacles: obstacles.slice(0, 1) }, true);
  expect(forced).toContain('was opened since (it is closed)');
  expect(formatRewindResult({ ...RESULT, outcome: 'planned' }, false)).toMatch(
    /^process 4711 would be rewound/,
  );
});
