import { cpSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { main } from '../../src/cli/main.ts';
import { unpackCriuImages } from '../cases/criu/unpack.ts';
import { play } from '../interop/criu/page-server/running-page-server.ts';
import { dumpSession, type Tree } from '../interop/criu/page-server/sessions.ts';
import { TestClient } from '../interop/criu/page-server/test-client.ts';
import { temporaryDirectory } from '../store/harness.ts';
import { ckpt } from './harness.ts';

const TREE: Tree = {
  tasks: new Map([
    [7, new Map([[0x10, 1]])],
    [9, new Map([[0x10, 2]])],
  ]),
  objects: new Map([[3, new Map([[0, 5]])]]),
};
const STEPS = dumpSession(TREE, { layout: '4.2', kind: 'dump' });

/** Runs a server until it ends; `whenListening` gets its port. */
async function serve(whenListening: (port: number) => Promise<unknown>, ...argv: string[]) {
  let printed = '';
  let visits: Promise<unknown> = Promise.resolve();
  const write = (text: string) => {
    const port = /listening on 127\.0\.0\.1:(\d+)|"port":(\d+)/.exec(printed + text);
    if (port !== null && printed === '') visits = whenListening(Number(port[1] ?? port[2]));
    printed += text;
    return true;
  };
  const status = await main(['page-server', '--once', '--port', '0', ...argv], {
    stdout: { write },
    stderr: { write },
    variables: {},
  });
  await visits;
  return { status, printed };
}

const send = async (port: number) =>
  expect(await play(await TestClient.connect(port), STEPS)).toBeUndefined();

describe('ckpt page-server', () => {
  it('receives a dump of the same user, and says what to do next', async () => {
    using directory = temporaryDirectory();
    const { status, printed } = await serve(send, '-D', directory.path);
    expect(printed).toMatch(/127\.0\.0\.1:\d+ is CRIU 4\.2 or later/);
    expect(printed).toMatch(/127\.0\.0\.1:\d+ sends a dump\n/);
    expect(printed).toMatch(/checkpoint +1, a dump\n/);
    expect(printed).toMatch(/tasks +7, 9\n/);
    expect(printed).toMatch(/shared memory +1 objects\n/);
    expect(printed).toMatch(/received +12\.0 KiB in 3 pages\n/);
    expect(printed).toMatch(/next +ckpt adopt DIR --at 1 /);
    expect(status).toBe(0);
    const restored = await ckpt('restore', '-D', directory.path, '--to', join(directory.path, 'out'));
    expect(restored.stderr).toContain("'ckpt adopt DIR'");
    expect(restored.status).not.toBe(0);
  });

  it('tells programs the same, line by line', async () => {
    using directory = temporaryDirectory();
    const { status, printed } = await serve(send, '-D', directory.path, '--json');
    const events = printed
      .trim()
      .split('\n')
      .map((line): unknown => JSON.parse(line));
    expect(events).toMatchObject([
      { event: 'listening', address: '127.0.0.1' },
      { event: 'begun', layout: 'new' },
      { event: 'receiving', preDump: false, parent: null },
      { event: 'received', checkpoint: 1, tasks: [7, 9], sharedMemory: ['3'], acknowledged: true },
    ]);
    expect(status).toBe(0);
  });

  it('fails as its only session did, and says why', async () => {
    using directory = temporaryDirectory();
    const breakOff = async (port: number) => {
      const client = await TestClient.connect(port);
      await client.send(STEPS[0]!.bytes);
      await client.receive(1);
      client.end();
    };
    const { status, printed } = await serve(breakOff, '-D', directory.path);
    expect(printed).toMatch(
      /failed, nothing of it is kept: it closed the connection without ending the session/,
    );
    expect(status).toBe(16);
  });

  it.each([
    [['--address', '0.0.0.0'], 2, /0\.0\.0\.0:0 is not a loopback address and needs security/],
    [['--tls', '--insecure'], 2, /exclude each other/],
    [['--tls-cert', 'me.pem'], 2, /of no use without --tls/],
    [['--tls', '--tls-cacert', '/nowhere/ca.pem'], 2, /--tls-cacert \/nowhere\/ca\.pem cannot be read/],
    [
      ['--address', '192.0.2.77', '--insecure'],
      2,
      /cannot listen on 192\.0\.2\.77:0: this machine does not have that address/,
    ],
    [['--port', '70000'], 2, /whole number from 0 to 65535/],
  ])('refuses %s', async (more, expected, message) => {
    using directory = temporaryDirectory();
    const { status, stderr } = await ckpt('page-server', '-D', directory.path, '--port', '0', ...more);
    expect(stderr).toMatch(message);
    expect(status).toBe(expected);
  });
});

describe('ckpt adopt', () => {
  /** Sessions of CRIU 3.17.1, and a store beside them that has received the first one. */
  async function received() {
    const directory = temporaryDirectory();
    const unpacked = unpackCriuImages('session');
    cpSync(unpacked, directory.path, { recursive: true, verbatimSymlinks: true });
    rmSync(unpacked, { recursive: true });
    const [store, images] = [join(directory.path, 'store'), join(directory.path, 'session')];
    const sendFirst = async (port: number) => {
      const client = await TestClient.connect(port);
      await client.send(readFileSync(join(images, 'said', '1.client')));
      await client.receiveRest();
    };
    await serve(sendFirst, '-D', store);
    return { store, images, [Symbol.dispose]: () => directory[Symbol.dispose]() };
  }

  it('joins images to what was received, and tells what they were', async () => {
    using work = await received();
    const { status, stdout } = await ckpt('adopt', join(work.images, '1'), '-D', work.store);
    expect(stdout).toMatch(/checkpoint 1 +a pre-dump: 2 processes, 3 files \(\d+ B\) of .*\/session\/1\n/);
    expect(stdout).toMatch(/memory digest +[0-9a-f]{64}\n/);
    expect(status).toBe(0);
    const again = await ckpt('adopt', join(work.images, '1'), '-D', work.store, '--json');
    expect(JSON.parse(again.stderr)).toMatchObject({
      error: { message: 'checkpoint 1 has its images already' },
    });
    expect(again.status).toBe(13);
  });

  it('refuses what does not belong together, with a hint', async () => {
    using work = await received();
    const refused = await ckpt('adopt', join(work.images, '4'), '-D', work.store);
    expect(refused.stderr).toContain('checkpoint 1 is a pre-dump, and ');
    expect(refused.stderr).toContain('hint: name the right one by --at');
    expect(refused.status).toBe(13);
    const missing = await ckpt('adopt', join(work.images, '4'), '-D', work.store, '--at', '9');
    expect(missing.status).toBe(10);
    const none = await ckpt('adopt', join(work.images, 'said'), '-D', work.store);
    expect(none.stderr).toContain('is no directory of CRIU images');
    expect(none.status).toBe(2);
  });
});
