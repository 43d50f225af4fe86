import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Rehearsal, SweepResult } from '../../src/migration/index.ts';
import { ckpt } from './harness.ts';

const fixture = (name: string) => `sim:${resolve(import.meta.dirname, '../../fixtures', name)}`;
const ZIPF = fixture('qemu/zipf-512m-65536p-10000-theta990.yaml');
const UNIFORM = fixture('qemu/uniform-256m-32768p-10000.yaml');

describe('ckpt rehearse', () => {
  it('says first what would happen, then how', async () => {
    const { status, stdout } = await ckpt('rehearse', '-t', ZIPF, '--bandwidth', '400Mbit/s', '--runs', '2');
    expect(status).toBe(0);
    const lines = stdout.split('\n');
    expect(lines[0]).toMatch(
      /^qemu converges \(pre-copy\): done after 9\.\d+ s, standing still for \d+ ms \(\d+ ms to \d+ ms\), 42\d MiB( \(.*\))? sent\.$/,
    );
    expect(stdout).toMatch(/round +at +remaining/);
    expect(stdout).toContain('100 % of 2 rehearsals');
  });

  it('gives the whole of it with --json', async () => {
    const run = await ckpt(
      'rehearse',
      '-t',
      ZIPF,
      '--bandwidth',
      '1Gbit/s',
      '--policy',
      'xen',
      '--runs',
      '1',
      '--json',
    );
    expect(run.status).toBe(0);
    const rehearsal = JSON.parse(run.stdout) as Rehearsal;
    expect(rehearsal).toMatchObject({
      verdict: 'converges',
      policy: 'xen',
      strategy: 'pre-copy',
      runs: 1,
      advice: [],
    });
    expect(rehearsal.rounds.length).toBe(6);
    expect(rehearsal.intervals.totalMicroseconds).toEqual([
      rehearsal.totalMicroseconds,
      rehearsal.totalMicroseconds,
    ]);
  });

  it('sweeps over all combinations of options, and tells which are worth having', async () => {
    const axes = 'bandwidth=400Mbit/s,1Gbit/s,policy=xen,fixed';
    const { status, stdout } = await ckpt('rehearse', '-t', UNIFORM, '--sweep', axes);
    expect(status).toBe(0);
    expect(stdout.split('\n')[0]).toMatch(/^Of 4 combinations, 4 converge, .* worth having\.$/);
    expect(stdout).toMatch(/400Mbit\/s +xen +converges/);
    const run = await ckpt('rehearse', '-t', UNIFORM, '--sweep', axes, '--json');
    const sweep = JSON.parse(run.stdout) as SweepResult;
    expect(sweep.cells.length).toBe(4);
    expect(sweep.frontier.length).toBeGreaterThan(0);
  });

  it('follows a bandwidth that changes', async () => {
    const total = async (bandwidth: string) => {
      const run = await ckpt('rehearse', '-t', ZIPF, '--bandwidth', bandwidth, '--runs', '1', '--json');
      return (JSON.parse(run.stdout) as Rehearsal).totalMicroseconds;
    };
    const steady = await total('1Gbit/s');
    const changing = await total('1Gbit/s,1s:500Mbit/s,2s:1Gbit/s');
    expect(changing - steady).toBeGreaterThan(400_000);
    expect(changing - steady).toBeLessThan(1_000_000);
  });

  it('ends with status 15 and tells what would help if it does not converge', async () => {
    const limits = ['--bandwidth', '200Mbit/s', '--give-up-after', '40s', '--runs', '1'];
    const { status, stdout } = await ckpt('rehearse', '-t', UNIFORM, ...limits);
    expect(status).toBe(15);
    expect(stdout).toMatch(
      /^qemu does not converge: given up after 40\.0 s; it would help to send differences of pages \(--xbzrle\)\.$/m,
    );
    expect(stdout).toMatch(/would help: take a link of 3\d\d Mbit\/s \(--bandwidth 3\d\dMbit\/s\)/);
    expect(stdout).toContain('--postcopy-after 1');
    expect(stdout).not.toContain('--auto-converge');
  });

  it.each([
    [['-t', '999999999', '--bandwidth', '1Gbit/s'], 2, 'names no target'],
    [['-t', ZIPF], 2, '--bandwidth'],
    [['-t', ZIPF, '--bandwidth', '0Gbit/s'], 2, 'carries nothing'],
    [['-t', ZIPF, '--bandwidth', '1Gbit/s', '--downtime-limit', '1ms', '--rtt', '5ms'], 2, 'round trip'],
    [['-t', ZIPF, '--bandwidth', '1Gbit/s,200Mbit/s'], 2, 'not a change of bandwidth'],
    [['-t', ZIPF, '--bandwidth', '1Gbit/s', '--max-rounds', '3'], 2, 'QEMU has no limit on rounds'],
    [
      ['-t', ZIPF, '--bandwidth', '1Gbit/s', '--policy', 'xen', '--strategy', 'hybrid'],
      2,
      'xen has no hybrid',
    ],
    [['-t', 'sim:nowhere.yaml', '--bandwidth', '1Gbit/s'], 2, 'cannot read the workload file nowhere.yaml'],
    [['-t', ZIPF, '--bandwidth', '1Gbit/s', '--loss', '200%'], 2, 'not a percentage'],
  ])('refuses %j with status %d', async (options, status, message) => {
    const run = await ckpt('rehearse', ...options);
    expect(run.stderr).toContain(message);
    expect(run.status).toBe(status);
  });
});
