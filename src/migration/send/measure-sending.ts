import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ScratchFile } from '../../checkpoint/index.ts';
import { CodecPool, DEFAULT_ZSTD_LEVEL } from '../../codec/index.ts';
import { machineClock, PAGE_SIZE, PageRangeList } from '../../core/index.ts';
import type { Compression } from '../../store/index.ts';
import { openLiveTarget, Specimen, type Target } from '../../target/index.ts';
import type { Tracker } from '../../tracker/index.ts';
import { Destination } from '../receive/destination.ts';
import { connectChannel } from '../wire/connect.ts';
import { listenForChannels } from '../wire/listen.ts';
import { encodeMessage } from '../wire/messages.ts';
import { DigestMemory } from './digest-ledger.ts';
import { PagePipeline, type ReadyBatch } from './page-pipeline.ts';
import { sendTarget } from './send-target.ts';
import { BATCH_PAGES } from './sending-constants.ts';
import type { SendingCosts, SentAgain } from './sending-costs.ts';
import type { SourceProcess } from './source-process.ts';
import { TargetScan } from './target-scan.ts';

/** Pages of which it is measured what sending them takes: 128 MiB. */
const SAMPLED_PAGES = 32_768;
/** Looks for pages that were written again: how far they are apart, and how many. */
const AGAIN = [
  { milliseconds: 200, looks: 5 },
  { milliseconds: 2000, looks: 1 },
] as const;
const TRIAL_ROUNDS = 4;

export interface SendingTrial {
  readonly compression?: 'zstd' | 'none';
  readonly level?: number;
  readonly workers?: number;
  readonly signal?: AbortSignal;
}

/**
 * Measures what `sendTarget` would take with a live target: its pages go through the same pipeline as in a migration,
 * and are dropped; and a small process of our own is sent to a destination of our own on this machine, into a store that
 * is removed again. The destination is taken to be like this machine.
 */
export async function measureSending(
  target: Target,
  tracker: Tracker,
  trial: SendingTrial = {},
): Promise<SendingCosts> {
  const pool = new CodecPool(trial.workers === undefined ? {} : { workers: trial.workers });
  try {
    await pool.start();
    const there = await tryDestination(pool, trial);
    const compression = { name: trial.compression ?? 'zstd', level: trial.level ?? DEFAULT_ZSTD_LEVEL };
    const here = await trySending(target, tracker, pool, compression, trial.signal);
    return { ...there, ...here };
  } finally {
    await pool.close();
  }
}

/** What became of pages in the pipeline. */
class Tally {
  readPages = 0;
  sentPages = 0;
  zeroPages = 0;
  dataBytes = 0;

  add({ readPages, sentPages, zeroPages, messages }: ReadyBatch): void {
    this.readPages += readPages;
    this.sentPages += sentPages;
    this.zeroPages += zeroPages;
    for (const message of messages) if (message.encoding !== 'zero') this.dataBytes += message.bytes.length;
  }

  get share(): number | undefined {
    const dataPages = this.sentPages - this.zeroPages;
    return dataPages === 0 ? undefined : this.dataBytes / (dataPages * PAGE_SIZE);
  }

  get unchanged(): number {
    return this.readPages === 0 ? 0 : 1 - this.sentPages / this.readPages;
  }
}

