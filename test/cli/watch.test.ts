import { describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { ckpt } from './harness.ts';

const TARGET = ['watch', '-t', 'sim:fixtures/kv-store.yaml', '--interval', '250ms'];

describe('ckpt watch', () => {
  it('prints a line for each interval and a summary where there is no terminal', async () => {
    const { status, stdout, stderr } = await ckpt(...TARGET, '--duration', '1s');
    expect([status, stderr]).toEqual([0, '']);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(/^ +time +pages +bytes +rate/);
    expect(lines.slice(1, 5).map((line) => line.trim().split('  ')[0])).toEqual([
      '250 ms',
      '500 ms',
      '750 ms',
      '1.00 s',
    ]);
    expect(stdout).toContain('in 4 intervals (virtual)');
    expect(stdout).toContain('working set in');
    expect(stdout).toMatch(/\n100 0x[0-9a-f]+ rw-p anonymous/);
    expect(stdout).not.toContain('\x1b');
  });

  it('prints one JSON document in a line for each interval with --json', async () => {
    const { status, stdout } = await ckpt(...TARGET, '--duration', '1s', '--json');
    expect(status).toBe(0);
    const samples = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(samples.map(({ interval }) => interval)).toEqual([1, 2, 3, 4]);
    expect(samples[3]).toMatchObject({ atMicroseconds: 1_000_000, frozenMicroseconds: 0 });
    expect(samples[3]!['mappings']).toMatchObject([
      { pid: 100, start: expect.stringMatching(/^0x/), permissions: 'rw-p' },
    ]);
  });

  it('shows virtual time in a terminal no faster than it passes for whoever looks', async () => {
    let shown = '';
    const stdout = {
      isTTY: true,
      columns: 80,
      rows: 24,
      write: (text: string | Uint8Array) => (shown += String(text)),
    };
    const environment = {
      stdout,
      stderr: { write: () => {} },
      variables: { TERM: 'xterm', LANG: 'C.UTF-8' },
    };
    const started = performance.now();
    expect(await main([...TARGET, '--duration', '750ms'], environment)).toBe(0);
    expect(performance.now() - started).toBeGreaterThan(740);
    const [view, summary] = shown.split('\x1b[?25h\x1b[?1049l');
    expect(view).toContain('\x1b[?25l');
    // Once without an interval, and once for each.
    expect(view!.split('\x1b[H')).toHaveLength(5);
    expect(summary).toContain('in 3 intervals (virtual)');
  });

  it('refuses what cannot be watched', async () => {
    expect(await ckpt(...TARGET, '--duration', '0s')).toMatchObject({ status: 2 });
    expect(await ckpt('watch')).toMatchObject({ status: 2 });
    expect(await ckpt('watch', '-t', 'sim:fixtures/none.yaml')).toMatchObject({ status: 2 });
    expect(await ckpt(...TARGET, '--single')).toMatchObject({ status: 2 });
  });
});
