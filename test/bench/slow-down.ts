import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { atLeast, type Findings, median } from './findings.ts';
import { isInstalled, runCkpt } from './processes.ts';
import { startRedis } from './redis.ts';

const PORT = 16398;
const ROUNDS = 3;
const KEYS = 100_000;
const DATA_BYTES = 100e6;
const REQUESTS = 150_000;

/** What a redis-server loses while its changes are tracked, and while it is dumped again and again. */
export async function benchSlowDown(findings: Findings, directory: string): Promise<void> {
  findings.begin('slow-down');
  for (const program of ['redis-server', 'redis-benchmark']) {
    if (!isInstalled(program)) return findings.skip('everything', `${program} is not installed`);
  }
  const redis = await startRedis(PORT);
  const store = join(directory, 'slow-down');
  const target = ['-t', `${redis.pid}`, '-D', store];
  const rates = { untracked: [] as number[], tracked: [] as number[], dumped: [] as number[] };
  try {
    await redis.fill(DATA_BYTES, 0.3);
    requestsPerSecond();
    for (let round = 0; round < ROUNDS; round++) {
      rates.untracked.push(requestsPerSecond());
      rmSync(store, { recursive: true, force: true });
      await runCkpt('dump', ...target);
      rates.tracked.push(requestsPerSecond());
      const dumps = runCkpt('dump', ...target, '--incremental', '--every', '1s', '--count', '4');
      rates.dumped.push(requestsPerSecond());
      await dumps;
      await runCkpt('untrack', `${redis.pid}`);
    }
  } finally {
    await redis.stop();
  }
  const untracked = median(rates.untracked);
  findings.add('redis-benchmark SET, not tracked', untracked, 'requests/s');
  findings.add('tracked', median(rates.tracked), 'requests/s');
  findings.add('tracked / not tracked', median(rates.tracked) / untracked, 'x', atLeast(0.8));
  findings.add('dumped every second / not tracked', median(rates.dumped) / untracked, 'x');
}

/** SETs of random keys, as many as one connection's worth of pipelines allows. */
function requestsPerSecond(): number {
  const load = [
    '-p',
    `${PORT}`,
    '-t',
    'set',
    '-n',
    `${REQUESTS}`,
    '-r',
    `${KEYS}`,
    '-d',
    '400',
    '-c',
    '8',
    '--csv',
  ];
  const output = execFileSync('redis-benchmark', load, { encoding: 'utf8' });
  const row = output.split('\n').find((line) => line.startsWith('"SET"'));
  return Number(row?.split(',')[1]?.replaceAll('"', ''));
}
