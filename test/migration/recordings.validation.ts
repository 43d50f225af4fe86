import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';
import {
  type IntervalName,
  openSimulatedMemory,
  type Rehearsal,
  rehearse,
  rehearseOnce,
} from '../../src/migration/index.ts';
import { parseWorkload } from '../../src/workload/index.ts';
import { type Compared, compare, openRecorded, recordedConditions } from './qemu-comparison.ts';
import { type Recording, readRecordings } from './qemu-recordings.ts';

const FILE = resolve(import.meta.dirname, '../../src/migration/VALIDATION.md');
const RUNS = 20;

/** What intervals held of what was recorded, over all recordings. */
const held = { of: 0, inside: 0 };

function deviation(compared: Compared | undefined, unit = ''): string {
  if (compared === undefined) return '–';
  const { predicted, recorded } = compared;
  const digits = Math.abs(recorded) < 10 ? 1 : 0;
  const percent = ((predicted / recorded - 1) * 100).toFixed(1);
  return `${predicted.toFixed(digits)} / ${recorded.toFixed(digits)}${unit} (${percent} %)`;
}

/** The interval of a figure, and whether what was recorded lies in it. */
function interval(
  rehearsal: Rehearsal,
  name: IntervalName,
  recorded: number | undefined,
  scale: number,
): string {
  if (recorded === undefined) return '–';
  const [low, high] = rehearsal.intervals[name].map((bound) => bound / scale) as [number, number];
  // Recorded times are whole milliseconds.
  const inside = recorded >= Math.floor(low) && recorded <= Math.ceil(high);
  held.of++;
  if (inside) held.inside++;
  return `${Math.floor(low)}–${Math.ceil(high)}${inside ? '' : ' ✗'}`;
}

async function row(recording: Recording): Promise<string> {
  const rehearsal = await rehearse((run) => openRecorded(recording, run), recordedConditions(recording), {
    runs: RUNS,
    withAdvice: false,
  });
  const compared = compare(recording, rehearsal);
  const { totalMilliseconds: total, downtimeMilliseconds: downtime, megabytes } = compared;
  const cells = [
    recording.id,
    compared.convergedAsRecorded ? 'same' : 'DIFFERENT',
    `${Math.round(rehearsal.convergence * 100)} %`,
    deviation(total),
    interval(rehearsal, 'totalMicroseconds', total?.recorded, 1000),
    deviation(megabytes),
    interval(rehearsal, 'transferredBytes', megabytes.recorded, 1e6),
    deviation(compared.reportedDowntimeMilliseconds),
    deviation(downtime),
    interval(rehearsal, 'downtimeMicroseconds', downtime?.recorded, 1000),
    `${compared.syncs.predicted} / ${compared.syncs.recorded}`,
  ];
  return `| ${cells.join(' | ')} |`;
}

async function published(): Promise<string[]> {
  const file = resolve(import.meta.dirname, '../../fixtures/published/clark-mmuncher.yaml');
  const workload = parseWorkload(readFileSync(file, 'utf8'), file);
  const memory = await openSimulatedMemory(workload, { warmUpMicroseconds: 5e6 });
  const outcome = rehearseOnce(memory, { link: { bytesPerSecond: 125e6 }, choice: { policy: 'clark' } });
  const megabytes = (index: number) => (outcome.rounds.at(index)?.sentBytes ?? 0) / 1e6;
  const figures: [string, number, number][] = [
    ['first round, MB', megabytes(0), 255],
    ['stop phase, MB', megabytes(-1), 222],
    ['all, MB', outcome.transferredBytes / 1e6, 638],
    ['downtime, s', outcome.downtimeMicroseconds / 1e6, 3.5],
  ];
  return figures.map(
    ([figure, predicted, printed]) => `| ${figure} | ${deviation({ predicted, recorded: printed })} |`,
  );
}

it('writes what predictions are worth', async () => {
  const rows: string[] = [];
  for (const recording of readRecordings()) rows.push(await row(recording));
  const text = [
    '# Validation',
    '',
    'Predicted against what happened; `npm run validate` writes this file. Every cell is predicted / recorded and how far the',
    'prediction is off.',
    '',
    '## Recorded migrations of QEMU 10',
    '',
    '`test/cases/qemu-migration` describes the recordings, `fixtures/qemu` says what their guests do. One set of costs serves',
    `all. Intervals hold 90 % of ${RUNS} rehearsals; ✗ marks those that miss what was recorded. Downtime is given twice: as QEMU`,
    'measures it at the source, and from the stop there to the resume at the destination.',
    '',
    '| case | verdict | converges | total ms | interval | MB sent | interval | reported downtime ms | downtime ms | interval | syncs |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
    '',
    `The intervals hold ${held.inside} of ${held.of} recorded figures (${Math.round((held.inside / held.of) * 100)} %).`,
    '',
    '## Published tables',
    '',
    'The diabolical workload of Clark and others, "Live Migration of Virtual Machines" (NSDI 2005), figure 11:',
    '`fixtures/published/clark-mmuncher.yaml`. The paper says that 256 MB are written all the time, not how fast.',
    '',
    '| figure | predicted / published |',
    '| --- | --- |',
    ...(await published()),
    '',
  ].join('\n');
  await expect(text).toMatchFileSnapshot(FILE);
});
