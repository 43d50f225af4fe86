import {
  type ByteRange,
  type CheckpointDifference,
  isMappingDifferent,
  type MappingDifference,
} from '../checkpoint/index.ts';
import { formatBytes, formatCount, PAGE_SIZE } from '../core/index.ts';
import { addressesOf, permissionsOf, vmaJson } from './checkpoint-report.ts';
import { formatTable } from './table.ts';

/** The JSON of `ckpt diff`: mappings that differ only. */
export function diffJson(difference: CheckpointDifference): Readonly<Record<string, unknown>> {
  const { a, b, different, processes } = difference;
  return {
    a,
    b,
    different,
    processes: processes.map(({ pid, name, presence, mappings }) => ({
      pid,
      name,
      presence,
      mappings: mappings.filter(isMappingDifferent).map(mappingJson),
    })),
  };
}

function mappingJson(mapping: MappingDifference): Readonly<Record<string, unknown>> {
  const { changedPages, appearedPages, vanishedPages, changedBytes, ranges } = mapping;
  return {
    ...vmaJson(mapping.vma),
    state: mapping.state,
    pages: { changed: changedPages, appeared: appearedPages, vanished: vanishedPages },
    ...(changedBytes === undefined ? {} : { changedBytes }),
    ...(ranges === undefined ? {} : { ranges: ranges.map(rangeJson) }),
  };
}

function rangeJson(range: ByteRange): Readonly<Record<string, unknown>> {
  return { start: formatByteAddress(range), lengthBytes: range.lengthBytes };
}

/** Text: one table for each process, only what differs. */
export function formatDiff(difference: CheckpointDifference): string {
  if (!difference.different) return `checkpoints ${difference.a} and ${difference.b} hold the same memory\n`;
  return difference.processes
    .map(({ pid, name, presence, mappings }) => {
      const differing = mappings.filter(isMappingDifferent);
      const only =
        presence === 'both' ? '' : `, only in ${presence === 'only-a' ? difference.a : difference.b}`;
      const heading = `process ${pid} (${name})${only}\n`;
      return heading + (differing.length === 0 ? 'no differences\n' : formatMappings(differing));
    })
    .join('\n');
}

function formatMappings(mappings: readonly MappingDifference[]): string {
  const withBytes = mappings.some(({ changedBytes }) => changedBytes !== undefined);
  const table = formatTable(
    [
      { heading: 'mapping' },
      { heading: 'perm' },
      { heading: 'state' },
      { heading: 'changed', align: 'right' },
      { heading: 'appeared', align: 'right' },
      { heading: 'vanished', align: 'right' },
      ...(withBytes ? [{ heading: 'bytes', align: 'right' as const }] : []),
      { heading: 'what' },
    ],
    mappings.map((mapping) => [
      addressesOf(mapping.vma),
      permissionsOf(mapping.vma),
      mapping.state,
      formatCount(mapping.changedPages),
      formatCount(mapping.appearedPages),
      formatCount(mapping.vanishedPages),
      ...(withBytes ? [formatBytes(mapping.changedBytes ?? 0)] : []),
      mapping.vma.pathname === '' ? 'anonymous' : mapping.vma.pathname,
    ]),
  );
  const ranges = mappings.flatMap((mapping) => mapping.ranges ?? []);
  return table + ranges.map((range) => `  ${formatByteAddress(range)} +${range.lengthBytes}\n`).join('');
}

/** `0x7f35a4a00123`: the address of the first byte. */
function formatByteAddress({ page, offsetBytes }: ByteRange): string {
  return `0x${(BigInt(page) * BigInt(PAGE_SIZE) + BigInt(offsetBytes)).toString(16)}`;
}
