import type { DumpResult, RestoreResult, RunResult } from '../checkpoint/index.ts';
import { formatBytes, formatCount, formatDuration, formatPageAddress } from '../core/index.ts';
import type { DumpWarning } from '../image/index.ts';
import { formatFields } from './table.ts';

/** The JSON of `ckpt dump`: addresses as `0x` strings. */
export function dumpJson(result: DumpResult): Readonly<Record<string, unknown>> {
  return { ...result, warnings: result.warnings.map(warningJson) };
}

/** A warning of a dump with its addresses as `0x` strings. */
export function warningJson({
  pid,
  startPage,
  endPage,
  reason,
}: DumpWarning): Readonly<Record<string, unknown>> {
  return endPage > startPage
    ? { pid, start: formatPageAddress(startPage), end: formatPageAddress(endPage), reason }
    : { pid, reason };
}

/** `process 17, 0x7f35a4a00000-0x7f35a4a01000: could not be read`. */
export function formatWarning({ pid, startPage, endPage, reason }: DumpWarning): string {
  const where = endPage > startPage ? `, ${formatPageAddress(startPage)}-${formatPageAddress(endPage)}` : '';
  return `process ${pid}${where}: ${reason}`;
}

/** What a dump did, in four lines. */
export function formatDumpResult(result: DumpResult): string {
  const { pages, bytes, microseconds } = result;
  const on = result.parent === null ? '' : ` on ${result.parent}`;
  return formatFields([
    [
      'checkpoint',
      `${result.checkpoint} (${result.kind}${on}, ${result.tracker})${processCount(result.processes)}`,
    ],
    [
      'pages',
      `${formatCount(pages.present)} present (${formatCount(pages.zero)} zero), ${formatCount(pages.dirty)} dirty, ` +
        `${formatCount(pages.written)} written, ${formatCount(pages.shared)} shared`,
    ],
    ['size', `${formatBytes(bytes.memory)} of memory, ${formatBytes(bytes.stored)} stored`],
    [
      'time',
      `${formatDuration(microseconds.total)}, target stopped for ${formatDuration(microseconds.freeze)} ` +
        `(scan ${formatDuration(microseconds.scan)}, read ${formatDuration(microseconds.read)})`,
    ],
  ]);
}

function processCount(count: number): string {
  return count === 1 ? '' : `, ${formatCount(count)} processes`;
}

/** The JSON of `ckpt restore --to`: addresses as `0x` strings. */
export function restoredJson(result: RestoreResult): Readonly<Record<string, unknown>> {
  const lost = result.lost.map(({ pid, startPage, endPage, why }) => ({
    pid,
    start: formatPageAddress(startPage),
    end: formatPageAddress(endPage),
    why,
  }));
  return { ...result, lost };
}

/** What a restore wrote. */
export function formatRestoreResult(result: RestoreResult): string {
  return formatFields([
    ['checkpoint', String(result.checkpoint)],
    ['directory', result.directory],
    ['files', `${formatCount(result.files)} mappings, and maps`],
    ['memory', `${formatBytes(result.bytes)} in ${formatCount(result.pages)} pages`],
    [
      'digest',
      `${result.memoryDigest} (${result.lost.length === 0 ? 'verified' : 'not that of these files'})`,
    ],
    ...result.lost.map(({ pid, startPage, endPage, why }): [string, string] => [
      'lost',
      `${formatPageAddress(startPage)}-${formatPageAddress(endPage)} of process ${pid}: ${why}`,
    ]),
    ['time', formatDuration(result.microseconds)],
  ]);
}

/** How a restored simulated process went on. */
export function formatRunResult(result: RunResult): string {
  return formatFields([
    ['checkpoint', `${result.checkpoint} of ${result.target}`],
    ['restored', `${result.restoredDigest} (verified)`],
    [
      'ran',
      `${formatDuration(result.ranMicroseconds)}, to ${formatDuration(result.nowMicroseconds)} of virtual time`,
    ],
    ['memory', result.memoryDigest],
  ]);
}
