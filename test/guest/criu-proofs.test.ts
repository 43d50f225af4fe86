import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { unpackCriuImages } from '../cases/criu/unpack.ts';
import { type CommandRun, ckpt, ckptJson } from '../system/command.ts';
import { criuObstacle, runWithCriu } from './criu.ts';
import { killWhenSent, type PageServerProcess, portOf, startPageServer } from './host-servers.ts';

/** Emulation on a busy machine takes several times as long as on an idle one. */
const LIMIT_SECONDS = 600;
/** The server is killed when it has been sent this much of the dump, which follows a pre-dump. */
const CUT = { session: 2, bytes: 700_000 };
const KEYS = 4000;
const script = (name: string) => readFileSync(join(import.meta.dirname, name), 'utf8');

const work = mkdtempSync(join(tmpdir(), 'ckpt-criu-proofs-'));
const dumps = join(work, 'dumps');
const images = join(work, 'images');
const store = (name: string) => join(work, 'stores', name);
const servers: PageServerProcess[] = [];
let proxy: Server | undefined;
afterAll(async () => {
  proxy?.close();
  for (const server of servers) await server.stop('SIGKILL');
  rmSync(work, { recursive: true, force: true });
});

/** What the guests have said, by what about. */
const said = new Map<string, string[]>();
/** Names of the images that the first guest has made for test/cases. */
const recorded = new Map<string, readonly string[]>();
/** Exports of what has no memory of its own: pre-dumps, deduplicated ancestors. */
const refused = new Map<string, CommandRun>();

async function serve(name: string, ...args: readonly string[]): Promise<PageServerProcess> {
  const server = await startPageServer('-D', store(name), ...args);
  servers.push(server);
  return server;
}

function hear(stdout: string): void {
  for (const [, what, text] of stdout.matchAll(/^@@ ([^:]*): (.*)$/gm)) {
    said.set(what ?? '', [...(said.get(what ?? '') ?? []), text ?? '']);
  }
}

/** Certificates of a CA of its own, for one server and one client. */
function makeCertificates(directory: string): void {
  const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const key = (name: string) => ['-newkey', 'rsa:2048', '-nodes', '-keyout', join(directory, `${name}.key`)];
  const certificate = (name: string) => ['-days', '30', '-out', join(directory, `${name}.pem`)];
  openssl('req', '-x509', ...key('ca'), ...certificate('ca'), '-subj', '/CN=ckpt test');
  const signer = ['-CA', join(directory, 'ca.pem'), '-CAkey', join(directory, 'ca.key')];
  for (const name of ['server', 'client']) {
    openssl('req', '-x509', ...signer, ...key(name), ...certificate(name), '-subj', `/CN=${name}`);
  }
}

/** In the first guest: the images of test/cases are made again, and everything is dumped, locally and to servers of the host. */
async function dumpEverything(): Promise<void> {
  const tls = mkdtempSync(join(work, 'tls-'));
  makeCertificates(tls);
  const doomed = await serve('cut', '--chain');
  proxy = await killWhenSent(doomed, CUT);
  const ports = {
    CHAIN: (await serve('served', '--chain')).port,
    REDIS: (await serve('served-redis', '--chain')).port,
    CUT: portOf(proxy),
    RESCUE: (await serve('rescue')).port,
    TLS: (await serve('tls', '--tls', ...tlsOptions(tls))).port,
  };
  const { stdout, exitCode } = await runWithCriu({
    script: `${settings(ports)}\n${script('criu-images.sh')}\n${script('criu-dumps.sh')}`,
    files: { '/tls': { from: tls } },
    output: dumps,
    network: true,
    timeoutSeconds: LIMIT_SECONDS,
  });
  expect(exitCode, stdout).toBe(0);
  hear(stdout);
}

const tlsOptions = (directory: string) =>
  ['cacert', 'cert', 'key']
    .flatMap((what) => {
      const file = { cacert: 'ca.pem', cert: 'server.pem', key: 'server.key' }[what] ?? what;
      return [`--tls-${what}`, join(directory, file)];
    })
    .concat('--tls-no-cn-verify');

const settings = (values: Readonly<Record<string, number>>) =>
  Object.entries(values)
    .map(([name, value]) => `${name}=${value}`)
    .join('\n');

