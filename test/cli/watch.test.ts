import { describe, expect, it } from 'vitest';
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

  it('refuses what cannot be watched', async () => {
    expect(await ckpt(...TARGET, '--duration', '0s')).toMatchObject({ status: 2 });
    expect(await ckpt('watch')).toMatchObject({ status: 2 });
    expect(await ckpt('watch', '-t', 'sim:fixtures/none.yaml')).toMatchObject({ status: 2 });
    expect(await ckpt(...TARGET, '--single')).toMatchObject({ status: 2 });
  });
});
