import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { criuObstacle, runWithCriu } from '../guest/criu.ts';
import { startPageServer } from '../guest/host-servers.ts';
import { startCriuPageServer } from './criu-page-server.ts';
import { type RecordedSession, readSession, replay } from './criu-session.ts';
import { atLeast, atMost, type Findings } from './findings.ts';
import { isInstalled, runCkpt, settleDisks } from './processes.ts';
import { encodeCommand } from './redis.ts';
import { sampleValue } from './values.ts';

const DUMPS = 10;
const VALUES = 40_000;
/** Values of which a part is overwritten between two dumps, beside what the client of the tree writes all the time. */
const TOUCHED = 2000;
/** As in the section `redis`: sealed tokens and compressed blobs. */
const RANDOM_SHARE = 0.3;
const RUNS = 3;

/** What is done in the guest: ten incremental dumps of redis-server under load, and a session with CRIU's page server. */
const SCRIPT = `
start_redis load 2000
nc 127.0.0.1 6379 </load/fill >/dev/null
for number in $(seq ${DUMPS}); do
  nc 127.0.0.1 6379 </load/touch-$number >/dev/null
  incremental /out/chain $number 'dump --leave-running' || exit 1
done
mkdir -p /out/said /work/served
criu page-server --address 127.0.0.1 --port 7000 -D /work/served $(log page-server) &
tap 7001 7000 /out/said &
listening 7000
listening 7001
incremental /work/session 1 dump --page-server --address 127.0.0.1 --port 7001 || exit 1
cp /run/criu.kdat /out/
`;

/** Sizes of what CRIU writes, kept as it is, packed, and in a store; what page servers take from the same client. */
export async function benchCriu(findings: Findings, directory: string): Promise<void> {
  findings.begin('criu');
  const obstacle = criuObstacle() ?? (isInstalled('zstd') ? undefined : 'zstd is not installed');
  if (obstacle !== undefined) return findings.skip('everything', obstacle);
  const work = join(directory, 'criu');
  const load = join(work, 'load');
  mkdirSync(load, { recursive: true });
  writeLoad(load);
  const output = join(work, 'guest');
  const { stdout, exitCode } = await runWithCriu({
    ...{ script: SCRIPT, files: { '/load': { from: load } }, output },
    ...{ memoryMebibytes: 3072, timeoutSeconds: 600 },
  });
  if (exitCode !== 0) throw new Error(`the guest failed: ${stdout}`);
  await benchSizes(findings, join(output, 'chain'), join(work, 'store'));
  await benchPageServers(findings, readSession(join(output, 'said', '1.client')), output, work);
}

/** Streams of commands to fill the server, and to overwrite 64 bytes here and there before each dump. */
function writeLoad(directory: string): void {
  const quit = encodeCommand(['QUIT']);
  const fill: Uint8Array[] = [];
  for (let index = 0; index < VALUES; index++) {
    fill.push(...encodeCommand(['SET', `object:${index}`, sampleValue(index, RANDOM_SHARE)]));
  }
  writeFileSync(join(directory, 'fill'), Buffer.concat([...fill, ...quit]));
  for (let number = 1; number <= DUMPS; number++) {
    const touch: Uint8Array[] = [];
    for (let index = 0; index < TOUCHED; index++) {
      const key = `object:${(index * Math.floor(VALUES / TOUCHED) + number * 7) % VALUES}`;
      const patch = sampleValue(index + number * TOUCHED, RANDOM_SHARE).subarray(0, 64);
      touch.push(...encodeCommand(['SETRANGE', key, '128', patch]));
    }
    writeFileSync(join(directory, `touch-${number}`), Buffer.concat([...touch, ...quit]));
  }
}

async function benchSizes(findings: Findings, chain: string, store: string): Promise<void> {
  const raw = sizeOf(chain);
  findings.add(`${DUMPS} incremental dumps of redis-server, as CRIU writes them`, raw / 1e6, 'MB');
  const packed = (...options: string[]) =>
    Number(
      execFileSync('sh', ['-c', `tar -cf - -C "$0" . | zstd -q ${options.join(' ')} | wc -c`, chain], {
        encoding: 'utf8',
      }),
    );
  const plain = packed('-3');
  const long = packed('-3', '--long');
  findings.add('the same by tar | zstd -3', plain / 1e6, 'MB');
  findings.add('the same by tar | zstd -3 --long', long / 1e6, 'MB');
  const { seconds } = await runCkpt('import', join(chain, `${DUMPS}`), '-D', store, '--chain');
  const stored = sizeOf(store);
  findings.add('the same in a store', stored / 1e6, 'MB');
  findings.add('raw / store', raw / stored, 'x', atLeast(4));
  findings.add('store / tar | zstd -3', stored / plain, 'x', atMost(1));
  findings.add('store / tar | zstd -3 --long', stored / long, 'x', atMost(1));
  findings.add('ckpt import --chain of it', seconds, 's');
}

/** Of all files; links are not followed: each directory of a chain has one to its parent. */
function sizeOf(directory: string): number {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}

async function benchPageServers(
  findings: Findings,
  session: RecordedSession,
  guest: string,
  work: string,
): Promise<void> {
  const megabytes = session.totalBytes / 1e6;
  findings.add('a session of criu dump --page-server', megabytes, 'MB');
  const criu: number[] = [];
  const ckpt: number[] = [];
  for (let run = 0; run < RUNS; run++) {
    const directory = join(work, `served-${run}`);
    mkdirSync(directory);
    settleDisks();
    const server = await startPageServer('-D', join(directory, 'store'));
    ckpt.push(await replay(session, server.port));
    await server.stop();
    settleDisks();
    const peer = await startCriuPageServer(join(directory, 'images'), join(guest, 'criu.kdat'));
    if (peer === undefined) return findings.skip("CRIU's page server", 'it does not start on this kernel');
    criu.push(await replay(session, peer.port));
    await peer.ended;
    rmSync(directory, { recursive: true });
  }
  const speed = (seconds: readonly number[]) => megabytes / Math.min(...seconds);
  findings.add("the session to CRIU's own page server, which compresses nothing", speed(criu), 'MB/s');
  findings.add('the session to ckpt page-server', speed(ckpt), 'MB/s');
  findings.add('ckpt page-server / CRIU page-server', speed(ckpt) / speed(criu), 'x', atLeast(0.5));
}
