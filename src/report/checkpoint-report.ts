import {
  type CheckpointDescription,
  knowsMappings,
  type MappingDescription,
  type ProcessDescription,
} from '../checkpoint/index.ts';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatPageAddress,
  PAGE_SIZE,
  pageCountOf,
} from '../core/index.ts';
import type { Manifest, StoredFiles, StoredVma } from '../image/index.ts';
import type { LiveState } from '../target/index.ts';
import { formatWarning, warningJson } from './dump-report.ts';
import { formatGaps, formatProcessState, machineText, type StateDetail } from './state-report.ts';
import { formatFields, formatTable, printable } from './table.ts';

/** The JSON of `ckpt ls`. */
export function checkpointsJson(
  manifests: readonly Manifest[],
): readonly Readonly<Record<string, unknown>>[] {
  return manifests.map(manifestJson);
}

/** The checkpoints of a store, a line each. */
export function formatCheckpoints(manifests: readonly Manifest[]): string {
  if (manifests.length === 0) return 'no checkpoints\n';
  return formatTable(
    [
      { heading: 'checkpoint', align: 'right' },
      { heading: 'kind' },
      { heading: 'parent', align: 'right' },
      { heading: 'taken' },
      { heading: 'target' },
      { heading: 'tracker' },
      { heading: 'memory', align: 'right' },
      { heading: 'written', align: 'right' },
      { heading: 'stored', align: 'right' },
      { heading: 'stopped', align: 'right' },
    ],
    manifests.map((manifest) => [
      String(manifest.number),
      kindText(manifest),
      manifest.parent === null ? '-' : String(manifest.parent),
      manifest.createdAt.slice(0, 19).replace('T', ' '),
      manifest.target.name,
      manifest.tracker,
      formatBytes(manifest.bytes.memory),
      formatCount(manifest.pages.written),
      formatBytes(manifest.bytes.stored),
      stoppedText(manifest),
    ]),
  );
}

/** What kind of checkpoint it is; why it cannot be restored, if it cannot. */
function kindText({ preDump, notRestorable, kind }: Manifest): string {
  return preDump ? 'pre-dump' : (notRestorable ?? kind);
}

/** How long the target stood still; of what a migration brought, only its source knows that. */
function stoppedText({ microseconds }: Manifest): string {
  return microseconds.freeze === 0 ? '-' : formatDuration(microseconds.freeze);
}

/** The JSON of `ckpt show`. */
export function checkpointJson({
  manifest,
  processes,
  state,
}: CheckpointDescription): Readonly<Record<string, unknown>> {
  return {
    ...manifestJson(manifest),
    processes: processes.filter(({ process }) => process.sharedMemory === undefined).map(processJson),
    sharedMemory: processes.flatMap(objectJson),
    liveState: state ?? null,
  };
}

function manifestJson(manifest: Manifest): Readonly<Record<string, unknown>> {
  const { number, kind, parent, preDump, createdAt, target, tracker, codec, pages, bytes, microseconds } =
    manifest;
  return {
    checkpoint: number,
    kind,
    parent,
    preDump,
    notRestorable: manifest.notRestorable ?? null,
    createdAt,
    target,
    tracker,
    codec,
    pages,
    bytes,
    microseconds,
    packs: manifest.packs,
    memoryDigest: manifest.memoryDigest,
    state: manifest.state === null ? null : { format: manifest.state.format, ...manifest.state.summary },
    files: manifest.files === undefined ? null : filesJson(manifest.files),
    warnings: manifest.warnings.map(warningJson),
  };
}

function filesJson({ format, content }: StoredFiles): Readonly<Record<string, unknown>> {
  return { format, bytes: content.bytes };
}

function processJson({ process, mappings }: ProcessDescription): Readonly<Record<string, unknown>> {
  return {
    pid: process.pid,
    parentPid: process.parentPid,
    name: process.name,
    mappings: mappings.map((mapping) => ({
      ...vmaJson(mapping.vma),
      kept: mapping.rule,
      reason: mapping.reason,
      pages: {
        mapped: pageCountOf(mapping.vma),
        present: mapping.presentPages,
        zero: mapping.zeroPages,
        own: mapping.ownPages,
      },
    })),
  };
}

