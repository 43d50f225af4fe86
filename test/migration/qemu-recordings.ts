import { readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { type LinkOptions, type QemuOptions, TCP_SHARE } from '../../src/migration/index.ts';

/** What of a recorded migration is read here; test/cases/qemu-migration/README.md describes the whole file. */
export interface Recording {
  readonly id: string;
  readonly note: string;
  readonly memory_mib: number;
  readonly workload: {
    readonly pattern: 'idle' | 'uniform' | 'seq' | 'hot' | 'zipf';
    readonly pages: number;
    readonly rate?: number;
    readonly theta?: number;
    readonly hotpages?: number;
    readonly hotpermil?: number;
    readonly bytes?: number;
    readonly fillrnd?: number;
    readonly burston?: number;
    readonly burstoff?: number;
    readonly work?: number;
  };
  readonly capabilities: Readonly<Record<string, boolean>>;
  readonly parameters_effective: Readonly<Record<string, number | string | boolean>>;
  readonly link: { readonly kind: string; readonly mbit?: number };
  /** How far a run of the second set was disturbed: see its README. */
  readonly mean_window_ms?: number;
  readonly link_share?: number;
  readonly baseline: { readonly writes_per_s: number };
  readonly heartbeats: { readonly source: readonly (readonly [number, number, number])[] };
  readonly polls: {
    readonly columns: readonly string[];
    readonly rows: readonly (readonly (number | string)[])[];
  };
  readonly observed?: { readonly stop_to_resume_ms?: number };
  readonly result: {
    readonly status: string;
    readonly converged: boolean;
    readonly total_time_ms: number | null;
    readonly downtime_ms: number | null;
    readonly dirty_sync_count: number;
    readonly postcopy_started_ms: number | null;
    readonly final: {
      readonly ram?: { readonly transferred: number };
      readonly last_active?: {
        readonly 'total-time': number;
        readonly ram: { readonly transferred: number };
      };
    };
  };
}

const CASES = resolve(import.meta.dirname, '../cases');

/** The recordings of one of the sets in test/cases. */
export function readRecordings(
  set: 'qemu-migration' | 'qemu-migration-more' = 'qemu-migration',
): Recording[] {
  const runs = join(CASES, set, 'runs');
  return readdirSync(runs)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => JSON.parse(readFileSync(join(runs, name), 'utf8')) as Recording);
}

/** Whether other work on the host left a run of the second set as it would have been. */
export function isUndisturbed({ mean_window_ms: window = 100, link_share: share }: Recording): boolean {
  return share === undefined ? window <= 102.5 : share >= 0.99;
}

/** The workload file in fixtures/qemu that says what the guest of a recording does. */
export function workloadFile(recording: Recording): string {
  return resolve(import.meta.dirname, '../../fixtures/qemu', `${basename(workloadName(recording))}.yaml`);
}

/** Runs of one guest under different conditions share a workload file. */
export function workloadName({ memory_mib, workload, baseline }: Recording): string {
  const { pattern, pages, rate, ...others } = workload;
  const details = Object.entries(others)
    .filter(([name]) => name !== 'scatter')
    .map(([name, value]) => `${name}${value}`);
  const pace =
    rate === 0 ? [`cpu${Math.round(baseline.writes_per_s)}`] : rate === undefined ? [] : [`${rate}`];
  return [pattern, `${memory_mib}m`, `${pages}p`, ...pace, ...details].join('-');
}

const PAGE = 4096;
/** Pages of firmware and option ROMs behind the RAM. */
const ROM_PAGES = 130;
/** What Linux 6.1 and the initramfs occupy in low memory, and what is never used there. */
const KERNEL_PAGES = 14380;
const LOW_FREE_PAGES = 4850;
/**
 * Where the region lies (see `layout` of the recordings): a part of it fills holes among the kernel's pages, the bulk
 * is one run behind low memory, and some pages are the last of RAM. It matters to XBZRLE, whose cache has one place
 * for all frames that are a multiple of its size apart.
 */
const LOW_REGION_PAGES = 2970;
const LOW_REGION_FRAME = 11_000;
const endRegionPages = (memoryMebibytes: number) => (memoryMebibytes <= 256 ? 707 : 219);
/** What lies at the end of RAM: early allocations and, after them, 64 bytes of `struct page` for each page. */
const EARLY_PAGES = 1000;
/** Pages that the kernel writes all the time. */
const BUSY_KERNEL_PAGES = 100;