async function trySending(
  target: Target,
  tracker: Tracker,
  pool: CodecPool,
  compression: Compression,
  signal: AbortSignal | undefined,
) {
  const scratch = new ScratchFile(tmpdir());
  try {
    const scan = new TargetScan(target, tracker, new DigestMemory(scratch));
    const pipeline = new PagePipeline(pool, compression);
    await scan.whileStopped(() => scan.look(true));
    const first = new Tally();
    const began = machineClock();
    const share = SAMPLED_PAGES / Math.max(1, scan.pendingPages);
    const sampled = new Map<SourceProcess, PageRangeList>();
    for (const process of scan.processes) {
      const pages = sampleOf(process.pending, share);
      sampled.set(process, pages);
      await passThrough(pipeline, process, pages, first, signal);
    }
    const pageNanoseconds = ((machineClock() - began) * 1000) / Math.max(1, first.readPages);
    const again: SentAgain[] = [];
    const looks: number[] = [];
    const frozen: number[] = [];
    const look = async (milliseconds: number, tally: Tally) => {
      await delay(milliseconds, undefined, signal === undefined ? {} : { signal });
      const asked = machineClock();
      const before = scan.stops.microseconds;
      await scan.whileStopped(() => scan.look(true));
      looks.push(machineClock() - asked);
      frozen.push(scan.stops.microseconds - before);
      for (const process of scan.processes) {
        const seen = sampled.get(process) ?? new PageRangeList();
        await passThrough(pipeline, process, process.written.intersection(seen), tally, signal);
      }
    };
    // Much of what the first one names was written before it was read.
    await look(0, new Tally());
    for (const { milliseconds, looks: count } of AGAIN) {
      const tally = new Tally();
      for (let each = 0; each < count; each++) await look(milliseconds, tally);
      const { share = first.share, unchanged } = tally;
      again.push({ microseconds: milliseconds * 1000, share, unchanged });
    }
    return {
      pageNanoseconds,
      firstShare: first.share,
      again,
      mappingsBytes: scan.processes.reduce((sum, process) => sum + mappingsBytes(process), 0),
      lookMicroseconds: middle(looks),
      lookFrozenMicroseconds: middle(frozen),
    };
  } finally {
    scratch.close();
  }
}

async function passThrough(
  pipeline: PagePipeline,
  process: SourceProcess,
  pages: PageRangeList,
  tally: Tally,
  signal: AbortSignal | undefined,
): Promise<void> {
  for await (const batch of pipeline.batches(process, pages, () => true)) {
    tally.add(batch);
    batch.release();
    signal?.throwIfAborted();
  }
  process.endRound();
}

/** A share of the pages, in pieces of a batch that are spread over them. */
function sampleOf(pages: PageRangeList, share: number): PageRangeList {
  if (share >= 1) return pages;
  const sample = new PageRangeList();
  let due = 0;
  for (const range of pages) {
    for (let page = range.startPage; page < range.endPage; page += BATCH_PAGES) {
      due += share;
      if (due < 1) continue;
      due--;
      sample.append(page, Math.min(page + BATCH_PAGES, range.endPage));
    }
  }
  return sample;
}

function mappingsBytes({ view, vmas }: SourceProcess): number {
  const { pid, parentPid, name, fingerprint } = view;
  return encodeMessage({ type: 'mappings', pid, parentPid, name, fingerprint, vmas: [...vmas] }).length;
}

/** Has a small process of our own sent to a destination of our own. */
async function tryDestination(pool: CodecPool, { signal }: SendingTrial) {
  const directory = await mkdtemp(join(tmpdir(), 'ckpt-trial-'));
  const destination = new Destination({ storeDirectory: join(directory, 'store'), workers: 1 });
  const listener = await listenForChannels(
    { host: '127.0.0.1', port: 0 },
    { security: { kind: 'same-user' } },
    (channel) => void destination.serve(channel).catch(() => undefined),
  );
  const specimen = await Specimen.start();
  try {
    const target = await openLiveTarget(specimen.pid, { single: true });
    try {
      const began = machineClock();
      const channel = await connectChannel(listener.address, { security: { kind: 'same-user' } });
      const connected = machineClock() - began;
      const migration = await sendTarget(target, channel, pool, {
        migrationId: '00000000',
        purpose: 'migrate',
        choice: { policy: 'fixed', options: { rounds: TRIAL_ROUNDS } },
        program: 'ckpt rehearse',
        scratchDirectory: directory,
        ...(signal === undefined ? {} : { signal }),
      });
      return {
        setupMicroseconds: connected + migration.setupMicroseconds,
        storeMicroseconds: migration.storeMicroseconds / TRIAL_ROUNDS,
        prepareMicroseconds: migration.stop?.prepare ?? 0,
      };
    } finally {
      await target.close();
    }
  } finally {
    specimen.end();
    await listener.close();
    await destination.close();
    await rm(directory, { recursive: true, force: true });
  }
}

function middle(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
