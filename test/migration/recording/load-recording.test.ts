import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  loadRecording,
  type MigratingMemory,
  openRecordedMemory,
  openSimulatedMemory,
  type PolicyChoice,
  type Recording,
  recordTrace,
  recordWorkload,
  rehearseOnce,
} from '../../../src/migration/index.ts';
import { parseWorkload } from '../../../src/workload/index.ts';

const FILE = resolve(import.meta.dirname, '../../../fixtures/qemu/uniform-256m-16384p-2000.yaml');
const SECONDS = 6;

const workload = parseWorkload(readFileSync(FILE, 'utf8'), FILE);
let directory: string;
let traced: Recording;
let recorded: Recording;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'ckpt-recording-'));
  const outputFile = join(directory, 'uniform.trace');
  const timing = { intervalMicroseconds: 100_000, durationMicroseconds: SECONDS * 1e6 };
  await recordTrace({ target: `sim:${FILE}`, outputFile, ...timing });
  traced = await loadRecording(outputFile);
  recorded = await recordWorkload(workload, timing);
}, 60_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function writtenIn(memory: MigratingMemory, microseconds: number): number {
  memory.run(microseconds);
  const { count } = memory.dirty;
  memory.dirty.clear();
  return count;
}

/** Mean over the pages of a set that do not hold zeros. */
function meanOver(
  memory: MigratingMemory,
  set: MigratingMemory['dirty'],
  value: (page: number) => number,
): number {
  let sum = 0;
  let count = 0;
  for (let page = set.next(0); page >= 0; page = set.next(page + 1)) {
    if (memory.isZero(page)) continue;
    sum += value(page);
    count++;
  }
  return sum / count;
}

describe('a recording', () => {
  it('has the pages, the zeros and the writes of its program', async () => {
    const program = await openSimulatedMemory(workload);
    const memories = [openRecordedMemory(traced), openRecordedMemory(recorded)];
    for (const memory of memories) {
      // A tracker names also what the program maps besides its regions.
      expect(Math.abs(memory.resident.count - program.resident.count)).toBeLessThan(16);
      expect(memory.isZero(memory.resident.next(0)) || memory.compressedShare(0) > 0).toBe(true);
    }
    for (let interval = 0; interval < SECONDS * 10; interval++) {
      const expected = writtenIn(program, 100_000);
      for (const memory of memories) {
        expect(Math.abs(writtenIn(memory, 100_000) - expected)).toBeLessThanOrEqual(4);
      }
    }
  });

  it('knows how its pages compress and change', async () => {
    const program = await openSimulatedMemory(workload);
    const memory = openRecordedMemory(recorded);
    const seen = openRecordedMemory(traced);
    for (const each of [program, memory, seen]) each.run(1e6);
    const page = program.dirty.next(0);
    expect(memory.compressedShare(page)).toBeCloseTo(program.compressedShare(page), 6);
    expect(memory.differenceBytes(page, 1)).toBe(program.differenceBytes(page, 1));
    // Sampled pages are compressed one by one, those of the program together, and addresses have another order.
    for (const pages of ['resident', 'dirty'] as const) {
      const expected = meanOver(program, program[pages], (each) => program.compressedShare(each));
      const found = meanOver(seen, seen[pages], (each) => seen.compressedShare(each));
      expect(Math.abs(found - expected)).toBeLessThan(0.15);
    }
    const expected = meanOver(program, program.dirty, (each) => program.differenceBytes(each, 1));
    const found = meanOver(seen, seen.dirty, (each) => seen.differenceBytes(each, 1));
    expect(found / expected).toBeGreaterThan(0.5);
    expect(found / expected).toBeLessThan(2);
  });

  it.each<[string, PolicyChoice]>([
    ['qemu', { policy: 'qemu' }],
    ['qemu with XBZRLE', { policy: 'qemu', options: { xbzrle: true, downtimeLimitMicroseconds: 20_000 } }],
    ['xen', { policy: 'xen' }],
    ['criu', { policy: 'criu', options: { preDumps: 3 } }],
    ['post-copy', { policy: 'qemu', options: { postcopyAfter: { rounds: 1 } } }],
  ])('makes a rehearsal come to what the program itself does: %s', async (_, choice) => {
    const options = { link: { bytesPerSecond: 40e6 }, choice };
    const truth = rehearseOnce(await openSimulatedMemory(workload), options);
    const outcome = rehearseOnce(openRecordedMemory(recorded), options);
    expect(outcome.verdict).toBe(truth.verdict);
    const figures = ['totalMicroseconds', 'transferredBytes'] as const;
    for (const figure of figures) {
      expect(outcome[figure] / truth[figure]).toBeGreaterThan(0.98);
      expect(outcome[figure] / truth[figure]).toBeLessThan(1.02);
    }
    const slack = Math.max(20_000, truth.downtimeMicroseconds * 0.1);
    expect(Math.abs(outcome.downtimeMicroseconds - truth.downtimeMicroseconds)).toBeLessThan(slack);
  });
});
