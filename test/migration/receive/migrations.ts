import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect } from 'vitest';
import { digestTargetMemory, proveMemoryDigest, verifyStore } from '../../../src/checkpoint/index.ts';
import { CodecPool } from '../../../src/codec/index.ts';
import { PAGE_SIZE } from '../../../src/core/index.ts';
import { Destination } from '../../../src/migration/receive/destination.ts';
import type { ReceivedMigration, ReceiveOptions } from '../../../src/migration/receive/request.ts';
import { ModelledTime } from '../../../src/migration/send/migration-time.ts';
import { sendTarget } from '../../../src/migration/send/send-target.ts';
import type { Migration, SendOptions } from '../../../src/migration/send/send-types.ts';
import { Store } from '../../../src/store/index.ts';
import {
  openSimulatedTarget,
  restoreSimulatedTarget,
  type Target,
  type Vma,
} from '../../../src/target/index.ts';
import { compareTracker } from '../../../src/tracker/index.ts';
import { anyWorkload } from '../../workload/arbitrary-workload.ts';
import { channelPair, type PairFaults } from '../wire/channel-pair.ts';

/**
 * Workloads that do not ask for memory to be freed whenever the kernel likes (MADV_FREE): whether it is depends on who
 * has read it since, and whoever sends a page has read it.
 */
export const anySteadyWorkload = anyWorkload.map((text) => text.replaceAll('advice: free', 'advice: cold'));

let made = 0;

/** What the tests of one file work with: a directory for their stores and a codec, until the last of them is over. */
export function receivingBench(): { readonly root: string; readonly pool: CodecPool } {
  const root = mkdtempSync(join(tmpdir(), 'ckpt-receive-'));
  const pool = new CodecPool({ workers: 0 });
  afterAll(async () => {
    await pool.close();
    rmSync(root, { recursive: true, force: true });
  });
  return { root, pool };
}

/** An id that no other migration of this run has. */
export const freshId = () => `migration-${made++}`;

/** What both ends say of one migration. */
export interface BothEnds {
  readonly sent: Migration | undefined;
  readonly sendFailure: Error | undefined;
  readonly received: ReceivedMigration | undefined;
  readonly receiveFailure: Error | undefined;
}

/** Migrates a target between two ends in this process. */
export async function migrate(
  target: Target,
  pool: CodecPool,
  receiving: ReceiveOptions,
  sending: Partial<SendOptions> = {},
  faults: PairFaults = {},
): Promise<BothEnds> {
  const [here, there] = channelPair(faults);
  const destination = new Destination({ workers: 0, ...receiving });
  try {
    await destination.recover();
    const [sent, received] = await Promise.allSettled([
      sendTarget(target, here, pool, {
        migrationId: freshId(),
        purpose: 'migrate',
        choice: { policy: 'qemu' },
        program: 'test',
        scratchDirectory: tmpdir(),
        time: new ModelledTime(20e6),
        ...sending,
      }),
      destination.serve(there),
    ]);
    return {
      sent: sent.status === 'fulfilled' ? sent.value : undefined,
      sendFailure: sent.status === 'rejected' ? asError(sent.reason) : undefined,
      received: received.status === 'fulfilled' ? received.value : undefined,
      receiveFailure: received.status === 'rejected' ? asError(received.reason) : undefined,
    };
  } finally {
    await destination.close();
  }
}

const asError = (reason: unknown) => (reason instanceof Error ? reason : new Error(String(reason)));

/** A simulated target at an instant: what must be as if it had never been stopped, moved or looked at. */
export interface Instant {
  readonly nowMicroseconds: number;
  /** SHA-256 over the pages of all processes with their addresses. */
  readonly pages: string;
  /** The same over the mappings. */
  readonly mappings: string;
  readonly processes: readonly Readonly<Record<string, unknown>>[];
}

/**
 * Whether a page is shared memory. There a page of zeros is as good as none: when a mapping is replaced between a look
 * and the reading of what that found, the kernel makes a page of the hole that is read (shmem_fault, mm/shmem.c).
 */
function isShared(vmas: readonly Vma[], page: number): boolean {
  return vmas.some(({ shared, startPage, endPage }) => shared && page >= startPage && page < endPage);
}

/** What a simulated target is now. */
export function instantOf(target: Target): Instant {
  const pages = createHash('sha256');
  const mappings = createHash('sha256');
  const content = new Uint8Array(PAGE_SIZE);
  for (const view of target.processes()) {
    const vmas = view.vmas();
    for (const { startPage, endPage, flags: _, ...rest } of vmas) {
      mappings.update(JSON.stringify([view.pid, startPage, endPage, rest]));
    }
    for (const { startPage, endPage } of compareTracker.collect(view, vmas, undefined).suspects) {
      for (let page = startPage; page < endPage; page++) {
        if (view.readMemory(page, 1, content) !== 1) continue;
        if (isShared(vmas, page) && content.every((byte) => byte === 0)) continue;
        pages.update(`${view.pid} ${page}\n`).update(content);
      }
    }
  }
  return {
    nowMicroseconds: target.nowMicroseconds(),
    pages: pages.digest('hex'),
    mappings: mappings.digest('hex'),
    processes: target.captureState().summary['processes'] as Instant['processes'],
  };
}

/** The same workload that was never stopped nor moved, at an instant of its own time. */
export async function neverMoved(text: string, path: string, microseconds: number): Promise<Instant> {
  const target = openSimulatedTarget(text, path);
  await target.run(microseconds);
  return instantOf(target);
}

/**
 * Whether a process may not read memory that it shares. A dump has it from a process that may, whoever reads the target
 * process by process has not.
 */
function hidesSharedMemory(target: Target): boolean {
  return target.processes().some((view) => view.vmas().some(({ shared, read }) => shared && !read));
}

/** The one that lives in a store, after it has run on. */
export async function movedAndRun(
  storeDirectory: string,
  checkpoint: number,
  microseconds: number,
  pool: CodecPool,
): Promise<Instant> {
  const store = await Store.open(storeDirectory, { access: 'read', command: 'test', codec: pool });
  try {
    const reader = await store.openCheckpoint(checkpoint);
    await proveMemoryDigest(reader);
    const state = { format: reader.manifest.state!.format, bytes: (await reader.state())! };
    const target = restoreSimulatedTarget(state);
    if (!hidesSharedMemory(target)) {
      expect(await digestTargetMemory(target, pool)).toBe(reader.manifest.memoryDigest);
    }
    await target.run(microseconds);
    return instantOf(target);
  } finally {
    await store.close();
  }
}

/**
 * What of an instant does not depend on the tracker: mappings that pagemap-scan has registered do not join those that
 * are made later, and do not collapse into huge pages.
 */
export function withoutMarks(instant: Instant, tracker: string): unknown {
  if (tracker !== 'pagemap-scan') return instant;
  const { mappings: _, processes, ...rest } = instant;
  return { ...rest, processes: processes.map(({ failedEvents: __, ...process }) => process) };
}

/** What is wrong with a store, in words, and which checkpoints it has. */
export async function inspectStore(directory: string, pool: CodecPool) {
  const store = await Store.open(directory, { access: 'read', command: 'test', codec: pool });
  try {
    const findings: string[] = [];
    for await (const { place, problem } of verifyStore(store, pool)) findings.push(`${place}: ${problem}`);
    return { findings, checkpoints: await store.manifests(), packs: await store.packs() };
  } finally {
    await store.close();
  }
}
