import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ckptJson } from '../system/command.ts';
import { CRIU_MODULES, criuObstacle } from './criu.ts';
import { type GuestFile, programFiles, runInGuest } from './harness.ts';

const PROGRAMS: Readonly<Record<string, string>> = {
  '/usr/bin/podman': '/bin/podman',
  '/usr/bin/conmon': '/bin/conmon',
  '/usr/sbin/runc': '/bin/runc',
  '/usr/sbin/criu': '/bin/criu',
  '/sbin/ip': '/bin/ip',
  '/bin/tar': '/packer/tar',
};

/** Storage and networks as simple as they come. The runtime is runc, since Debian's crun knows no CRIU. */
const SETTINGS: Readonly<Record<string, string>> = {
  '/etc/containers/policy.json': '{"default": [{"type": "insecureAcceptAnything"}]}',
  '/etc/containers/registries.conf': 'unqualified-search-registries = []\n',
  '/etc/containers/storage.conf': `[storage]
driver = "vfs"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
`,
  '/etc/containers/containers.conf': `[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
conmon_path = ["/bin/conmon"]
[engine.runtimes]
runc = ["/bin/runc"]
[containers]
pids_limit = 0
`,
  '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
  '/etc/group': 'root:x:0:\n',
  '/etc/hosts': '127.0.0.1 localhost\n',
  '/etc/resolv.conf': '',
};

const missing = Object.keys(PROGRAMS).find((program) => !existsSync(program));
const obstacle =
  criuObstacle() ??
  (missing === undefined || process.env['CI'] !== undefined ? undefined : `${missing} is not installed`);
if (obstacle !== undefined) console.warn(`podman is not tried: ${obstacle}`);

/** What comes out of a new store of the archives of a pre-checkpoint and of a checkpoint. */
async function throughStore(archives: Buffer, work: string): Promise<Buffer> {
  execFileSync('tar', ['-xf', '-', '-C', work], { input: archives });
  const [store, back] = [join(work, 'store'), join(work, 'back.tar.zst')];
  const previous = join(work, 'pre.tar.zst');
  for (const args of [
    ['import', join(work, 'web.tar.gz'), '--import-previous', previous, '-D', store, '--chain'],
    ['verify', '-D', store],
    ['export', '-D', store, '--format', 'podman', '--at', '2', '-o', back],
  ]) {
    await ckptJson(...args);
  }
  return readFileSync(back);
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

describe.skipIf(obstacle !== undefined)('a container of a real podman', () => {
  /** What the guest has said, by what about. */
  const said = new Map<string, string>();
  let transcript = '';
  let failure: Error | undefined;
  const work = mkdtempSync(join(tmpdir(), 'ckpt-podman-'));
  const server = createServer((request, response) => {
    text(request)
      .then((archives) => throughStore(Buffer.from(archives, 'base64'), work))
      .then(
        (archive) => response.end(archive),
        (error: Error) => {
          failure = error;
          response.destroy();
        },
      );
  });
  afterAll(() => {
    server.close();
    rmSync(work, { recursive: true, force: true });
  });

  beforeAll(async () => {
    const port = await listen(server);
    const programs = Object.entries(PROGRAMS).map(([from, to]) => programFiles(from, to));
    const settings = Object.entries(SETTINGS).map(([path, content]): [string, GuestFile] => [
      path,
      { text: content },
    ]);
    const result = await runInGuest({
      kernel: '6.1',
      modules: CRIU_MODULES,
      network: true,
      memoryMebibytes: 2048,
      timeoutSeconds: 600,
      files: Object.assign({}, ...programs, Object.fromEntries(settings)),
      script: `export PORT=${port}\n${readFileSync(join(import.meta.dirname, 'podman.sh'), 'utf8')}`,
    });
    transcript = result.stdout;
    for (const [, what, words] of transcript.matchAll(/^@@ ([^:]*): (.*)$/gm)) said.set(what!, words!);
    if (failure !== undefined) throw failure;
    expect(result.exitCode, transcript).toBe(0);
  }, 620_000);

  it('runs on from an archive that went through a store, its pre-checkpoint folded into it', () => {
    expect(said.get('restored'), transcript).toBe('running true');
    // What it chose when it began, and how often it has counted: a container that began anew would choose another.
    const [token, count] = said.get('checkpointed')!.split(' ');
    for (const place of ['volume', 'file system']) {
      const [tokenNow, countNow] = said.get(`counted in its ${place}`)!.split(' ');
      expect(tokenNow).toBe(token);
      expect(Number(countNow)).toBeGreaterThan(Number(count));
    }
  });
});
