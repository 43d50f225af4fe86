import { describe, expect, it } from 'vitest';
import { rehearseOnce } from '../../src/migration/index.ts';
import { openPublished, PUBLISHED_CASES, rehearsePublished } from './published-cases.ts';

describe('published migrations', () => {
  for (const published of PUBLISHED_CASES.filter(({ isLong }) => isLong !== true)) {
    it(`${published.source}: ${published.name}`, async () => {
      const outcome = await rehearsePublished(published);
      expect(outcome.verdict).toBe(published.verdict);
      for (const { what, predicted, published: printed, within } of published.figures(outcome)) {
        expect(Math.abs(predicted / printed - 1), `${what}: ${predicted} for ${printed}`).toBeLessThanOrEqual(
          within,
        );
      }
    });
  }

  it('Hines and Gopalan 2009: with pre-paging by bubbling few faults reach the network', async () => {
    const faults = async (postcopy: 'none' | 'bubbling') => {
      const outcome = rehearseOnce(await openPublished('quicksort-300m'), {
        link: { bytesPerSecond: 0.95 * 125e6 },
        choice: { policy: 'fixed', options: { rounds: 0, postcopy } },
        giveUpAfterMicroseconds: 60e6,
      });
      return outcome.service.faultedPages;
    };
    const workingSet = await faults('none');
    expect(workingSet).toBe(76_800);
    expect((await faults('bubbling')) / workingSet).toBeLessThanOrEqual(0.21);
  });
});
