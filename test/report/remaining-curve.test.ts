import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCK_INK } from '../../src/report/index.ts';
import { formatRemainingCurve, PLAIN_SURFACE } from '../../src/report/remaining-curve.ts';
import { stopOf } from '../../src/report/stop.ts';
import { sampleRehearsal } from './html/sample.ts';

const BLOCKS = { columns: 60, ink: BLOCK_INK };

describe('the curve of the remaining memory', () => {
  it('falls in each round, and marks rounds and stop where they begin', () => {
    expect(formatRemainingCurve(sampleRehearsal(3), BLOCKS)).toMatchInlineSnapshot(`
      "remaining memory over time
        2.0 GiB ┤█▆▄▂
                │████▇▅▃▁
                │████████▇▅▃▁
                │████████████▆▄▂
        1.0 GiB ┤████████████████▆▄▂           ▃▁
                │████████████████████▅▃▁       ██▇▅▃
                │███████████████████████▇▅▃▁   ██████▆▄▂   ▃▃▁
                │███████████████████████████▇▄▂██████████▆▄███▆▄▂
              0 └────────────────────────────────────────────────
           time  0                                         29.3 s
          round  1                             2           S
                 S: stands still for 3.24 s
      "
    `);
  });

  it('is drawn without other characters than those of ASCII where nothing else is known', () => {
    expect(formatRemainingCurve(sampleRehearsal(3), PLAIN_SURFACE)).toMatchInlineSnapshot(`
      "remaining memory over time
        2.0 GiB +:--__
                |::::::"-__
                |:::::::::::"--__
                |::::::::::::::::"--__
        1.0 GiB +::::::::::::::::::::::"-__                __
                |:::::::::::::::::::::::::::"--__          :::"--_
                |::::::::::::::::::::::::::::::::"--__     ::::::::"--__     __
                |::::::::::::::::::::::::::::::::::::::"-__::::::::::::::"-__:::"--__
              0 +--------------------------------------------------------------------
           time  0                                                             29.3 s
          round  1                                         2                 S
                 S: stands still for 3.24 s
      "
    `);
  });

  it('has no stop where there is none', () => {
    const never = sampleRehearsal(4, { verdict: 'does-not-converge', downtimeMicroseconds: 0 });
    const text = formatRemainingCurve(never, PLAIN_SURFACE);
    expect(text).not.toContain('S');
    expect(text).toMatch(/^ *round .*1 .* 2 .* 3 .*4$/m);
  });

  it('is left out without a curve', () => {
    expect(formatRemainingCurve(sampleRehearsal(1, { curve: [] }), BLOCKS)).toBe('');
  });

  it('keeps to the width, however many rounds there are', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 400 }), fc.integer({ min: 40, max: 250 }), (rounds, columns) => {
        const lines = formatRemainingCurve(sampleRehearsal(rounds), { columns, ink: BLOCK_INK }).split('\n');
        for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns);
        expect(lines.filter((line) => /[┤│]/.test(line))).toHaveLength(8);
      }),
      { numRuns: 50 },
    );
  });
});

describe('stopOf', () => {
  it('is the last round, and the first where nothing was sent before', () => {
    const rehearsal = sampleRehearsal(3);
    const [first, , last] = rehearsal.rounds.map(({ startMicroseconds }) => startMicroseconds);
    const stop = rehearsal.downtimeMicroseconds;
    expect(stopOf(rehearsal)).toEqual([last, last! + stop]);
    expect(stopOf({ ...rehearsal, strategy: 'stop-and-copy' })).toEqual([first, first! + stop]);
    expect(stopOf({ ...rehearsal, verdict: 'does-not-converge' })).toBeUndefined();
  });
});
