import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { SMALL_WORKLOAD } from '../checkpoint/workload.ts';
import { ckpt } from './harness.ts';

let root = '';
let target = '';

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ckpt-cli-migration-'));
  target = `sim:${join(root, 'small.yaml')}`;
  writeFileSync(join(root, 'small.yaml'), SMALL_WORKLOAD);
});
afterAll(() => rmSync(root, { recursive: true }));

/** A destination in this process: where it listens, and what it has said when it has ended. */
async function receiving(...args: readonly string[]) {
  const printed = { stdout: '', stderr: '' };
  let listening: (address: string) => void = () => undefined;
  const address = new Promise<string>((resolve) => {
    listening = resolve;
  });
  const stream = (name: 'stdout' | 'stderr') => ({
    write: (text: string | Uint8Array) => {
      printed[name] += String(text);
      const found = /listening on (\S+)\n|"listening","address":"([^"]+)"/.exec(printed[name]);
      if (found !== null) listening(found[1] ?? found[2] ?? '');
    },
  });
  const ended = main(['receive', '--listen', '127.0.0.1:0', '--once', ...args], {
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    variables: { CKPT_STORE: join(root, 'named') },
  });
  void ended.then(() => listening(`ended: ${printed.stderr}`));
  return { address: await address, ended, printed };
}

describe('ckpt receive', () => {
  it('takes what ckpt migrate sends, and says what became of it', async () => {
    const store = join(root, 'store');
    const { address, ended, printed } = await receiving('-D', store, '--run', '20ms');
    const options = ['-t', target, '--to', address, '--virtual-bandwidth', '1Gbit/s'];
    const sent = await ckpt('migrate', ...options, '--policy', 'criu', '--json');
    expect(await ended).toBe(0);
    const { memoryDigest, migrationId } = JSON.parse(sent.stdout);
    expect(printed.stdout).toContain('it is here, and goes on from its newest checkpoint');
    expect(printed.stdout).toContain(memoryDigest);
    expect(printed.stdout).toContain(migrationId);
    expect(printed.stdout).toMatch(/ran on +20.0 ms, rests in checkpoint 3/);
    expect(printed.stderr).toContain('sim:small.yaml comes from 127.0.0.1:');
    const list = await ckpt('ls', '-D', store);
    // How long the target stood still is the source's to tell.
    for (const line of list.stdout.split('\n').slice(1, 3)) expect(line).toMatch(/ -$/);
    expect(list.stdout).toMatch(/pre-dump .*\n.* delta .*\n.* delta /);
    expect((await ckpt('verify', '-D', store)).status).toBe(0);
    // From where it rests it can be dumped and can go on.
    const dump = await ckpt('dump', '-t', target, '-D', store, '--incremental', '--wait', '5ms');
    expect(dump.status).toBe(0);
    expect((await ckpt('restore', '-D', store, '--run', '1ms')).status).toBe(0);
  });

  it('runs what comes by post-copy before its memory is there', async () => {
    const { address, ended, printed } = await receiving('-D', join(root, 'lazy'), '--run', '20ms', '--json');
    const options = ['-t', target, '--to', address, '--strategy', 'post-copy'];
    const sent = await ckpt('migrate', ...options, '--json');
    expect([sent.status, sent.stderr]).toEqual([0, '']);
    expect(await ended).toBe(0);
    const [, received] = printed.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(received).toMatchObject({
      event: 'received',
      outcome: 'started',
      memoryDigest: JSON.parse(sent.stdout).memoryDigest,
      fetched: { missingPages: expect.any(Number) },
    });
    expect(received.fetched.missingPages).toBeGreaterThan(100);
  });

  it('keeps what comes in the store of CKPT_STORE', async () => {
    const { address, ended } = await receiving();
    const options = ['-t', target, '--to', address, '--virtual-bandwidth', '1Gbit/s'];
    const { status } = await ckpt('migrate', ...options, '--policy', 'criu');
    expect([status, await ended]).toEqual([0, 0]);
    expect((await ckpt('ls', '-D', join(root, 'named'))).status).toBe(0);
  });

  it('keeps nothing of a rehearsal, and takes nothing else then', async () => {
    const { address, ended, printed } = await receiving('--discard');
    const { status, stderr } = await ckpt('migrate', '-t', target, '--to', address);
    expect(status).toBe(16);
    expect(stderr).toContain('this end was started with --discard and keeps nothing');
    expect(printed.stderr).toContain('refused a migration');
    const link = ['--bandwidth', '1Gbit/s', '--runs', '1', '--after', '5ms'];
    const rehearsed = await ckpt('rehearse', '-t', target, ...link, '--shadow', address, '--json');
    expect([rehearsed.status, await ended]).toEqual([0, 0]);
    expect(JSON.parse(rehearsed.stdout).shadow).toBeDefined();
    expect(printed.stdout).toContain('received and forgotten; the target goes on where it is');
  });

  it.each([
    [['--listen', '127.0.0.1:0'], 'nothing says where to keep what comes'],
    [['-D', 'store', '--discard'], "option '-D, --store <dir>' cannot be used with option '--discard'"],
    [['-D', 'store', '--listen', '0.0.0.0:0'], 'not a loopback address and needs security'],
    [['-D', 'store', '--tls-key', 'me.key'], 'of no use without --tls'],
    [['-D', 'store', '--listen', 'nowhere'], 'ADDR:PORT'],
  ])('refuses %j', async (args, why) => {
    const { status, stderr } = await ckpt('receive', ...args);
    expect(status).toBe(2);
    expect(stderr).toContain(why);
  });
});
