import { join } from 'node:path';
import { atMost, type Findings } from './findings.ts';
import { runCkpt } from './processes.ts';
import { type DatabaseShape, writeDatabaseTrace } from './rehearsal-targets.ts';

/** A database of 64 GiB that writes 4,000 pages (16 MiB) every 100 ms. */
const DATABASE: DatabaseShape = { gibibytes: 64, seconds: 60, pagesPerInterval: 4000 };
/** A host of 1 TiB, all of it in use. */
const HOST: DatabaseShape = { gibibytes: 1024, seconds: 30, pagesPerInterval: 4000 };
/** 200 combinations. */
const SWEEP =
  'bandwidth=5..100Gbit/s:log10,downtime-limit=50ms,100ms,300ms,1s,2s,auto-converge=off,on,multifd-compression=none,zstd';
/** npm runs scripts in the project's folder. */
const GIANT = 'sim:fixtures/sparse-giant.yaml';
const PEAK_AIM_MEGABYTES = 1074;

/** Rehearsals of large targets as a user sees them: from the start of the command to its end. */
export async function benchRehearsals(findings: Findings, directory: string): Promise<void> {
  findings.begin('rehearsal');
  const trace = join(directory, 'database.trace');
  findings.add('trace of 64 GiB, 1 min', (await writeDatabaseTrace(trace, DATABASE)) / 1e6, 'MB');
  const link = ['--bandwidth', '10Gbit/s', '--max-bandwidth', '0'];
  const database = ['--trace', trace];
  const one = await rehearse(findings, '64 GiB from a trace, 1 run', ...database, ...link, '--runs', '1');
  const all = await rehearse(findings, '64 GiB from a trace, 20 runs', ...database, ...link);
  findings.add('64 GiB: 20 runs without start and trace', all - one, 's', atMost(1));
  await rehearse(findings, '64 GiB, sweep of 200', ...database, '--max-bandwidth', '0', '--sweep', SWEEP);
  await rehearse(findings, '1 TiB mapped, simulated, 20 runs', '-t', GIANT, ...link);
  const host = join(directory, 'host.trace');
  await writeDatabaseTrace(host, HOST);
  const fast = ['--bandwidth', '100Gbit/s', '--max-bandwidth', '0', '--downtime-limit', '2s'];
  await rehearse(findings, '1 TiB resident, from a trace, 1 run', '--trace', host, ...fast, '--runs', '1');
}

/** The limits that apply to what is measured, by its name. */
const SECONDS: Readonly<Record<string, number>> = {
  '64 GiB, sweep of 200': 30,
  '1 TiB mapped, simulated, 20 runs': 60,
  '1 TiB resident, from a trace, 1 run': 60,
};

async function rehearse(findings: Findings, what: string, ...options: string[]): Promise<number> {
  const { seconds, peakBytes } = await runCkpt('rehearse', ...options);
  findings.add(what, seconds, 's', SECONDS[what] === undefined ? null : atMost(SECONDS[what]));
  findings.add(`${what}: peak memory`, peakBytes / 1e6, 'MB', atMost(PEAK_AIM_MEGABYTES));
  return seconds;
}
