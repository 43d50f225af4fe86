import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parseTaskStat } from '../../src/procfs/index.ts';

const TAIL =
  'S 1 4242 4242 0 -1 4194560 100 0 0 0 7 3 0 0 20 0 5 0 987654 1000 20 18446744073709551615 4194304 4198400 140736 0';

describe('stat', () => {
  it.each(['redis-server', 'a b', '(', ') S 1', 'x) (y', 'line\nbreak'])('survives the name %j', (name) => {
    expect(parseTaskStat(`4242 (${name}) ${TAIL}\n`)).toEqual({
      pid: 4242,
      name,
      state: 'S',
      parentPid: 1,
      flags: 4194560,
      threadCount: 5,
      startTicks: 987654,
      startCode: '4194304',
      startStack: '140736',
    });
  });

  it('reads that of this very process', () => {
    const stat = parseTaskStat(readFileSync('/proc/self/stat', 'latin1'));
    expect(stat.pid).toBe(process.pid);
    expect(stat.parentPid).toBe(process.ppid);
    expect(stat.startTicks).toBeGreaterThan(0);
  });

  it('refuses anything else', () => {
    expect(() => parseTaskStat('')).toThrow(/cannot parse this stat line/);
    expect(() => parseTaskStat('12 (x) S 1')).toThrow(/cannot parse/);
  });
});
