import { formatBytes, formatCount, formatDuration, formatPageAddress, PAGE_SIZE } from '../core/index.ts';
import type { WatchedContent, WatchedMapping, WatchSample, WatchStart } from '../migration/index.ts';
import { permissionsOf } from './checkpoint-report.ts';
import type { Ink } from './ink.ts';
import { type Column, formatFields, formatTable, printable } from './table.ts';

/** What is shown at one moment. */
export interface WatchView {
  readonly start: WatchStart;
  readonly sample: WatchSample | undefined;
  /** Pages written in each of the last intervals, oldest first. */
  readonly history: readonly number[];
  readonly ink: Ink;
}

const MAPPING_COLUMNS: readonly Column[] = [
  { heading: 'mapping' },
  { heading: 'dirty', align: 'right' },
  { heading: 'so far', align: 'right' },
  { heading: 'distinct', align: 'right' },
  { heading: 'compressed', align: 'right' },
  { heading: 'changed', align: 'right' },
];

/** One line for JSON Lines: addresses as text, everything else as it is. */
export function watchSampleJson(sample: WatchSample) {
  return {
    ...sample,
    mappings: sample.mappings.map(({ pid, mapping, ...counts }) => ({
      pid,
      start: formatPageAddress(mapping.startPage),
      end: formatPageAddress(mapping.endPage),
      permissions: permissionsOf(mapping),
      pathname: mapping.pathname,
      ...counts,
    })),
  };
}

/** The lines of a screen of so many rows, which is filled from the top; lines may be longer than the screen is wide. */
export function formatWatchView(view: WatchView, columns: number, rows: number): string[] {
  const { start, sample, ink, history } = view;
  const at = sample === undefined ? '' : `, ${formatDuration(sample.atMicroseconds)}`;
  const virtual = start.clock === 'virtual' ? ' (virtual)' : '';
  const title = `ckpt watch  ${printable(start.target)}${at}${virtual}`;
  const lines = [`${title.padEnd(Math.max(title.length + 2, columns - 8))}q: quit`, ''];
  if (sample === undefined) {
    return [...lines, ...linesOf(formatFields([memoryField(start), ['tracker', start.trackerReason]]))];
  }
  const width = Math.max(10, Math.min(history.length, columns - 14));
  const shown = history.slice(-width);
  lines.push(
    ...linesOf(
      formatFields([
        memoryField(sample),
        ['written', writtenWords(sample)],
        ...stoppedField(start, sample),
        ['content', contentWords(sample.totalContent)],
        ['tracker', start.trackerReason],
        ['pages', `${sparkline(shown, ink)} up to ${formatCount(Math.max(...shown))} an interval`],
      ]),
    ),
    '',
  );
  const left = Math.max(0, rows - lines.length);
  // Half of what is left for the curve, or all that the mappings do not need.
  const mappings = linesOf(formatMappings(sample.mappings));
  const curve = linesOf(formatWorkingSet(sample, ink, columns));
  const forCurve = Math.max(Math.ceil(left / 2), left - mappings.length - 1);
  lines.push(...curve.slice(0, forCurve), '', ...mappings);
  return lines.slice(0, rows);
}

const LINE_WIDTHS = [10, 9, 10, 12, 10, 14, 11, 13] as const;
const LINE_HEADINGS = [
  'time',
  'pages',
  'bytes',
  'rate',
  'stopped',
  'compressed to',
  'changed',
  'distinct',
] as const;

/** The heading of `formatWatchLine`. */
export function formatWatchHeading(): string {
  return lineOf(LINE_HEADINGS);
}

/** One interval as one line, in the columns of the heading. Distinct is all that was written so far, each page once. */
export function formatWatchLine(sample: WatchSample): string {
  const { content, total } = sample;
  return lineOf([
    formatDuration(sample.atMicroseconds),
    formatCount(sample.dirtyPages),
    formatBytes(sample.dirtyBytes),
    `${formatBytes(sample.dirtyBytesPerSecond)}/s`,
    formatDuration(sample.frozenMicroseconds),
    compressedWords(content),
    changedWords(content),
    formatBytes(total.distinctPages * PAGE_SIZE),
  ]);
}

