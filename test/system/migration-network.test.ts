import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Authority, makeAuthority } from '../migration/wire/certificates.ts';
import { ckpt, ckptJson } from './command.ts';
import { isRoot, lacking } from './programs.ts';

const PROGRAM = resolve(import.meta.dirname, '../../bin/ckpt.js');
const NOBODY = 65534;

/** Much to send, and little to do while a connection is waited for: a simulated process lives through that time. */
const CALM_WORKLOAD = `version: 1
name: calm
seed: 3
processes:
  - name: calm
    regions:
      data: { size: 4MiB, resident: 4MiB, kind: anonymous, content: { kind: random } }
    phases:
      - duration: 1s
        writes:
          - { region: data, pattern: uniform, rate: 100/s, bytes: 64 }
`;

let folder: string;
let workload: string;
let authority: Authority;
const children: ChildProcess[] = [];
const servers: Server[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ckpt-network-'));
  workload = join(folder, 'calm.yaml');
  writeFileSync(workload, CALM_WORKLOAD);
  authority = makeAuthority();
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const server of servers.splice(0)) server.close();
});

afterAll(() => {
  authority.remove();
  rmSync(folder, { recursive: true });
});

interface Receiver {
  readonly port: number;
  readonly store: string;
  /** What it said on standard error so far. */
  said(): string;
  readonly ended: Promise<number | null>;
}

/** Starts `ckpt receive` on a port of its own. */
async function receiver(name: string, ...options: string[]): Promise<Receiver> {
  const store = join(folder, name);
  const child = spawn(
    process.execPath,
    [PROGRAM, 'receive', '--listen', '127.0.0.1:0', '-D', store, ...options],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  children.push(child);
  let said = '';
  child.stderr.on('data', (chunk) => {
    said += chunk;
  });
  const ended = once(child, 'close').then(() => child.exitCode);
  await expect.poll(() => said, { timeout: 20_000 }).toMatch(/listening on 127\.0\.0\.1:\d+/);
  const port = Number(/listening on 127\.0\.0\.1:(\d+)/.exec(said)![1]);
  return { port, store, said: () => said, ended };
}

const migrate = (port: number, ...options: string[]) =>
  ckpt(['migrate', '-t', `sim:${workload}`, '--to', `127.0.0.1:${port}`, '--json', ...options]);

function certificates(name: string): string[] {
  const { certFile, keyFile } = authority.issue(name, 'IP:127.0.0.1');
  return ['--tls', '--tls-cacert', authority.caFile, '--tls-cert', certFile, '--tls-key', keyFile];
}

function keyFile(name: string, fill: number): string[] {
  const path = join(folder, name);
  writeFileSync(path, Buffer.alloc(32, fill), { mode: 0o600 });
  return ['--key-file', path];
}

async function listeningPort(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Passes connections on, but breaks each one after so many bytes of its connecting end, `breaks` times in all. */
async function breakingRelay(port: number, bytes: number, breaks: number) {
  const relay = { port: 0, broken: 0 };
  const server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    let passed = 0;
    const destroy = () => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) socket.on('error', destroy).on('close', destroy);
    near.on('data', (chunk) => {
      passed += chunk.length;
      if (passed > bytes && relay.broken < breaks) {
        relay.broken++;
        destroy();
      }
    });
    near.pipe(far);
    far.pipe(near);
  });
  relay.port = await listeningPort(server);
  return relay;
}

describe('ckpt migrate and ckpt receive on a network', () => {
  it('move a process over TLS and several connections that break again and again', async () => {
    const there = await receiver('tls', '--once', ...certificates('receiver'));
    const relay = await breakingRelay(there.port, 40_000, 8);
    // On a busy machine the few pages of this program may be written faster than they go.
    const patient = ['--downtime-limit', '20s'];
    const run = await migrate(relay.port, '--connections', '3', ...patient, ...certificates('sender'));
    expect(run.stderr).not.toContain('error');
    expect(run.exitCode).toBe(0);
    expect(await there.ended).toBe(0);
    expect(relay.broken).toBe(8);
    expect(there.said()).toContain('connected again');
    expect(await ckptJson('verify', '-D', there.store)).toBeDefined();
  });

  it('keep out who has no key, and go on', async () => {
    const there = await receiver('key', '--once', ...keyFile('right', 1));
    const stranger = await migrate(there.port, ...keyFile('wrong', 2));
    expect(stranger).toMatchObject({ exitCode: 16 });
    expect(stranger.stderr).toContain('does not have the same shared key');
    const plain = await migrate(there.port);
    expect(plain).toMatchObject({ exitCode: 16 });
    expect(plain.stderr).toContain('--key-file');
    expect(there.said()).toContain('refused 127.0.0.1:');
    expect(await migrate(there.port, ...keyFile('right', 1))).toMatchObject({ exitCode: 0 });
    expect(await there.ended).toBe(0);
  });

  it('take nothing from programs that speak something else, or to them', async () => {
    const there = await receiver('garbage', '--once', '--insecure');
    for (const greeting of [
      'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
      Buffer.alloc(100_000, 0xff),
      Buffer.alloc(16),
    ]) {
      const socket = connect(there.port, '127.0.0.1').on('error', () => {});
      socket.resume().write(greeting);
      await once(socket, 'close');
    }
    expect(there.said()).toContain(`does not speak ckpt's migration protocol: it began with "GET / HT"`);
    expect(await migrate(there.port, '--insecure')).toMatchObject({ exitCode: 0 });
    expect(await there.ended).toBe(0);
    const port = await listeningPort(
      createServer((socket: Socket) => socket.on('error', () => {}).end('220 mail\r\n')),
    );
    const misled = await migrate(port, '--insecure');
    expect(misled).toMatchObject({ exitCode: 16 });
    expect(misled.stderr).toContain('it began with \\"220 mail\\"');
  });

  it.skipIf(lacking(isRoot))('let no other user of the machine in, unless they are told to', async () => {
    const there = await receiver('others');
    const script = `const socket = require('node:net').connect(${there.port}, '127.0.0.1');
socket.write(Buffer.from('636b70742d6d69670100010000000000', 'hex'));
socket.on('data', (bytes) => process.stdout.write(bytes.toString('latin1')));
socket.on('error', () => {});`;
    const other = spawn(process.execPath, ['-e', script], { uid: NOBODY, gid: NOBODY, cwd: '/' });
    children.push(other);
    let heard = '';
    other.stdout.on('data', (chunk) => {
      heard += chunk;
    });
    await once(other, 'close');
    expect(heard).toContain(`it is a process of user ${NOBODY}`);
    expect(there.said()).toContain(`it is a process of user ${NOBODY}`);
  });

  it('want to be told about security on an address that others can reach', async () => {
    const open = await ckpt(['receive', '--listen', '0.0.0.0:0', '-D', join(folder, 'open')]);
    expect(open).toMatchObject({ exitCode: 2 });
    expect(open.stderr).toContain('0.0.0.0:0 is not a loopback address and needs security');
    const away = await ckpt(['migrate', '-t', `sim:${workload}`, '--to', '192.0.2.1:7000']);
    expect(away).toMatchObject({ exitCode: 2 });
    const nobody = await listeningPort(createServer());
    servers.pop()?.close();
    expect(await migrate(nobody)).toMatchObject({ exitCode: 16 });
  });
});
