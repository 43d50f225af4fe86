import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

/**
 * The rooms of src/ and their floors. A room imports from lower floors only, through the other room's index.ts, and
 * never from a neighbour on its own floor (the wall).
 */
const FLOOR_OF_ROOM: Readonly<Record<string, number>> = {
  core: 0,
  procfs: 1,
  codec: 2,
  kernel: 2,
  workload: 3,
  image: 4,
  target: 4,
  store: 5,
  tracker: 5,
  checkpoint: 6,
  migration: 7,
  interop: 7,
  report: 8,
  cli: 9,
};

const SOURCE = resolve(import.meta.dirname, '../src');
const IMPORT =
  /(?:^|\n)\s*(?:import|export)\b[^;'"]*?from\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]\s*\)|(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g;

function sourceFiles(): string[] {
  return readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(SOURCE, name));
}

function importsOf(file: string): string[] {
  return [...readFileSync(file, 'utf8').matchAll(IMPORT)].map(
    (match) => match[1] ?? match[2] ?? match[3] ?? '',
  );
}

const roomOf = (path: string) => relative(SOURCE, path).split('/')[0]!;

/** What is wrong with one import, or undefined. */
function violation(file: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const imported = resolve(dirname(file), specifier);
  const from = roomOf(file);
  const to = roomOf(imported);
  if (from === 'index.ts' || from === to) return undefined;
  const where = `${relative(SOURCE, file)} (${FLOOR_OF_ROOM[from]}) imports ${relative(SOURCE, imported)} (${FLOOR_OF_ROOM[to]})`;
  if (FLOOR_OF_ROOM[from] === undefined || FLOOR_OF_ROOM[to] === undefined) return `${where}: unknown room`;
  if (FLOOR_OF_ROOM[to] >= FLOOR_OF_ROOM[from]) return `${where}: not a lower floor`;
  if (relative(SOURCE, imported) !== `${to}/index.ts`) return `${where}: not through ${to}/index.ts`;
  return undefined;
}

describe('the rooms of src/', () => {
  it('import downwards only, through each other’s index', () => {
    const violations = sourceFiles().flatMap((file) =>
      importsOf(file).flatMap((specifier) => violation(file, specifier) ?? []),
    );
    expect(violations).toEqual([]);
  });

  it('print and exit only in cli', () => {
    const offenders = sourceFiles()
      .filter((file) => roomOf(file) !== 'cli')
      // A simulated process exits too, without an exit code.
      .filter((file) =>
        /\bprocess\.(stdout|stderr|exitCode)\b|\bprocess\.exit\([^)]|\bconsole\./.test(
          readFileSync(file, 'utf8'),
        ),
      )
      .map((file) => relative(SOURCE, file));
    expect(offenders).toEqual([]);
  });

  it('would notice an import that goes up or around an index', () => {
    expect(violation(join(SOURCE, 'image/pack.ts'), '../store/index.ts')).toBe(
      'image/pack.ts (4) imports store/index.ts (5): not a lower floor',
    );
    expect(violation(join(SOURCE, 'store/x.ts'), '../tracker/index.ts')).toContain('not a lower floor');
    expect(violation(join(SOURCE, 'store/x.ts'), '../image/pack.ts')).toContain('not through image/index.ts');
    expect(violation(join(SOURCE, 'store/x.ts'), '../image/index.ts')).toBeUndefined();
  });
});
