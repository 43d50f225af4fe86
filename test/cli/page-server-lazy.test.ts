import { describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { LazyClient } from '../interop/criu/page-server/lazy-client.ts';
import { pageOfSeed } from '../interop/criu/page-server/sessions.ts';
import { storeTree } from '../interop/criu/page-server/stored-tree.ts';
import { temporaryDirectory } from '../store/harness.ts';
import { ckpt } from './harness.ts';

const TREE = { tasks: new Map([[7, new Map([[0x10, 1]])]]), objects: new Map() };

/** Runs a server until it ends; `whenListening` gets its port. */
async function serve(whenListening: (port: number) => Promise<void>, ...argv: string[]) {
  let printed = '';
  let visits = Promise.resolve();
  const write = (text: string) => {
    const port = /listening on 127\.0\.0\.1:(\d+)|"port":(\d+)/.exec(printed + text);
    if (port !== null && printed === '') visits = whenListening(Number(port[1] ?? port[2]));
    printed += text;
    return true;
  };
  const status = await main(['page-server', '--lazy', '--once', '--port', '0', '--insecure', ...argv], {
    stdout: { write },
    stderr: { write },
    variables: {},
  });
  await visits;
  return { status, printed };
}

async function restore(port: number): Promise<void> {
  const client = await LazyClient.connect(port, '3.17');
  expect((await client.get(7, 0x10, 1)).bytes).toEqual(pageOfSeed(1));
  expect(await client.close()).toBe(0);
}

describe('ckpt page-server --lazy', () => {
  it('gives pages and tells how many', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    const { status, printed } = await serve(restore, '-D', directory.path, '--at', '1');
    expect(printed).toMatch(/listening on 127\.0\.0\.1:\d+ for lazy restores of checkpoint 1/);
    expect(printed).toMatch(/by +127\.0\.0\.1:\d+, CRIU up to 4\.1/);
    expect(printed).toMatch(/fetched +4\.0 KiB in 1 pages, by 1 requests/);
    expect(status).toBe(0);
  });

  it('tells programs the same, line by line', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    const { status, printed } = await serve(restore, '-D', directory.path, '--json');
    const events = printed
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(events).toMatchObject([
      { event: 'listening', checkpoint: 1 },
      { event: 'begun' },
      { event: 'served', layout: 'old', requests: 1, pages: 1 },
    ]);
    expect(status).toBe(0);
  });

  it('fails as its only session did, and says why', async () => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    const askForMore = async (port: number) => {
      const client = await LazyClient.connect(port, '4.2');
      await client.ask(7, 0x11, 1);
      // It is not answered, and left waiting until somebody ends it.
      await new Promise((resolve) => setTimeout(resolve, 300));
      client.stream.vanish();
    };
    const { status, printed } = await serve(askForMore, '-D', directory.path);
    expect(printed).toContain(
      'failed after 0 pages, end what it restored: it asks for page 0x11000 of process 7',
    );
    expect(printed).toContain('ckpt export --format criu --lazy');
    expect(status).not.toBe(0);
  });

  it.each([
    [['--at', '1'], 2, /--at says whose pages --lazy gives/],
    [['--lazy', '--chain'], 2, /cannot be used with option '--chain'/],
    [['--lazy', '--at', '7'], 10, /checkpoint 7/],
    [['--lazy', '--address', '0.0.0.0'], 2, /is not a loopback address/],
  ])('refuses %s', async (more, expected, message) => {
    using directory = temporaryDirectory();
    await storeTree(directory.path, TREE);
    const { status, stderr } = await ckpt('page-server', '-D', directory.path, '--port', '0', ...more);
    expect(stderr).toMatch(message);
    expect(status).toBe(expected);
  });
});
