import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TraceReader } from '../../src/migration/index.ts';
import { ckpt, ckptJson } from './command.ts';
import { killPrograms, startPython, threadStates } from './programs.ts';

/** Writes 20 other pages of 8,192 every 10 ms. */
const WRITER = `
import mmap, time
pages = 8192
memory = mmap.mmap(-1, pages * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(pages): memory[page * 4096:page * 4096 + 8] = b'abcdefgh'
print('ready', flush=True)
at = 0
while True:
    for _ in range(20):
        memory[at * 7919 % pages * 4096 + 16] = at & 255
        at += 1
    time.sleep(0.01)
`;

let work = '';
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), 'ckpt-record-'));
});
afterEach(async () => {
  await killPrograms();
  rmSync(work, { recursive: true, force: true });
});

describe('recording a live process', () => {
  for (const tracker of ['auto', 'compare']) {
    it(`sees what it writes, with --tracker ${tracker}, and lets it go on`, async () => {
      const program = await startPython(WRITER);
      const file = join(work, 'live.trace');
      const args = ['--interval', '100ms', '--duration', '1500ms', '--tracker', tracker, '-o', file];
      const result = await ckptJson('record', '-t', String(program.pid), ...args);
      expect(result).toMatchObject({ kind: 'live', end: 'duration', clock: 'monotonic' });
      expect(statSync(file).mode & 0o777).toBe(0o600);
      const reader = await TraceReader.open(file);
      let written = 0;
      let resident = 0;
      let steps = 0;
      for await (const step of reader.steps()) {
        steps++;
        for (const process of step.processes) {
          resident += process.resident.pageCount;
          if (steps > 2) written += process.written.pageCount;
        }
      }
      expect(steps).toBeGreaterThan(5);
      expect(resident).toBeGreaterThan(8192);
      // 2,000 pages a second at the most, less where the machine is busy; and not everything that exists.
      expect(written).toBeGreaterThan(300);
      expect(written).toBeLessThan(steps * 800);
      expect([...threadStates(program.pid)]).not.toContain('T');
    });
  }

  it('keeps what was recorded of a process that ends', async () => {
    const program = await startPython("print('ready', flush=True)\nimport time; time.sleep(1.2)");
    const file = join(work, 'short.trace');
    const run = await ckpt(['record', '-t', String(program.pid), '--interval', '50ms', '-o', file, '--json']);
    expect(run.exitCode).toBe(3);
    expect(JSON.parse(run.stdout)).toMatchObject({ end: 'target-ended' });
    const reader = await TraceReader.open(file);
    for await (const step of reader.steps()) expect(step.ended).toEqual([]);
    expect(reader.seal?.end).toBe('target-ended');
  });
});
