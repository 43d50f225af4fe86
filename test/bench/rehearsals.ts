import { join } from 'node:path';
import { atMost, type Findings } from './findings.ts';
import { runCkpt } from './processes.ts';
import { type DatabaseShape, writeDatabaseTrace } from './rehearsal-targets.ts';

/** A database of 64 GiB that writes 4,000 pages (16 MiB) every 100 ms. */
const DATABASE: DatabaseShape = { gibibytes: 64, seconds: 60, pagesPerInterval: 4000 };
/** A host of 1 TiB with ten of them. */
const HOST: DatabaseShape = { gibibytes: 1024, seconds: 60, pagesPerInterval: 40_000 };
/** 200 combinations. */
const SWEEP =
  'bandwidth=5..100Gbit/s:log10,downtime-limit=50ms,100ms,300ms,1s,2s,auto-converge=off,on,multifd-compression=none,zstd';
const PEAK_AIM_MEGABYTES = 1074;

/** Rehearsals of large targets as a user sees them: from the start of the command to its end. */
export async function benchRehearsals(findings: Findings, directory: string): Promise<void> {
  findings.begin('rehearsal');
  const trace = join(directory, 'database.trace');
  findings.add('trace of 64 GiB, 1 min', (await writeDatabaseTrace(trace, DATABASE)) / 1e6, 'MB');
  const link = ['--bandwidth', '10Gbit/s', '--max-bandwidth', '0'];
  const one = await rehearse(findings, '64 GiB from a trace, 1 run', trace, ...link, '--runs', '1');
  const all = await rehearse(findings, '64 GiB from a trace, 20 runs', trace, ...link);
  findings.add('64 GiB: 20 runs without start and trace', all - one, 's', atMost(1));
  await rehearse(findings, '64 GiB, 20 runs with the defaults of QEMU', trace, '--bandwidth', '10Gbit/s');
  await rehearse(findings, '64 GiB, sweep of 200', trace, '--max-bandwidth', '0', '--sweep', SWEEP);
  const host = join(directory, 'host.trace');
  await writeDatabaseTrace(host, HOST);
  const fast = ['--bandwidth', '100Gbit/s', '--max-bandwidth', '0'];
  await rehearse(findings, '1 TiB from a trace, 20 runs', host, ...fast);
}

/** The limits that apply to what is measured, by its name. */
const SECONDS: Readonly<Record<string, number>> = {
  '64 GiB, sweep of 200': 30,
  '1 TiB from a trace, 20 runs': 60,
};

async function rehearse(
  findings: Findings,
  what: string,
  trace: string,
  ...options: string[]
): Promise<number> {
  const { seconds, peakBytes } = await runCkpt('rehearse', '--trace', trace, ...options);
  findings.add(what, seconds, 's', SECONDS[what] === undefined ? null : atMost(SECONDS[what]));
  findings.add(`${what}: peak memory`, peakBytes / 1e6, 'MB', atMost(PEAK_AIM_MEGABYTES));
  return seconds;
}
