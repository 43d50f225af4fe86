import { describe, expect, it } from 'vitest';
import { knowsMappings, listMappings } from '../../src/checkpoint/mapping-difference.ts';
import type { Manifest, StoredProcess, StoredVma } from '../../src/image/index.ts';
import { anonymousVma } from './memory-target.ts';

const processOf = (...vmas: readonly StoredVma[]) => ({ vmas }) as unknown as StoredProcess;
const listed = (...given: Parameters<typeof listMappings>) =>
  listMappings(...given).map(({ vma, state }) => [vma.startPage, vma.endPage, state]);

const BOTH = { a: true, b: true };
const [low, grown, high] = [anonymousVma(10, 20), anonymousVma(10, 30), anonymousVma(50, 60)];
/** Made up around pages 11 and 70. */
const around = processOf(anonymousVma(11, 12), anonymousVma(70, 71));

describe('mappings of two checkpoints', () => {
  it('are told apart by what became of them', () => {
    expect(listed(processOf(low, high), processOf(low, high), BOTH)).toEqual([
      [10, 20, 'same'],
      [50, 60, 'same'],
    ]);
    expect(listed(processOf(low), processOf(grown, high), BOTH)).toEqual([
      [10, 30, 'altered'],
      [50, 60, 'new'],
    ]);
    expect(listed(processOf(low, high), processOf(low), BOTH)).toEqual([
      [10, 20, 'same'],
      [50, 60, 'gone'],
    ]);
    expect(listed(processOf(low), undefined, BOTH)).toEqual([[10, 20, 'gone']]);
  });

  it('are those that are known where one checkpoint knows none', () => {
    expect(listed(around, processOf(low, high), { a: false, b: true })).toEqual([
      [10, 20, 'same'],
      [50, 60, 'same'],
      [70, 71, 'gone'],
    ]);
    expect(listed(processOf(low, high), around, { a: true, b: false })).toEqual([
      [10, 20, 'same'],
      [50, 60, 'same'],
      [70, 71, 'new'],
    ]);
    expect(listed(around, processOf(anonymousVma(11, 13)), { a: false, b: false })).toEqual([
      [11, 13, 'same'],
      [70, 71, 'gone'],
    ]);
    expect(listed(undefined, around, { a: true, b: false })).toEqual([
      [11, 12, 'new'],
      [70, 71, 'new'],
    ]);
  });

  it('are not known where CRIU kept pages alone', () => {
    const manifest = (kind: string, given: Partial<Manifest> = {}) =>
      ({ target: { kind }, preDump: false, ...given }) as Manifest;
    expect(knowsMappings(manifest('live', { preDump: true }))).toBe(true);
    expect(knowsMappings(manifest('criu'))).toBe(true);
    expect(knowsMappings(manifest('criu', { notRestorable: 'deduplicated' }))).toBe(true);
    expect(knowsMappings(manifest('criu', { notRestorable: 'pages-only' }))).toBe(false);
    expect(knowsMappings(manifest('criu', { preDump: true }))).toBe(false);
  });
});
