import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type DumpResult,
  describeCheckpoint,
  dumpTarget,
  memoryFileName,
  type RestoreResult,
  restoreToDirectory,
} from '../checkpoint/index.ts';
import { CodecPool } from '../codec/index.ts';
import { formatBytes, formatCount, formatDuration, PAGE_SIZE } from '../core/index.ts';
import { formatTable } from '../report/index.ts';
import { Store } from '../store/index.ts';
import { reportFailure } from './failure.ts';

const WORKLOAD = fileURLToPath(new URL('../../fixtures/kv-store.yaml', import.meta.url));
const DELTAS = 5;
const INTERVAL_MICROSECONDS = 500_000;

/** A program that fills 96 MiB and then changes some bytes of a few hundred pages every 10 ms. */
const LIVE_PROGRAM = `
  const memory = Buffer.allocUnsafe(96 << 20);
  for (let at = 0; at < memory.length; at += 64) memory.write('record ' + at + ' of the demonstration', at);
  let turn = 0;
  setInterval(() => {
    for (let page = 0; page < 200; page++) memory.writeUInt32LE(turn, ((turn * 7919 + page * 13) % 24000) * 4096);
    turn++;
  }, 10);
  console.log(process.pid);
`;

interface Row {
  readonly dump: DumpResult;
  readonly restore: RestoreResult;
  readonly proof: string;
}

/** `npm run demo`: dumps, restores and proves a simulated store, then a live process that it starts itself. */
export async function runDemoFromShell(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'ckpt-demo-'));
  const environment = { stdout: process.stdout, stderr: process.stderr, variables: process.env };
  try {
    print(
      `A simulated key-value store (fixtures/kv-store.yaml), ${formatDuration(INTERVAL_MICROSECONDS)} apart:\n`,
    );
    print(`${demoTable(await demoSimulated(directory))}\n`);
    print('A live process (Node.js, 96 MiB of records), started for this demonstration:\n');
    if (existsSync('/proc/self/mem')) print(demoTable(await demoLive(directory)));
    else print('skipped: this system has no /proc\n');
  } catch (error) {
    process.exitCode = reportFailure(environment, error, false);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function demoSimulated(directory: string): Promise<Row[]> {
  const storeDirectory = join(directory, 'simulated');
  const dumps = await dumpTarget({
    target: `sim:${WORKLOAD}`,
    storeDirectory,
    incremental: false,
    everyMicroseconds: INTERVAL_MICROSECONDS,
    count: DELTAS + 1,
  });
  const rows: Row[] = [];
  for (const dump of dumps) {
    const restore = await restoreOne(storeDirectory, directory, dump.checkpoint);
    const proof = restore.memoryDigest === dump.memoryDigest ? 'digest equal' : 'DIGEST DIFFERS';
    rows.push({ dump, restore, proof });
    rmSync(restore.directory, { recursive: true });
  }
  return rows;
}

async function demoLive(directory: string): Promise<Row[]> {
  const storeDirectory = join(directory, 'live');
  // Started by a shell: what happens to children of its own Node.js wants to know first, stops included.
  const shell = spawn('sh', ['-c', '"$0" -e "$1" & wait', process.execPath, LIVE_PROGRAM], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = await once(shell.stdout, 'data');
  const pid = Number(line);
  try {
    const rows: Row[] = [];
    for (let number = 0; number <= DELTAS; number++)
      rows.push(await demoLiveStep(pid, storeDirectory, directory));
    return rows;
  } finally {
    process.kill(pid, 'SIGKILL');
  }
}

/** Dumps the child, leaves it stopped until the restored files are compared with its memory, and lets it go on. */
async function demoLiveStep(pid: number, storeDirectory: string, directory: string): Promise<Row> {
  const [dump] = await dumpTarget({
    target: String(pid),
    storeDirectory,
    incremental: existsSync(storeDirectory),
    waitMicroseconds: INTERVAL_MICROSECONDS,
    leaveStopped: true,
  });
  const restore = await restoreOne(storeDirectory, directory, dump!.checkpoint);
  const differing = await countDifferingPages(pid, storeDirectory, restore);
  process.kill(pid, 'SIGCONT');
  rmSync(restore.directory, { recursive: true });
  return { dump: dump!, restore, proof: differing === 0 ? 'every byte equal' : `${differing} PAGES DIFFER` };
}

function restoreOne(storeDirectory: string, directory: string, checkpoint: number): Promise<RestoreResult> {
  return restoreToDirectory({
    storeDirectory,
    checkpoint,
    outputDirectory: join(directory, `restored-${checkpoint}`),
  });
}

/**
 * Compares the restored files with /proc/PID/mem of the stopped process, page by page of what the checkpoint holds, but
 * for the areas in which the kernel tells each thread on which processor it runs (rseq), on its way to the stop.
 */
async function countDifferingPages(
  pid: number,
  storeDirectory: string,
  restore: RestoreResult,
): Promise<number> {
  const codec = new CodecPool({ workers: 0 });
  const store = await Store.open(storeDirectory, { access: 'read', command: 'ckpt demo', codec });
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const restored = Buffer.alloc(PAGE_SIZE);
  const present = Buffer.alloc(PAGE_SIZE);
  const { state } = await describeCheckpoint(storeDirectory, restore.checkpoint);
  const areas = (state?.processes ?? []).flatMap(({ threads }) => threads.flatMap(({ rseq }) => rseq ?? []));
  let differing = 0;
  try {
    const reader = await store.openCheckpoint(restore.checkpoint);
    const pages = await (await reader.index(pid)).present();
    for (const vma of reader.manifest.processes[0]!.vmas) {
      const file = openSync(join(restore.directory, memoryFileName(vma)), 'r');
      for (const { startPage, endPage } of pages.within(vma.startPage, vma.endPage)) {
        for (let page = startPage; page < endPage; page++) {
          readSync(file, restored, 0, PAGE_SIZE, (page - vma.startPage) * PAGE_SIZE);
          readSync(memory, present, 0, PAGE_SIZE, page * PAGE_SIZE);
          for (const { pointer, sizeBytes } of areas) {
            const from = Number(pointer) - page * PAGE_SIZE;
            if (from >= 0 && from < PAGE_SIZE) restored.copy(present, from, from, from + sizeBytes);
          }
          if (!restored.equals(present)) differing++;
        }
      }
      closeSync(file);
    }
  } finally {
    closeSync(memory);
    await store.close();
    await codec.close();
  }
  return differing;
}

function demoTable(rows: readonly Row[]): string {
  return formatTable(
    [
      { heading: 'checkpoint', align: 'right' },
      { heading: 'kind' },
      { heading: 'tracker' },
      { heading: 'memory', align: 'right' },
      { heading: 'dirty pages', align: 'right' },
      { heading: 'stored', align: 'right' },
      { heading: 'dump', align: 'right' },
      { heading: 'stopped', align: 'right' },
      { heading: 'restore', align: 'right' },
      { heading: 'restored memory' },
    ],
    rows.map(({ dump, restore, proof }) => [
      String(dump.checkpoint),
      dump.kind,
      dump.tracker,
      formatBytes(dump.bytes.memory),
      formatCount(dump.pages.dirty),
      formatBytes(dump.bytes.stored),
      formatDuration(dump.microseconds.total),
      formatDuration(dump.microseconds.freeze),
      formatDuration(restore.microseconds),
      proof,
    ]),
  );
}

function print(text: string): void {
  process.stdout.write(text);
}