/** On the host: into stores, the originals away, and out again. */
async function importAndExport(): Promise<void> {
  for (const name of ['braid', 'read', 'redis', 'dedup', 'dedup-redis']) {
    await ckptJson('import', join(dumps, name, '5'), '-D', store(name), '--chain');
  }
  for (const [name, points] of [
    ['served', [4, 5]],
    ['served-redis', [4, 5]],
    ['rescue', [1]],
    ['tls', [1]],
  ] as const) {
    for (const point of points) {
      await ckptJson('adopt', join(dumps, name, `${point}`), '-D', store(name), '--at', `${point}`);
    }
  }
  for (const name of readdirSync(join(dumps, 'cases'))) {
    recorded.set(name, namesIn(join(dumps, 'cases', name)));
  }
  for (const name of ['pids', 'images']) mkdirSync(join(work, name));
  for (const name of PROGRAMS) renameSync(join(dumps, name, 'pid'), join(work, 'pids', name));
  rmSync(dumps, { recursive: true });
  for (const [to, name, at, ...options] of EXPORTS) {
    const output = ['-o', join(images, to)];
    await ckptJson('export', '--format', 'criu', '-D', store(name), '--at', `${at}`, ...output, ...options);
  }
  for (const [name, at] of [
    ['braid', 1],
    ['redis', 3],
    ['dedup', 4],
    ['served', 2],
  ] as const) {
    const output = ['-o', join(images, 'refused')];
    refused.set(
      `${name}-${at}`,
      await ckpt(['export', '--format', 'criu', '-D', store(name), '--at', `${at}`, ...output]),
    );
  }
}

/** What has been dumped; each has left its PID. */
const PROGRAMS = [
  ...['braid', 'redis', 'dedup', 'dedup-redis', 'served', 'read', 'served-redis', 'rescue', 'tls'],
];

/** Directory, store, checkpoint, options. */
const EXPORTS: readonly (readonly [string, string, number, ...string[]])[] = [
  ['braid-4', 'braid', 4],
  ['braid-5', 'braid', 5],
  ['braid-all', 'braid', 5, '--chain'],
  ['dedup-5', 'dedup', 5],
  ['dedup-redis-5', 'dedup-redis', 5],
  ['read-5', 'read', 5],
  ['served-4', 'served', 4],
  ['served-5', 'served', 5],
  ['redis-4', 'redis', 4],
  ['redis-5', 'redis', 5],
  ['served-redis-4', 'served-redis', 4],
  ['served-redis-5', 'served-redis', 5],
  ['rescue', 'rescue', 1],
  ['tls', 'tls', 1],
  ['braid-lazy', 'braid', 5, '--lazy'],
  ['redis-lazy', 'served-redis', 5, '--lazy'],
];

/** In the second guest, another machine: every export is restored. */
async function restoreEverything(): Promise<void> {
  const ports = {
    LAZY: (await serve('braid', '--lazy', '--at', '5')).port,
    LAZY_REDIS: (await serve('served-redis', '--lazy', '--at', '5')).port,
  };
  const { stdout, exitCode } = await runWithCriu({
    script: `${settings(ports)}\n${script('criu-restores.sh')}`,
    files: { '/images': { from: images }, '/pids': { from: join(work, 'pids') } },
    network: true,
    timeoutSeconds: LIMIT_SECONDS,
  });
  expect(exitCode, stdout).toBe(0);
  hear(stdout);
}

interface Reported {
  readonly states: readonly string[];
  readonly writes: number;
}

/** What a program has said of its memory: braid has a line for each thread, scribe one. */
function reported(what: string): Reported {
  const lines = (said.get(what) ?? []).map((line) => /^(?:(\d+ \d+) )?(sound|broken) (\d+)$/.exec(line));
  expect(lines, `${what}: ${said.get(what)?.join('\n')}`).not.toContain(null);
  return {
    states: lines.map((line) => `${line?.[1] ?? 'redis'} ${line?.[2]}`).sort(),
    writes: lines.reduce((sum, line) => sum + Number(line?.[3]), 0),
  };
}

