import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Shape } from '../../../src/migration/wire/fields.ts';
import { FRAME_TYPES } from '../../../src/migration/wire/frame.ts';
import { formatOf, MESSAGE_TYPES } from '../../../src/migration/wire/messages.ts';

const text = readFileSync(new URL('../../../src/migration/wire/WIRE.md', import.meta.url), 'utf8');

/** Rows of the table under a heading whose first cell is a number: that number and the next cells. */
function numberedRows(heading: string): string[][] {
  const section = text.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
  return section
    .split('\n')
    .filter((line) => /^\| \d+ \| [a-z]/.test(line))
    .map((line) => line.slice(2, -2).split(' | '));
}

function choicesOf(shape: Shape): string[] {
  if (shape.kind === 'choice') return [shape.words.join(', ')];
  if (shape.kind === 'record') return Object.values(shape.fields).flatMap(choicesOf);
  return [];
}

describe('WIRE.md', () => {
  it('lists the messages with the numbers that they have', () => {
    const rows = numberedRows('Messages').map(([number, name]) => [Number(number), name]);
    expect(rows).toEqual(MESSAGE_TYPES.map((name, number) => [number, name]));
  });

  it('lists the words of each choice', () => {
    for (const [, name, , fields = ''] of numberedRows('Messages')) {
      const type = MESSAGE_TYPES.find((one) => one === name)!;
      const listed = [...fields.matchAll(/choice: ([^)]+)/g)].map((match) => match[1]);
      expect(listed, name).toEqual(choicesOf(formatOf(type).shape));
    }
  });

  it('lists the frames with the numbers that they have', () => {
    const rows = numberedRows('Frames').filter(([, name]) => name !== undefined && name in FRAME_TYPES);
    const listed = Object.fromEntries(rows.map(([number, name]) => [name, Number(number)]));
    expect(listed).toEqual(FRAME_TYPES);
  });
});
