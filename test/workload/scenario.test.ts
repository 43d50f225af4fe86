import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { KERNEL_VERSIONS, type KernelVersion } from '../../src/kernel/index.ts';
import { runScenario } from '../../src/workload/index.ts';
import { firstDifference } from './recordings.ts';

/** Recordings of real kernels; test/cases/softdirty/README.md tells how they are laid out. */
const CASES = resolve(import.meta.dirname, '../cases/softdirty');
const BASE: KernelVersion = '6.1';

interface Case {
  readonly name: string;
  readonly text: string;
  readonly recordings: ReadonlyMap<KernelVersion, string>;
}

function recording(version: KernelVersion, name: string): string | undefined {
  const path = join(CASES, 'expected', version, `${name}.out`);
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/** Kernels on which each case was recorded; where a recording equals that of 6.1, only that one is kept. */
function readIndex(): Case[] {
  const [header, ...rows] = readFileSync(join(CASES, 'index.tsv'), 'utf8').trimEnd().split('\n');
  const columns = header!.split('\t');
  return rows.map((row) => {
    const cells = row.split('\t');
    const name = cells[columns.indexOf('name')]!;
    const recorded = cells[columns.indexOf('kernels')]!.split(' ');
    const recordings = new Map<KernelVersion, string>();
    for (const version of KERNEL_VERSIONS.filter((known) => recorded.includes(known))) {
      recordings.set(version, recording(version, name) ?? recording(BASE, name)!);
    }
    return { name, text: readFileSync(join(CASES, 'scenarios', `${name}.sd`), 'utf8'), recordings };
  });
}

const cases = readIndex();

describe('the recorded cases', () => {
  it('are all listed, and all that is listed is there', () => {
    const files = readdirSync(join(CASES, 'scenarios')).map((file) => file.replace(/\.sd$/, ''));
    expect(cases.map(({ name }) => name).sort()).toEqual(files.sort());
    for (const { name, recordings } of cases) expect(recordings.get(BASE), name).toBeTypeOf('string');
  });
});

describe.each(KERNEL_VERSIONS)('the simulated kernel %s', (version) => {
  const recorded = cases.filter(({ recordings }) => recordings.has(version));
  it.each(recorded)('shows what the real one showed: $name', ({ name, text, recordings }) => {
    const expected = recordings.get(version)!;
    const actual = runScenario(text, { name, version });
    expect(firstDifference(expected, actual)).toBeUndefined();
    expect(actual).toBe(expected);
  });
});
