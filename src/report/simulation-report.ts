import type { SimulatedProcess } from '../checkpoint/index.ts';
import { formatCount, formatDuration, formatPageAddress } from '../core/index.ts';
import type { PagemapRow } from '../target/index.ts';
import type { TrackerComparison, TrackerResult, WorkloadReport } from '../workload/index.ts';
import { formatFields, formatTable } from './table.ts';

/** What a workload did. */
export function formatWorkloadReport(report: WorkloadReport): string {
  const head = formatFields([
    ['workload', `${report.workload}, on the simulated Linux ${report.kernel}`],
    ['virtual time', formatDuration(report.virtualMicroseconds)],
    ['kernel work', formatDuration(report.kernelMicroseconds)],
    ['speed', `${formatCount(report.writesPerSecond)} page writes a second of machine time`],
  ]);
  const processes = formatTable(
    [
      { heading: 'pid', align: 'right' },
      { heading: 'name' },
      { heading: 'status' },
      { heading: 'mapped', align: 'right' },
      { heading: 'resident', align: 'right' },
      { heading: 'written', align: 'right' },
      { heading: 'writes', align: 'right' },
      { heading: 'minor faults', align: 'right' },
    ],
    report.processes.map((process) => [
      String(process.pid),
      process.name,
      process.status,
      formatCount(process.mappedPages),
      formatCount(process.residentPages),
      formatCount(process.writtenPages),
      formatCount(process.writes),
      formatCount(process.minorFaults),
    ]),
  );
  const faults = Object.entries(report.faults)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => [kind, formatCount(count)] as const);
  return `${head}\n${processes}${formatExited(report)}\nfaults\n${formatFields(faults)}`;
}

/** A line for each program whose processes have come and gone. */
function formatExited({ exited }: WorkloadReport): string {
  return Object.entries(exited)
    .map(
      ([name, { processes, writes }]) =>
        `${formatCount(processes)} ${name} exited after ${formatCount(writes)} writes\n`,
    )
    .join('');
}

/** Trackers side by side. */
export function formatTrackerComparison(comparison: TrackerComparison): string {
  const { truth, intervalMicroseconds, trackers } = comparison;
  const changed = truth.reduce((sum, { changedPages }) => sum + changedPages, 0);
  const head = formatFields([
    ['workload', `${comparison.workload}, on the simulated Linux ${comparison.kernel}`],
    ['intervals', `${truth.length} of ${formatDuration(intervalMicroseconds)}`],
    ['changed', `${formatCount(changed)} pages in all, by their contents`],
  ]);
  const table = formatTable(
    [
      { heading: 'tracker' },
      { heading: 'reported', align: 'right' },
      { heading: 'missed', align: 'right' },
      { heading: 'extra', align: 'right' },
      { heading: 'looked at', align: 'right' },
      { heading: 'extra faults', align: 'right' },
      { heading: 'cost to target', align: 'right' },
      { heading: 'cost to tracker', align: 'right' },
      { heading: 'events lost', align: 'right' },
      { heading: 'full scans', align: 'right' },
    ],
    trackers.filter(({ unavailable }) => unavailable === undefined).map(trackerRow),
  );
  const missing = trackers
    .filter(({ unavailable }) => unavailable !== undefined)
    .map(({ kind, unavailable }) => `${kind}: ${unavailable}\n`)
    .join('');
  return `${head}\n${table}${missing}`;
}

function trackerRow({ kind, total, intervals }: TrackerResult): string[] {
  return [
    kind,
    formatCount(total.reportedPages),
    formatCount(total.missedPages),
    formatCount(total.extraPages),
    formatCount(total.scannedPages),
    formatCount(total.extraFaults),
    formatDuration(total.targetMicroseconds),
    formatDuration(total.trackerMicroseconds),
    formatCount(total.lostEvents),
    `${intervals.filter(({ fullScan }) => fullScan).length} of ${intervals.length}`,
  ];
}

/** The maps of every process. */
export function formatSimulatedMaps(processes: readonly SimulatedProcess[]): string {
  if (processes.length === 1) return processes[0]!.maps;
  return processes.map(({ pid, name, maps }) => `process ${pid} (${name})\n${maps}`).join('\n');
}

/** The pagemap of every process as a table. */
export function formatSimulatedPagemap(processes: readonly SimulatedProcess[]): string {
  return formatTable(
    [
      { heading: 'pid', align: 'right' },
      { heading: 'start' },
      { heading: 'end' },
      { heading: 'pages', align: 'right' },
      { heading: 'flags' },
      { heading: 'frame', align: 'right' },
    ],
    processes.flatMap(({ pagemap }) => pagemap.map(pagemapCells)),
  );
}

function pagemapCells(row: PagemapRow): string[] {
  const flags = [
    row.present ? 'present' : '',
    row.swapped ? 'swapped' : '',
    row.file ? 'file' : '',
    row.exclusive ? 'exclusive' : '',
    row.writeProtected ? 'write-protected' : '',
    row.softDirty ? 'soft-dirty' : '',
  ];
  return [
    String(row.pid),
    formatPageAddress(row.startPage),
    formatPageAddress(row.endPage),
    formatCount(row.endPage - row.startPage),
    flags.filter((flag) => flag !== '').join(' '),
    String(row.frame),
  ];
}

/** The JSON of `ckpt sim pagemap`: addresses as `0x` strings. */
export function simulatedPagemapJson(processes: readonly SimulatedProcess[]): readonly unknown[] {
  return processes.map(({ pid, name, pagemap }) => ({
    pid,
    name,
    pagemap: pagemap.map(({ startPage, endPage, pid: _, ...flags }) => ({
      start: formatPageAddress(startPage),
      end: formatPageAddress(endPage),
      ...flags,
    })),
  }));
}
