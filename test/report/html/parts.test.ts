import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { grouped } from '../../../src/report/html/grouped.ts';
import { heatLevel } from '../../../src/report/html/heat-map.ts';
import { escapeText, html } from '../../../src/report/html/markup.ts';
import { contrast, DARK, HEAT_LEVELS, inkOn, LIGHT } from '../../../src/report/html/palette.ts';
import { byteScale, logarithmicTimeScale, timeScale } from '../../../src/report/html/scale.ts';

describe('markup', () => {
  it('escapes every value that is not markup', () => {
    expect(html`<p title="${'"'}">${'<b>'}${html`<i>${'&'}</i>`}${[1, undefined, false]}</p>`.text).toBe(
      '<p title="&quot;">&lt;b&gt;<i>&amp;</i>1</p>',
    );
  });

  it('shows marks that turn text around, and control characters, as escapes', () => {
    expect(escapeText('gpj\u202eexe\u0007\n')).toBe('gpj\\u202eexe\\u0007\\u000a');
  });
});

describe('grouped', () => {
  it('loses nothing and makes groups of one size, the last one no larger', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.integer({ min: 1, max: 20 }), (items, most) => {
        const groups = grouped(items, most);
        expect(groups.flat()).toEqual(items);
        expect(groups.length).toBeLessThanOrEqual(most);
        const [size = 0, ...others] = groups.map(({ length }) => length);
        const last = others.pop() ?? size;
        expect(last).toBeLessThanOrEqual(size);
        for (const other of others) expect(other).toBe(size);
      }),
    );
  });
});

describe('scales', () => {
  it('have a few ticks in their order, the first at 0, and never one beyond the end', () => {
    fc.assert(
      fc.property(fc.double({ min: 1, max: 1e15, noNaN: true }), (end) => {
        for (const { ticks, shareOf } of [timeScale(end), byteScale(end)]) {
          const shares = ticks.map(({ share }) => share);
          expect(shares[0]).toBe(0);
          expect(shares.length).toBeGreaterThan(1);
          expect(shares.length).toBeLessThanOrEqual(9);
          expect(shares).toEqual([...shares].sort((left, right) => left - right));
          expect(shares.at(-1)).toBeLessThanOrEqual(1);
          expect(shareOf(end)).toBeLessThanOrEqual(1);
          expect(new Set(ticks.map(({ label }) => label)).size).toBe(ticks.length);
        }
      }),
    );
  });

  it('write what people would', () => {
    expect(timeScale(31e6).ticks.map(({ label }) => label)).toEqual([
      '0',
      '5 s',
      '10 s',
      '15 s',
      '20 s',
      '25 s',
      '30 s',
    ]);
    expect(timeScale(600e6, 5).ticks.map(({ label }) => label)).toEqual([
      '0',
      '2 min',
      '4 min',
      '6 min',
      '8 min',
      '10 min',
    ]);
    expect(byteScale(2 ** 31).ticks.map(({ label }) => label)).toEqual([
      '0',
      '512 MiB',
      '1 GiB',
      '1.5 GiB',
      '2 GiB',
    ]);
    expect(logarithmicTimeScale([1e5, 2e5, 4e5]).ticks.map(({ share }) => share)).toEqual([0, 0.5, 1]);
  });
});

describe('heat', () => {
  it('is never less for more', () => {
    fc.assert(
      fc.property(fc.nat(1e9), fc.nat(1e9), fc.nat(1e9), (one, other, rest) => {
        const [low, high, most] = [one, other, rest].sort((left, right) => left - right) as [
          number,
          number,
          number,
        ];
        expect(heatLevel(low, most)).toBeLessThanOrEqual(heatLevel(high, most));
        expect(heatLevel(0, most)).toBe(0);
        if (most > 0) expect(heatLevel(most, most)).toBe(HEAT_LEVELS);
      }),
    );
  });
});

describe('colours', () => {
  for (const [name, palette] of Object.entries({ light: LIGHT, dark: DARK })) {
    it(`are read well in the ${name} theme`, () => {
      const { background, surface, text, muted, good, bad, stop, heat } = palette;
      for (const colour of [text, muted, good, bad, stop]) {
        expect(contrast(colour, background)).toBeGreaterThanOrEqual(4.5);
        expect(contrast(colour, surface)).toBeGreaterThanOrEqual(4.5);
      }
      for (const line of [
        palette.remaining,
        palette.dirtied,
        palette.workingSet,
        palette.throttle,
        palette.focus,
      ]) {
        expect(contrast(line, background)).toBeGreaterThanOrEqual(3);
      }
      expect(heat).toHaveLength(HEAT_LEVELS);
      for (const colour of heat) expect(contrast(inkOn(colour), colour)).toBeGreaterThanOrEqual(4.5);
      const strength = heat.map((colour) => contrast(colour, background));
      expect(strength).toEqual([...strength].sort((left, right) => left - right));
    });
  }
});
