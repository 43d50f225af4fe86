import { describe, expect, it } from 'vitest';
import { formatRehearsal } from '../../src/report/index.ts';
import { sampleRehearsal } from './html/sample.ts';

describe('formatRehearsal', () => {
  it('says first what happens, between which bounds, and what would help', () => {
    const [sentence] = formatRehearsal(sampleRehearsal()).split('\n');
    expect(sentence).toBe(
      'qemu converges (pre-copy): done after 31.5 s (30.5 s to 32.7 s), standing still for 240 ms (192 ms to 312 ms), ' +
        '3.4 GiB (3.4 GiB to 3.5 GiB) sent; it would help to send differences of pages (--xbzrle).',
    );
  });

  it('says what share of the rehearsals the bounds are of', () => {
    expect(formatRehearsal(sampleRehearsal())).toContain(
      '100 % of 20 rehearsals; they end within these bounds (90 %):\n',
    );
    const none = sampleRehearsal(6, { verdict: 'does-not-converge', convergence: 0 });
    expect(formatRehearsal(none)).toMatch(/^converges +0 % of 20 rehearsals\n/m);
  });

  it('claims no bounds after a single rehearsal', () => {
    const text = formatRehearsal(sampleRehearsal(6, { runs: 1 }));
    expect(text).toMatch(/^converges +the only rehearsal does\n/m);
    expect(text).not.toContain('90 %');
  });

  it('promises no 90 % from fewer rehearsals than that takes, nor from fewer that came to an end', () => {
    const few = formatRehearsal(sampleRehearsal(6, { runs: 5 }));
    expect(few).toContain('100 % of 5 rehearsals; they end within these bounds (least and most of 5):\n');
    const seldom = formatRehearsal(sampleRehearsal(6, { runs: 20, convergence: 0.5 }));
    expect(seldom).toContain('(least and most of 10):\n');
  });

  it('leaves out the middle of many rounds, and says so', () => {
    const text = formatRehearsal(sampleRehearsal(60));
    expect(text).toContain('(20 rounds in the middle are left out; --json has them)');
    expect(text).toMatch(/^ +20 .*\n +41 /m);
  });
});