/** An object of shared memory; none for a process. */
function objectJson({ process, mappings }: ProcessDescription): readonly Readonly<Record<string, unknown>>[] {
  const { sharedMemory, name } = process;
  if (sharedMemory === undefined) return [];
  const pages = {
    mapped: sumOf(mappings, ({ vma }) => pageCountOf(vma)),
    present: sumOf(mappings, ({ presentPages }) => presentPages),
    zero: sumOf(mappings, ({ zeroPages }) => zeroPages),
    own: sumOf(mappings, ({ ownPages }) => ownPages),
  };
  return [{ id: sharedMemory, name, pages }];
}

function sumOf(mappings: readonly MappingDescription[], of: (mapping: MappingDescription) => number): number {
  return mappings.reduce((sum, mapping) => sum + of(mapping), 0);
}

/** A mapping with its addresses as `0x` strings. */
export function vmaJson(vma: StoredVma): Readonly<Record<string, unknown>> {
  return {
    start: formatPageAddress(vma.startPage),
    end: formatPageAddress(vma.endPage),
    permissions: permissionsOf(vma),
    offsetBytes: vma.offsetPages * PAGE_SIZE,
    pathname: vma.pathname,
    flags: vma.flags,
  };
}

/** `rw-p`, as in maps. */
export function permissionsOf(vma: Pick<StoredVma, 'read' | 'write' | 'execute' | 'shared'>): string {
  return (
    (vma.read ? 'r' : '-') + (vma.write ? 'w' : '-') + (vma.execute ? 'x' : '-') + (vma.shared ? 's' : 'p')
  );
}

/** `7f35a4a00000-7f35a4a21000`, as in maps. */
export function addressesOf(vma: { readonly startPage: number; readonly endPage: number }): string {
  const address = (page: number) => formatPageAddress(page).slice(2).padStart(8, '0');
  return `${address(vma.startPage)}-${address(vma.endPage)}`;
}

/** Everything about a checkpoint but its pages. */
export function formatCheckpoint(description: CheckpointDescription, detail: StateDetail): string {
  const { manifest, processes, state } = description;
  const parts = [
    formatHead(manifest, state),
    ...processes
      .filter(({ process }) => process.sharedMemory === undefined)
      .map((process) => formatProcess(process, description, detail)),
  ];
  const objects = processes.filter(({ process }) => process.sharedMemory !== undefined);
  if (objects.length > 0) parts.push(formatObjects(objects));
  if (manifest.state !== null && state === undefined) parts.push(formatState(manifest.state.summary));
  const remarks =
    formatGaps(gapsOf(description)) +
    manifest.warnings.map((warning) => `warning: ${formatWarning(warning)}\n`).join('');
  if (remarks !== '') parts.push(remarks);
  return parts.join('\n');
}

/** What the state lacks, and of pages alone the mappings. */
function gapsOf({ manifest, state }: CheckpointDescription): readonly string[] {
  if (state !== undefined || knowsMappings(manifest)) return state?.gaps ?? [];
  return [
    'mappings, registers, files and all else but pages, which are listed in ranges: CRIU keeps it in dumps alone',
  ];
}

function formatHead(manifest: Manifest, state: LiveState | undefined): string {
  const { pages, bytes, codec } = manifest;
  const on = manifest.parent === null ? '' : ` on ${manifest.parent}`;
  return formatFields([
    ['checkpoint', `${manifest.number} (${kindText(manifest)}${on})`],
    ['taken', manifest.createdAt],
    ['target', `${manifest.target.name} (${manifest.target.kind})`],
    ...(state === undefined ? [] : [['machine', machineText(state)] as const]),
    ['tracker', manifest.tracker],
    ['codec', codec.name === 'zstd' ? `zstd, level ${codec.level}` : codec.name],
    [
      'pages',
      `${formatCount(pages.mapped)} mapped, ${formatCount(pages.present)} present, ${formatCount(pages.zero)} zero, ` +
        `${formatCount(pages.dirty)} dirty, ${formatCount(pages.written)} written, ${formatCount(pages.shared)} shared`,
    ],
    ['size', `${formatBytes(bytes.memory)} of memory, ${formatBytes(bytes.stored)} stored`],
    ['time', timeText(manifest)],
    ...(manifest.files === undefined ? [] : [['files', filesText(manifest.files)] as const]),
    ['packs', manifest.packs.join(', ')],
    ['digest', manifest.memoryDigest],
  ]);
}

