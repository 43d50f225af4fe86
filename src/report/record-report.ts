import { formatBytes, formatCount, formatDuration, PAGE_SIZE } from '../core/index.ts';
import type { RecordResult } from '../migration/index.ts';
import { formatFields } from './table.ts';

const ENDS: Readonly<Record<RecordResult['end'], string>> = {
  duration: '',
  interrupted: ', interrupted',
  'target-ended': ', until the target ended',
};

/** What was recorded, and what the target had of it. */
export function formatRecordResult(result: RecordResult): string {
  const { intervals, microseconds, writtenPages, frozenMicroseconds: frozen } = result;
  const perSecond = microseconds === 0 ? 0 : (writtenPages * 1_000_000) / microseconds;
  const stops: [string, string][] =
    result.kind === 'simulated'
      ? []
      : [
          [
            'stopped',
            `${formatDuration(frozen.mean)} for a scan, ${formatDuration(frozen.longest)} at most, ` +
              `${formatDuration(frozen.first)} for the first`,
          ],
        ];
  return formatFields([
    ['target', result.target],
    ['trace', `${result.file} (${formatBytes(result.fileBytes)})`],
    [
      'time',
      `${formatDuration(microseconds)} in ${formatCount(intervals)} intervals${ENDS[result.end]}` +
        (result.clock === 'virtual' ? ' (virtual)' : ''),
    ],
    ...stretched(result),
    [
      'memory',
      `${formatBytes(result.residentPages * PAGE_SIZE)} in ${formatCount(result.residentPages)} pages, ` +
        `${formatCount(result.zeroPages)} of zeros`,
    ],
    [
      'written',
      `${formatCount(writtenPages)} pages, ${formatBytes(perSecond * PAGE_SIZE)}/s; ` +
        `${formatCount(result.samples)} measured`,
    ],
    ...stops,
    ['tracker', result.trackerReason],
  ]);
}

/** How much coarser the trace became to stay below its limit. */
function stretched({
  stretchedIntervals,
  intervals,
  intervalMicroseconds,
  longestIntervalMicroseconds,
}: RecordResult): readonly [string, string][] {
  if (stretchedIntervals === 0) return [];
  return [
    [
      'intervals',
      `${formatCount(stretchedIntervals)} of ${formatCount(intervals)} are longer than ` +
        `${formatDuration(intervalMicroseconds)}, ${formatDuration(longestIntervalMicroseconds)} at most, ` +
        'to keep the trace within --max-size',
    ],
  ];
}
