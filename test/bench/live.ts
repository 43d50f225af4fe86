import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { atMost, type Findings, median } from './findings.ts';
import { type DumpJson, isInstalled, runCkpt, settleDisks, timeProgram } from './processes.ts';
import { copyRawMemory } from './raw-memory.ts';
import { type RedisServer, startRedis } from './redis.ts';

const REDIS_PORT = 16399;
const ROUNDS = 3;
/** Every third value is noise, as sealed tokens and compressed blobs are. */
const RANDOM_SHARE = 0.3;
const DIRTY_SHARE = 0.01;

/** Dump, incremental dump and restore of a real redis-server, beside gcore and zstd. */
export async function benchLive(findings: Findings, directory: string, dataBytes: number): Promise<void> {
  findings.begin('redis');
  for (const program of ['redis-server', 'zstd']) {
    if (!isInstalled(program)) return findings.skip('everything', `${program} is not installed`);
  }
  const redis = await startRedis(REDIS_PORT);
  try {
    await redis.fill(dataBytes, RANDOM_SHARE);
    const raw = join(directory, 'raw');
    const rawBytes = copyRawMemory(redis.pid, raw);
    findings.add('memory of redis-server', rawBytes / 1e6, 'MB');
    const full = await benchFullDump(findings, directory, redis.pid, raw);
    await benchRestore(findings, directory, raw);
    await benchIncremental(findings, directory, redis, full);
  } finally {
    await redis.stop();
  }
}

async function benchFullDump(
  findings: Findings,
  directory: string,
  pid: number,
  raw: string,
): Promise<DumpJson> {
  const store = join(directory, 'store');
  const core = join(directory, 'core');
  const zst = `${raw}.zst`;
  const hasGcore = isInstalled('gcore');
  const seconds = { ckpt: [] as number[], zstd: [] as number[], gcore: [] as number[] };
  const peaks: number[] = [];
  let dump: DumpJson | undefined;
  let coreBytes = 0;
  for (let round = 0; round < ROUNDS; round++) {
    rmSync(store, { recursive: true, force: true });
    settleDisks();
    const run = await runCkpt('dump', '-t', `${pid}`, '-D', store);
    dump = run.json as DumpJson;
    seconds.ckpt.push(run.seconds);
    peaks.push(run.peakBytes);
    settleDisks();
    seconds.zstd.push(timeProgram('zstd', ['-1', '-T0', '-q', '-f', raw, '-o', zst]));
    if (!hasGcore) continue;
    settleDisks();
    const gcore = timeProgram('gcore', ['-o', core, `${pid}`]);
    const coreFile = `${core}.${pid}`;
    seconds.gcore.push(
      gcore + timeProgram('zstd', ['-1', '-T0', '-q', '-f', coreFile, '-o', `${coreFile}.zst`]),
    );
    coreBytes = statSync(`${coreFile}.zst`).size;
    rmSync(coreFile);
  }
  const full = dump!;
  const ckpt = median(seconds.ckpt);
  findings.add('full dump', ckpt, 's');
  findings.add('full dump, stored', full.bytes.stored / 1e6, 'MB');
  findings.add('full dump, freeze', full.microseconds.freeze / 1e3, 'ms');
  findings.add('full dump, peak memory of ckpt', Math.max(...peaks) / 1e6, 'MB', atMost(300));
  const zstd = median(seconds.zstd);
  findings.add('zstd -1 -T0 of the raw memory', zstd, 's');
  findings.add('full dump / zstd -1 -T0, time', ckpt / zstd, 'x', atMost(1.5));
  findings.add('full dump / zstd -1 -T0, stored', full.bytes.stored / statSync(zst).size, 'x');
  if (hasGcore) {
    const gcore = median(seconds.gcore);
    findings.add('gcore + zstd -1 -T0', gcore, 's');
    findings.add('full dump / (gcore + zstd), time', ckpt / gcore, 'x', atMost(1));
    findings.add('full dump / (gcore + zstd), stored', full.bytes.stored / coreBytes, 'x');
  } else findings.skip('gcore + zstd', 'gcore (package gdb) is not installed');
  return full;
}

async function benchRestore(findings: Findings, directory: string, raw: string): Promise<void> {
  const output = join(directory, 'restored');
  const ckpt: number[] = [];
  const zstd: number[] = [];
  const peaks: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    rmSync(output, { recursive: true, force: true });
    rmSync(`${raw}.out`, { force: true });
    settleDisks();
    const run = await runCkpt('restore', '-D', join(directory, 'store'), '--to', output);
    ckpt.push(run.seconds);
    peaks.push(run.peakBytes);
    settleDisks();
    zstd.push(timeProgram('zstd', ['-d', '-q', '-f', `${raw}.zst`, '-o', `${raw}.out`]));
  }
  const megabytes = statSync(raw).size / 1e6;
  findings.add('restore', megabytes / median(ckpt), 'MB/s');
  findings.add('zstd -d', megabytes / median(zstd), 'MB/s');
  findings.add('restore / zstd -d, time', median(ckpt) / median(zstd), 'x');
  findings.add('restore, peak memory of ckpt', Math.max(...peaks) / 1e6, 'MB', atMost(300));
  rmSync(output, { recursive: true, force: true });
  rmSync(`${raw}.out`, { force: true });
}

async function benchIncremental(
  findings: Findings,
  directory: string,
  redis: RedisServer,
  full: DumpJson,
): Promise<void> {
  const store = join(directory, 'store');
  const runs: { dump: DumpJson; seconds: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    await redis.touch(Math.ceil(full.pages.present * DIRTY_SHARE));
    settleDisks();
    const { json, seconds } = await runCkpt('dump', '-t', `${redis.pid}`, '-D', store, '--incremental');
    runs.push({ dump: json as DumpJson, seconds });
  }
  const { dump } = runs[0]!;
  const total = median(runs.map((run) => run.dump.microseconds.total));
  const freeze = median(runs.map((run) => run.dump.microseconds.freeze));
  // Comparing reads everything, so only the trackers of the kernel can reach the aim.
  const aimed = dump.tracker !== 'compare';
  const name = `incremental (${dump.tracker})`;
  if (!aimed) findings.skip('incremental by soft-dirty', 'this kernel has none, pages were compared');
  findings.add(`${name}, dirty pages`, (100 * dump.pages.dirty) / dump.pages.present, '%');
  findings.add(`${name}, wall time`, median(runs.map((run) => run.seconds)) * 1e3, 'ms');
  findings.add(`${name}, stored`, dump.bytes.stored / 1e6, 'MB');
  findings.add(
    `${name} / full, time`,
    (100 * total) / full.microseconds.total,
    '%',
    aimed ? atMost(5) : null,
  );
  findings.add(
    `${name} / full, freeze`,
    (100 * freeze) / full.microseconds.total,
    '%',
    aimed ? atMost(1) : null,
  );
}