/** The workload file for a recorded guest: its memory in physical order, and what its program does. */
export function workloadText(recording: Recording): string {
  const { workload, memory_mib } = recording;
  const total = memory_mib * 256 + ROM_PAGES;
  const tables = Math.max(1, Math.ceil(workload.pages / 1024 + workload.pages / 32768));
  // Page tables, the permutation and, for zipf, the alias table of the program.
  const overhead = Math.ceil(workload.pages / (workload.pattern === 'zipf' ? 140 : 290)) - tables;
  const top = EARLY_PAGES + memory_mib * 4;
  const used = BUSY_KERNEL_PAGES + KERNEL_PAGES + overhead + LOW_FREE_PAGES + tables + workload.pages + top;
  const end = endRegionPages(memory_mib);
  const filled = (workload.fillrnd ?? 1000) / 1000;
  const content = filled === 1 ? '{ kind: random }' : `{ kind: padded, compressible: ${1 - filled} }`;
  const region = (name: string, pages: number, kind: string) =>
    `      ${name}: { size: ${pages * PAGE}, resident: ${pages * PAGE}, kind: anonymous, content: ${kind} }`;
  const mix = '{ kind: mix, compressible: 85% }';
  return [
    `# A guest of ${memory_mib} MiB: Linux 6.1 and one program that writes to ${workload.pages} pages. Regions stand in the order of`,
    '# physical memory, in which QEMU scans them; memory that was never used is resident and zero.',
    'version: 1',
    `name: ${workloadName(recording)}`,
    'processes:',
    '  - name: guest',
    `    cpu: ${cpuShare(recording)}%`,
    '    regions:',
    region('busy', BUSY_KERNEL_PAGES, mix),
    region('kernel', LOW_REGION_FRAME - BUSY_KERNEL_PAGES, mix),
    region('low', LOW_REGION_PAGES, content),
    region('programs', KERNEL_PAGES + overhead + end - LOW_REGION_FRAME + BUSY_KERNEL_PAGES, mix),
    region('unused', LOW_FREE_PAGES, '{ kind: zero }'),
    region('tables', tables, mix),
    region('region', workload.pages - LOW_REGION_PAGES - end, content),
    region('free', total - used, '{ kind: zero }'),
    region('top', top - end, '{ kind: padded, compressible: 90% }'),
    region('end', end, content),
    '    phases:',
    ...phases(recording),
    '',
  ].join('\n');
}

/** Percent of the vCPU that the guest uses: 8 when idle, about 2.5 us a write, 15 ns a step of other work. */
function cpuShare({ workload, baseline }: Recording): number {
  if (workload.rate === 0) return 100;
  const perWrite = 2.5e-6 + (workload.work ?? 0) * 15e-9;
  return Math.min(100, Math.round((0.08 + baseline.writes_per_s * perWrite) * 100));
}

function phases(recording: Recording): string[] {
  const { workload, baseline } = recording;
  const kernel = '          - { region: busy, pattern: uniform, rate: 600/s, bytes: 64 }';
  if (workload.pattern === 'idle') return ['      - duration: 1s', '        writes:', kernel];
  const bytes = Math.min(PAGE, (workload.bytes ?? 8) + 8);
  const rate = workload.rate === 0 ? Math.round(baseline.writes_per_s) : (workload.rate ?? 0);
  const writes = [
    kernel,
    ...regionParts(recording).map(
      ([name, share]) =>
        `          - { region: ${name}, ${pattern(workload)}, rate: ${Math.round(rate * share * 100) / 100}/s, bytes: ${bytes} }`,
    ),
    `          - { region: tables, pattern: uniform, rate: ${rate}/s, bytes: 4 }`,
  ];
  if (workload.burston === undefined) return ['      - duration: 60s', '        writes:', ...writes];
  return [
    `      - duration: ${workload.burston}ms`,
    '        writes:',
    ...writes,
    `      - duration: ${workload.burstoff}ms`,
    '        writes:',
    kernel,
  ];
}

