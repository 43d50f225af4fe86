import { describe, expect, it } from 'vitest';
import { formatProspect, formatRevived } from '../../src/report/index.ts';

const processes = [
  { pid: 10, name: 'sh', threads: 1 },
  { pid: 11, name: 'gzip', threads: 2 },
];

describe('formatRevived()', () => {
  const revived = {
    checkpoint: 3,
    pid: 10,
    processes,
    pages: 2,
    bytes: 8192,
    memoryDigest: '',
    notes: [],
    microseconds: 1500,
  };

  it('names the processes, and counts threads and memory', () => {
    expect(formatRevived(revived)).toBe(
      'checkpoint 3 lives again as process 10 (sh) and 11: 3 threads, 8.0 KiB in 1.5 ms',
    );
  });

  it('tells of one process with one thread', () => {
    expect(formatRevived({ ...revived, processes: processes.slice(0, 1) })).toContain(
      'process 10 (sh): 1 thread,',
    );
  });
});

describe('formatProspect()', () => {
  it('lists what stands in the way, and what of it --force overrides', () => {
    const obstacles = [
      { pid: 10, message: 'its PID is taken by cron now', forcible: false },
      { pid: 11, message: 'descriptor 3: /data has changed (1 bytes then, 2 now)', forcible: true },
    ];
    expect(formatProspect({ checkpoint: 3, processes, obstacles, notes: ['a clock goes back'] })).toBe(
      'checkpoint 3 cannot become processes 10 (sh), 11 (gzip)\n' +
        '  process 10: its PID is taken by cron now\n' +
        '  process 11: descriptor 3: /data has changed (1 bytes then, 2 now) (--force overrides it)\n' +
        'note: a clock goes back',
    );
  });

  it('says so if nothing does', () => {
    expect(
      formatProspect({ checkpoint: 3, processes: processes.slice(0, 1), obstacles: [], notes: [] }),
    ).toBe('checkpoint 3 can become process 10 (sh)');
  });
});