/** What a whole watch has found. */
export function formatWatchSummary({ start, sample, ink }: WatchView): string {
  if (sample === undefined) return 'the watch ended before its first interval\n';
  const head = formatFields([
    ['target', start.target],
    [
      'time',
      `${formatDuration(sample.atMicroseconds)} in ${formatCount(sample.interval)} interval${sample.interval === 1 ? '' : 's'}` +
        (start.clock === 'virtual' ? ' (virtual)' : ''),
    ],
    memoryField(sample),
    [
      'written',
      `${formatCount(sample.total.dirtyPages)} pages, ${formatBytes(sample.total.dirtyBytesPerSecond)}/s; ` +
        `${formatCount(sample.total.distinctPages)} different ones`,
    ],
    ...stoppedField(start, sample),
    ['content', contentWords(sample.totalContent)],
    ['tracker', start.trackerReason],
  ]);
  return `${head}\n${formatWorkingSet(sample, ink, 80)}\n${formatMappings(sample.mappings.slice(0, 10))}`;
}

function formatWorkingSet({ workingSet }: WatchSample, ink: Ink, columns: number): string {
  const most = Math.max(1, ...workingSet.map(({ meanPages }) => meanPages));
  const width = Math.max(5, Math.min(40, columns - 56));
  return formatTable(
    [
      { heading: 'working set in', align: 'right' },
      { heading: 'pages', align: 'right' },
      { heading: 'memory', align: 'right' },
      { heading: 'range', align: 'right' },
      { heading: '' },
    ],
    workingSet.map(({ microseconds, meanPages, leastPages, mostPages }) => [
      formatDuration(microseconds),
      formatCount(meanPages),
      formatBytes(meanPages * PAGE_SIZE),
      leastPages === mostPages ? '' : `${formatCount(leastPages)}..${formatCount(mostPages)}`,
      ink.bar.repeat(Math.round((meanPages / most) * width)),
    ]),
  );
}

function formatMappings(mappings: readonly WatchedMapping[]): string {
  if (mappings.length === 0) return '';
  return formatTable(
    MAPPING_COLUMNS,
    mappings.map(({ pid, mapping, dirtyPages, totalDirtyPages, distinctPages, content }) => [
      `${pid} ${formatPageAddress(mapping.startPage)} ${permissionsOf(mapping)} ${mapping.pathname || 'anonymous'}`,
      formatCount(dirtyPages),
      formatCount(totalDirtyPages),
      formatCount(distinctPages),
      compressedWords(content),
      changedWords(content),
    ]),
  );
}

/** Each value as a character, the largest as the highest. */
function sparkline(values: readonly number[], { levels }: Ink): string {
  const most = Math.max(1, ...values);
  return values.map((value) => levels[Math.ceil((value / most) * (levels.length - 1))]).join('');
}

function memoryField(state: {
  readonly residentPages: number;
  readonly processes: number;
}): [string, string] {
  const { residentPages, processes } = state;
  const of = processes === 1 ? '' : `, ${formatCount(processes)} processes`;
  return ['memory', `${formatBytes(residentPages * PAGE_SIZE)} in ${formatCount(residentPages)} pages${of}`];
}

const writtenWords = ({ dirtyPages, dirtyBytes, dirtyBytesPerSecond, total }: WatchSample) =>
  `${formatCount(dirtyPages)} pages, ${formatBytes(dirtyBytes)}, ${formatBytes(dirtyBytesPerSecond)}/s; ` +
  `${formatBytes(total.dirtyBytesPerSecond)}/s so far`;

function stoppedField(
  start: WatchStart,
  { frozenMicroseconds, total }: WatchSample,
): readonly [string, string][] {
  if (start.kind === 'simulated') return [];
  return [
    [
      'stopped',
      `${formatDuration(frozenMicroseconds)} for this scan, ${formatDuration(total.meanFrozenMicroseconds)} on average, ` +
        `${formatDuration(total.longestFrozenMicroseconds)} at most`,
    ],
  ];
}

function contentWords(content: WatchedContent): string {
  if (content.measuredPages === 0) return 'nothing measured yet';
  const changed =
    content.differenceBytes === undefined ? '' : `, ${formatBytes(content.differenceBytes)} really changed`;
  return (
    `of a written page: compressed to ${compressedWords(content)}${changed} ` +
    `(${formatCount(content.measuredPages)} measured)`
  );
}

const compressedWords = ({ compressedBytes }: WatchedContent) =>
  compressedBytes === undefined ? '-' : `${Math.round((compressedBytes / PAGE_SIZE) * 100)} %`;

const changedWords = ({ differenceBytes }: WatchedContent) =>
  differenceBytes === undefined ? '-' : formatBytes(differenceBytes);

const lineOf = (cells: readonly string[]) =>
  cells.map((cell, index) => cell.padStart(LINE_WIDTHS[index]!)).join('  ');

const linesOf = (text: string) => text.split('\n').filter((line) => line !== '');