const soundThreads = (processes: number, threads: number) =>
  Array.from({ length: processes * threads }, (_, i) => `${Math.floor(i / threads)} ${i % threads} sound`);

/** Names in a directory and kinds of what has them, without the numbers of processes, files and objects. */
function namesIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .map((entry) => {
      const kind = entry.isSymbolicLink() ? 'link' : entry.isDirectory() ? 'directory' : 'file';
      const path = relative(directory, join(entry.parentPath, entry.name));
      return `${kind} ${path.replaceAll(/-\d+(?=\.img$)/g, '-N')}`;
    })
    .sort();
}

describe('CRIU in a guest', () => {
  const obstacle = criuObstacle();
  const proof = it.skipIf(obstacle !== undefined);
  const because = obstacle ?? '';
  beforeAll(
    async () => {
      if (obstacle !== undefined) return;
      await dumpEverything();
      await importAndExport();
      await restoreEverything();
    },
    LIMIT_SECONDS * 2000 + 60_000,
  );

  proof.each([
    ['braid-4', 'braid'],
    ['braid-5', 'braid'],
    ['braid-all/5', 'braid'],
    ['dedup-5', 'dedup'],
    ['served-4', 'served'],
    ['served-5', 'served'],
    ['read-5', 'read'],
  ])(`restores processes with threads and shared memory from %s ${because}`, (name, program) => {
    const { states, writes } = reported(name);
    expect(states).toEqual(soundThreads(3, 3));
    const between = reported(`${program} between 4 and 5`);
    expect(between.states).toEqual(soundThreads(3, 3));
    // The later point has what was written after the earlier one.
    if (name.endsWith('5')) expect(writes).toBeGreaterThan(between.writes);
  });

  proof.each([
    ['redis-4', 'redis'],
    ['redis-5', 'redis'],
    ['served-redis-4', 'served-redis'],
    ['served-redis-5', 'served-redis'],
    ['dedup-redis-5', 'dedup-redis'],
  ])(`restores redis-server and its client from %s ${because}`, (name, program) => {
    const { states, writes } = reported(name);
    expect(states).toEqual(['redis sound']);
    expect(said.get(`${name} keys`)).toEqual([`:${KEYS}`]);
    if (name.endsWith('5')) expect(writes).toBeGreaterThan(reported(`${program} between 4 and 5`).writes);
  });

  proof.each(['braid', 'snaps', 'dedup', 'session', 'lazy'] as const)(
    `makes the %s images that are shipped ${because}`,
    (name) => {
      const shipped = unpackCriuImages(name);
      expect(recorded.get(name)).toEqual(namesIn(join(shipped, name)));
      rmSync(shipped, { recursive: true });
    },
  );

  proof(`refuses what has no memory of its own to restore ${because}`, () => {
    const codes = Object.fromEntries([...refused].map(([name, { exitCode }]) => [name, exitCode]));
    expect(codes).toEqual({ 'braid-1': 13, 'redis-3': 13, 'dedup-4': 13, 'served-2': 13 });
    expect(existsSync(join(images, 'refused'))).toBe(false);
  });

  proof(`lets the program go on if the server is killed in a session ${because}`, async () => {
    const lost = said.get('lost dump') ?? [];
    expect(lost).not.toContain('it succeeds');
    expect(reported('after the lost dump').states).toEqual(soundThreads(3, 3));
    expect(reported('rescue').states).toEqual(soundThreads(3, 3));
    // The pre-dump before it is whole, and nothing else is in the store.
    await ckptJson('verify', '-D', store('cut'));
    expect(await ckptJson('ls', '-D', store('cut'))).toEqual([expect.objectContaining({ preDump: true })]);
  });

  proof(`restores what came over TLS ${because}`, () => {
    expect(reported('tls').states).toEqual(['redis sound']);
  });

  proof(`restores lazily, more than once from one checkpoint ${because}`, () => {
    const both = [...soundThreads(3, 3), ...soundThreads(3, 3)].sort();
    expect(reported('braid-lazy').states).toEqual(both);
    expect(reported('braid-lazy with all pages').states).toEqual(both);
    expect(reported('redis-lazy').states).toEqual(['redis sound']);
    expect(reported('redis-lazy with all pages').states).toEqual(['redis sound']);
  });
});
