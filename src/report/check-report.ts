import type { CheckedFeature, CheckedMachine, CheckedTrackers, CheckReport } from '../checkpoint/index.ts';
import { formatTable } from './table.ts';

/** The JSON of `ckpt check`. */
export function checkJson(report: CheckReport): Readonly<Record<string, unknown>> {
  const { machine, purposes, trackers, target, dumpWorks } = report;
  return { dumpWorks, machine, ...(target === undefined ? {} : { target }), purposes, trackers };
}

/** What works here and what does not, by what a user may want to do. */
export function formatCheck(report: CheckReport): string {
  const { machine, purposes, trackers, target } = report;
  const parts = [formatMachine(machine)];
  if (target !== undefined)
    parts.push(`process ${target.pid} (${target.name})\n${formatFeatures(target.features)}`);
  const told = new Set<string>();
  for (const { id, title, what, works, features } of purposes) {
    // What works is told once.
    const news = features.filter((feature) => feature.state !== 'works' || !told.has(feature.id));
    for (const feature of news) told.add(feature.id);
    const verdict = `${title} (${what}): ${works ? 'works' : 'does not work'}\n`;
    parts.push(verdict + formatFeatures(news) + (id === 'track' ? formatTrackers(trackers) : ''));
  }
  return parts.join('\n');
}

function formatMachine(machine: CheckedMachine): string {
  const { kernelRelease, architecture, processors, nodeVersion, zstd, user, missingCapabilities } = machine;
  const rights = missingCapabilities.length === 0 ? '' : `, without ${missingCapabilities.join(', ')}`;
  return (
    `Linux ${kernelRelease}, ${architecture}, ${processors} processors, ` +
    `Node ${nodeVersion}, zstd by ${zstd === 'node' ? 'node:zlib' : 'zstd-codec'}\n` +
    `user ${user ?? 'unknown'}${user === 0 ? ' (root)' : ''}${rights}\n`
  );
}

function formatFeatures(features: readonly CheckedFeature[]): string {
  if (features.length === 0) return '';
  const rows: string[][] = [];
  for (const feature of features) {
    rows.push([markOf(feature), feature.name, feature.found]);
    if (feature.state === 'works') continue;
    if (feature.without !== undefined) rows.push(['', '', `without it: ${feature.without}`]);
    if (feature.remedy !== undefined) rows.push(['', '', `remedy: ${feature.remedy}`]);
  }
  return indented(formatRows(rows));
}

/** `ok`; `NO` for what is needed and missing, `no` for what is merely missing, `?` for what could not be tried. */
function markOf({ state, needed }: CheckedFeature): string {
  if (state === 'works') return 'ok';
  if (state === 'untried') return '?';
  return needed ? 'NO' : 'no';
}

function formatTrackers({ auto, kinds }: CheckedTrackers): string {
  const rows = kinds.map(({ kind, works, reason }) => [works ? 'ok' : 'no', `--tracker ${kind}`, reason]);
  if (auto !== undefined) rows.push(['=>', '--tracker auto', auto]);
  return indented(formatRows(rows));
}

/** A table without headings. */
function formatRows(rows: readonly (readonly string[])[]): string {
  return formatTable([{ heading: '' }, { heading: '' }, { heading: '' }], rows).replace(/^\n/, '');
}

function indented(text: string): string {
  return text.replace(/^(?=.)/gm, '  ');
}