/** Where the time went. What CRIU dumped has been stopped by it, and only the way into the store was ours. */
function timeText(manifest: Manifest): string {
  const { target, microseconds } = manifest;
  const { scan, read, total } = microseconds;
  const own =
    target.kind === 'criu'
      ? [`taken in ${formatDuration(total)}`]
      : [`scan ${formatDuration(scan)}`, `read ${formatDuration(read)}`, `total ${formatDuration(total)}`];
  return [`stopped ${stoppedText(manifest)}`, ...own].join(', ');
}

function filesText({ format, content }: StoredFiles): string {
  return `${formatBytes(content.bytes)} beside memory, kept byte for byte (${format})`;
}

function formatObjects(objects: readonly ProcessDescription[]): string {
  return formatTable(
    [
      { heading: 'shared memory' },
      { heading: 'pages', align: 'right' },
      { heading: 'present', align: 'right' },
      { heading: 'zero', align: 'right' },
      { heading: 'own', align: 'right' },
      { heading: 'what' },
    ],
    objects.map(({ process, mappings }) => [
      process.sharedMemory ?? '',
      formatCount(sumOf(mappings, ({ vma }) => pageCountOf(vma))),
      formatCount(sumOf(mappings, ({ presentPages }) => presentPages)),
      formatCount(sumOf(mappings, ({ zeroPages }) => zeroPages)),
      formatCount(sumOf(mappings, ({ ownPages }) => ownPages)),
      printable(process.name),
    ]),
  );
}

function formatProcess(
  { process, mappings }: ProcessDescription,
  { manifest, state }: CheckpointDescription,
  detail: StateDetail,
): string {
  const isMapped = knowsMappings(manifest);
  // Of processes of a pre-dump CRIU records the PID alone.
  const heading =
    process.name === '' && process.parentPid === 0
      ? `process ${process.pid}\n`
      : `process ${process.pid} (${printable(process.name)}), parent ${process.parentPid}\n`;
  const own = state?.processes.find(({ pid }) => pid === process.pid);
  if (own !== undefined && mappings.length === 0)
    return `${heading}it had ended, and its parent had not asked how\n`;
  const details =
    state === undefined || own === undefined
      ? ''
      : `${formatProcessState(state, own, process.vmas, detail)}\n`;
  const table = formatTable(
    [
      { heading: isMapped ? 'mapping' : 'range' },
      ...(isMapped ? [{ heading: 'perm' }] : []),
      { heading: 'pages', align: 'right' },
      { heading: 'present', align: 'right' },
      { heading: 'zero', align: 'right' },
      { heading: 'own', align: 'right' },
      ...(isMapped ? [{ heading: 'what' }] : []),
    ],
    mappings.map((mapping) => [
      addressesOf(mapping.vma),
      ...(isMapped ? [permissionsOf(mapping.vma)] : []),
      formatCount(pageCountOf(mapping.vma)),
      formatCount(mapping.presentPages),
      formatCount(mapping.zeroPages),
      formatCount(mapping.ownPages),
      ...(isMapped ? [describeMapping(mapping)] : []),
    ]),
  );
  return heading + details + table;
}

function describeMapping({ vma, rule, reason, presentPages }: MappingDescription): string {
  const name = vma.pathname === '' ? 'anonymous' : vma.pathname;
  // CRIU keeps some pages that ckpt would leave to the file.
  return rule === 'none' && presentPages === 0 ? `${name} (not kept: ${reason})` : name;
}

function formatState(summary: Readonly<Record<string, unknown>>): string {
  const fields = Object.entries(summary).map(([name, value]) => [name, stateText(value)] as const);
  return `state\n${formatFields(fields)}`;
}

function stateText(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : JSON.stringify(value);
}
