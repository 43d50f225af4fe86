import { formatBytes, formatDuration } from '../core/index.ts';
import type { Rehearsal } from '../migration/index.ts';
import { ASCII_INK, type Ink } from './ink.ts';
import { stopOf } from './stop.ts';

/** What there is to draw on. */
export interface TextSurface {
  readonly columns: number;
  readonly ink: Ink;
}

/** Text that goes to no terminal is the same wherever it is written. */
export const PLAIN_SURFACE: TextSurface = { columns: 80, ink: ASCII_INK };

const ROWS = 8;
const NARROWEST = 20;
const WIDEST = 120;

/** Remaining memory over time as columns of text, with the rounds and the stop below; empty without a curve. */
export function formatRemainingCurve(rehearsal: Rehearsal, { columns, ink }: TextSurface): string {
  const { curve, rounds } = rehearsal;
  const most = Math.max(0, ...curve.map(({ remainingBytes }) => remainingBytes));
  if (curve.length < 2 || most === 0) return '';
  const labels = [formatBytes(most), formatBytes(most / 2), '0'];
  const gutter = Math.max('remaining'.length, ...labels.map((label) => label.length));
  const width = Math.max(NARROWEST, Math.min(WIDEST, columns - gutter - 3));
  const end = Math.max(rehearsal.totalMicroseconds, curve.at(-1)!.atMicroseconds);
  const heights = columnMaxima(curve, width, end).map((bytes) => (bytes / most) * ROWS);
  const [tick, line, corner, across] = ink.axis;
  const labelled = (row: number) => ({ 0: labels[0], [ROWS / 2]: labels[1] })[row];
  const lines = Array.from({ length: ROWS }, (_, row) => {
    const cells = heights.map((height) => cell(height - (ROWS - 1 - row), ink)).join('');
    const label = labelled(row);
    return `${(label ?? '').padStart(gutter)} ${label === undefined ? line : tick}${cells}`;
  });
  const columnOf = (at: number) => Math.min(width - 1, Math.floor((at / end) * width));
  const stop = stopOf(rehearsal);
  const starts = rounds.map(({ number, startMicroseconds }) => ({
    text: startMicroseconds === stop?.[0] ? 'S' : String(number),
    column: columnOf(startMicroseconds),
  }));
  const span = `0${formatDuration(end).padStart(width - 1)}`;
  const told =
    stop === undefined
      ? []
      : [`${' '.repeat(gutter + 2)}S: stands still for ${formatDuration(rehearsal.downtimeMicroseconds)}`];
  return [
    'remaining memory over time',
    ...lines,
    `${labels[2]!.padStart(gutter)} ${corner}${across.repeat(width)}`,
    `${'time'.padStart(gutter)}  ${span}`,
    `${'round'.padStart(gutter)}  ${marks(starts, width)}`,
    ...told,
  ]
    .map((text) => `${text.trimEnd()}\n`)
    .join('');
}

/** What a cell shows of a column that reaches so far above its bottom, in cells. */
function cell(height: number, { edge, body }: Ink): string {
  return height >= 1 ? body : edge[Math.max(0, Math.round(height * (edge.length - 1)))]!;
}

/** Marks at their columns; of those that would touch each other the first is kept, but the last in any case. */
function marks(starts: readonly { text: string; column: number }[], width: number): string {
  const row = new Array<string>(width + 1).fill(' ');
  const last = starts.at(-1);
  const limit = last === undefined ? width : last.column;
  let free = 0;
  for (const { text, column } of starts.slice(0, -1)) {
    if (column < free || column + text.length >= limit) continue;
    for (const [index, character] of [...text].entries()) row[column + index] = character;
    free = column + text.length + 1;
  }
  if (last !== undefined) row.splice(last.column, last.text.length, ...last.text);
  return row.join('');
}

/** The most that remains within each column; between two points the curve is a line. */
function columnMaxima(curve: Rehearsal['curve'], width: number, end: number): number[] {
  const maxima = new Array<number>(width).fill(0);
  const raise = (column: number, bytes: number) => {
    if (column < width) maxima[column] = Math.max(maxima[column]!, bytes);
  };
  for (const [index, { atMicroseconds: at, remainingBytes: bytes }] of curve.entries()) {
    const column = Math.min(width - 1, Math.floor((at / end) * width));
    raise(column, bytes);
    const next = curve[index + 1];
    if (next === undefined || next.atMicroseconds <= at) continue;
    const slope = (next.remainingBytes - bytes) / (next.atMicroseconds - at);
    for (let later = column + 1; (later * end) / width < next.atMicroseconds; later++) {
      const onEdge = bytes + slope * ((later * end) / width - at);
      raise(later, onEdge);
      raise(later - 1, onEdge);
    }
  }
  return maxima;
}
