import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import { ckpt } from './command.ts';
import { killPrograms, type Program, startPython, threadStates } from './programs.ts';

/** Writes 100 pages in turn of a mapping of 4,096, a new one each 2 ms; the memory map of its own says where. */
const WRITER = `
import mmap, time
memory = mmap.mmap(-1, 4096 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
for page in range(4096): memory[page * 4096] = 1
print('ready', flush=True)
at = 0
while True:
    memory[at % 100 * 4096 + 16] = at & 255
    at += 1
    time.sleep(0.002)
`;

afterEach(killPrograms);

function expectUnharmed(program: Program): void {
  expect([...threadStates(program.pid)]).not.toContain('T');
  expect([...threadStates(program.pid)]).not.toContain('t');
}

describe('watching a live process', () => {
  it('tells of each interval in a line of JSON, and leaves the process as it was', async () => {
    const program = await startPython(WRITER);
    const args = ['watch', '-t', String(program.pid), '--interval', '300ms', '--duration', '2s', '--json'];
    const { exitCode, stdout, stderr } = await ckpt(args);
    expect([exitCode, stderr]).toEqual([0, '']);
    const samples = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(samples.length).toBeGreaterThan(2);
    const last = samples.at(-1);
    // Whatever the pace, more than a hundred pages of it there are not; an interpreter writes a few of its own.
    const own = last.mappings.find(({ distinctPages }: { distinctPages: number }) => distinctPages === 100);
    expect(own).toMatchObject({ permissions: 'rw-p', pathname: '' });
    expect(last.dirtyPages).toBeGreaterThan(20);
    expect(last.dirtyPages).toBeLessThan(400);
    expect(last.residentPages).toBeGreaterThan(4096);
    expect(last.frozenMicroseconds).toBeGreaterThan(0);
    expect(last.totalContent.measuredPages).toBeGreaterThan(0);
    expectUnharmed(program);
  });

  for (const [end, status] of [
    ['q', 0],
    ['ctrl-c', 0],
    ['term', 0],
  ] as const) {
    it(`is redrawn in a terminal of any size, and gives it back after ${end}`, async () => {
      const program = await startPython(WRITER);
      const script = resolve(import.meta.dirname, 'watch-terminal.py');
      const main = resolve(import.meta.dirname, '../../bin/ckpt.js');
      const args = [script, process.execPath, main, String(program.pid), end];
      const { stdout } = await promisify(execFile)('python3', args, { timeout: 120_000 });
      const shown = JSON.parse(stdout);
      expect(shown).toMatchObject({ status, keysAsTyped: true, restored: true });
      expect(shown.small).toContain('\x1b[?25l');
      expect(shown.large).toContain('up to');
      // The cursor is back, and so is the screen of before, on which the sum is left.
      const [, summary] = shown.last.split('\x1b[?25h\x1b[?1049l');
      expect(summary).toContain('working set in');
      expectUnharmed(program);
    });
  }

  it('ends with the process', async () => {
    const program = await startPython("print('ready', flush=True)\ninput()");
    const args = ['watch', '-t', String(program.pid), '--interval', '100ms'];
    const { exitCode, stdout, stderr } = await ckpt(args, (_pid, child) => {
      let intervals = 0;
      child.stdout!.on('data', () => {
        if (++intervals === 3) program.say('end');
      });
    });
    expect(exitCode).toBe(0);
    expect(stderr).toContain('the target has ended');
    expect(stdout).toContain('working set in');
  });
});