/** The parts of the region with the share of the writes that each gets: pages are shuffled, so by their numbers. */
function regionParts({ workload, memory_mib }: Recording): [string, number][] {
  const theta = workload.pattern === 'zipf' ? (workload.theta ?? 990) / 1000 : 0;
  // Of a zipf distribution a small part has its share of the tail; the head lies in the bulk.
  const share = (pages: number) =>
    ((pages / workload.pages) ** theta * zipfSum(pages, theta)) / zipfSum(workload.pages, theta);
  const low = share(LOW_REGION_PAGES);
  const end = share(endRegionPages(memory_mib));
  return [
    ['low', low],
    ['region', 1 - low - end],
    ['end', end],
  ];
}

function zipfSum(count: number, theta: number): number {
  let sum = 0;
  for (let rank = 1; rank <= count; rank++) sum += rank ** -theta;
  return sum;
}

function pattern(workload: Recording['workload']): string {
  switch (workload.pattern) {
    case 'seq':
      return 'pattern: sequential';
    case 'hot': {
      const hot = (workload.hotpages ?? 1) / workload.pages;
      return `pattern: hot-cold, hot: ${hot}, probability: ${(workload.hotpermil ?? 0) / 1000}`;
    }
    case 'zipf':
      return `pattern: zipf, theta: ${(workload.theta ?? 990) / 1000}`;
    default:
      return 'pattern: uniform';
  }
}

/** How long the guest's program had run when the migration began: its clock is in the heartbeats. */
export function warmUpMicroseconds(recording: Recording): number {
  const [hostMilliseconds, guestMilliseconds] = recording.heartbeats.source.find(([host]) => host >= 0) ??
    recording.heartbeats.source.at(-1) ?? [0, 5600];
  return Math.max(0, Math.round((guestMilliseconds - hostMilliseconds) * 1000));
}

/** The link of a recording. */
export function linkOptions({ link }: Recording): LinkOptions {
  if (link.mbit === undefined) {
    // A local socket: as fast as memory is copied.
    return { bytesPerSecond: 1.1e9, uncertainty: 0.5, roundTripMicroseconds: 100, backlogBytes: 200_000 };
  }
  return {
    bytesPerSecond: link.mbit * 125_000 * TCP_SHARE,
    roundTripMicroseconds: 200,
    burstBytes: Math.max(32, 2 * link.mbit) * 1000,
  };
}

/** QEMU's parameters in a recording. */
export function qemuOptions(recording: Recording): Partial<QemuOptions> {
  const { parameters_effective: parameters, capabilities, result } = recording;
  const number = (name: string) => Number(parameters[name]);
  return {
    maxBandwidth: number('max-bandwidth'),
    downtimeLimitMicroseconds: number('downtime-limit') * 1000,
    availSwitchoverBandwidth: number('avail-switchover-bandwidth'),
    autoConverge: capabilities['auto-converge'] === true,
    cpuThrottleInitial: number('cpu-throttle-initial'),
    cpuThrottleIncrement: number('cpu-throttle-increment'),
    cpuThrottleTailslow: parameters['cpu-throttle-tailslow'] === true,
    maxCpuThrottle: number('max-cpu-throttle'),
    throttleTriggerThreshold: number('throttle-trigger-threshold'),
    xbzrle: capabilities['xbzrle'] === true,
    xbzrleCacheBytes: number('xbzrle-cache-size'),
    multifdChannels: capabilities['multifd'] === true ? number('multifd-channels') : 0,
    multifdCompression: compressionOf(parameters['multifd-compression']),
    detectZeroPages: parameters['zero-page-detection'] !== 'none',
    maxPostcopyBandwidth: number('max-postcopy-bandwidth'),
    postcopyPreempt: capabilities['postcopy-preempt'] === true,
    postcopyAfter: postcopyAfter(result),
    // The emulator's dirty log has no manual protection.
    clearLog: 'at-sync',
  };
}

function compressionOf(name: unknown): QemuOptions['multifdCompression'] {
  return name === 'zstd' || name === 'zlib' ? name : 'none';
}

function postcopyAfter({
  postcopy_started_ms,
  dirty_sync_count,
}: Recording['result']): QemuOptions['postcopyAfter'] {
  if (postcopy_started_ms === null) return undefined;
  // A start within the first pass was asked for after a time, any other after a number of passes.
  return dirty_sync_count <= 2
    ? { microseconds: postcopy_started_ms * 1000 }
    : { rounds: dirty_sync_count - 2 };
}

/** When the person who migrated lost patience. */
export function giveUpMicroseconds(recording: Recording): number {
  const { last_active } = recording.result.final;
  return last_active === undefined ? 600e6 : last_active['total-time'] * 1000;
}
