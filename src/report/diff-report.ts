import {
  type ByteRange,
  type CheckpointDifference,
  isMappingDifferent,
  type MappingDifference,
  type ProcessDifference,
} from '../checkpoint/index.ts';
import { formatBytes, formatCount, PAGE_SIZE } from '../core/index.ts';
import { describeProcess } from '../image/index.ts';
import { addressesOf, permissionsOf, vmaJson } from './checkpoint-report.ts';
import { formatStateDifference, stateDifferenceJson } from './state-difference-report.ts';
import { formatTable, printable } from './table.ts';

/** The JSON of `ckpt diff`: mappings that differ only. */
export function diffJson(difference: CheckpointDifference): Readonly<Record<string, unknown>> {
  const { a, b, different, processes } = difference;
  return {
    a,
    b,
    different,
    processes: processes
      .filter(({ sharedMemory }) => sharedMemory === undefined)
      .map(({ pid, name, presence, mappings, state }) => ({
        pid,
        name,
        presence,
        mappings: mappings.filter(isMappingDifferent).map(mappingJson),
        state: state === undefined ? null : stateDifferenceJson(state),
      })),
    sharedMemory: processes.flatMap(({ sharedMemory, presence, mappings }) =>
      sharedMemory === undefined
        ? []
        : [{ id: sharedMemory, presence, mappings: mappings.filter(isMappingDifferent).map(mappingJson) }],
    ),
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

/** Text: one table of mappings for each process, then what else differs; only what differs. */
export function formatDiff(difference: CheckpointDifference): string {
  const { a, b, different, processes } = difference;
  const same = different ? [] : [`checkpoints ${a} and ${b} hold the same memory\n`];
  const listed = processes.filter(({ state }) => different || state !== undefined);
  return [...same, ...listed.map((process) => formatProcess(process, a, b))].join('\n');
}

function formatProcess(process: ProcessDifference, a: number, b: number): string {
  const { name, presence, state } = process;
  const mappings = process.mappings.filter(isMappingDifferent);
  const only = presence === 'both' ? '' : `, only in ${presence === 'only-a' ? a : b}`;
  const named = name === '' ? '' : ` (${printable(name)})`;
  const parts = [`${describeProcess(process)}${named}${only}\n`];
  if (mappings.length > 0) parts.push(formatMappings(mappings));
  if (state !== undefined) parts.push(formatStateDifference(state));
  if (parts.length === 1) parts.push('no differences\n');
  return parts.join('');
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
