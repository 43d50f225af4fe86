import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atMost, type Findings } from './findings.ts';
import { runCkpt } from './processes.ts';

const PEAK_AIM_MEGABYTES = 300;

/** A process that fills 2 GiB, every page different, and waits; it says so when it is done. */
const LARGE_PROGRAM = `
  const blocks = Array.from({ length: 32 }, () => Buffer.alloc(64 << 20));
  blocks.forEach((block, number) => {
    for (let at = 0; at < block.length; at += 4096) block.write('page ' + number + ':' + at, at);
  });
  console.log('ready');
  setInterval(() => blocks.length, 1e6);
`;

/** A simulated address space of 1 TiB with 1 GiB of contents, of which a second changes a little. */
const SPARSE_WORKLOAD = `version: 1
name: sparse
seed: 3
processes:
  - name: server
    regions:
      heap: { size: 1TiB, resident: 1GiB, kind: anonymous, content: { kind: records } }
    phases:
      - duration: 60s
        writes:
          - { region: heap, pattern: uniform, rate: 1000/s, bytes: 64 }
`;

/** Peak memory of ckpt for targets much larger than it may become. */
export async function benchLargeTargets(findings: Findings, directory: string): Promise<void> {
  findings.begin('large targets');
  const child = spawn(process.execPath, ['-e', LARGE_PROGRAM], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    await once(child.stdout, 'data');
    const { seconds, peakBytes } = await runCkpt(
      'dump',
      '-t',
      `${child.pid}`,
      '-D',
      join(directory, 'large'),
    );
    findings.add('live, 2 GiB written: dump', seconds, 's');
    findings.add('live, 2 GiB written: peak memory', peakBytes / 1e6, 'MB', atMost(PEAK_AIM_MEGABYTES));
  } finally {
    child.kill('SIGKILL');
  }
  const workload = join(directory, 'sparse.yaml');
  writeFileSync(workload, SPARSE_WORKLOAD);
  const { seconds, peakBytes } = await runCkpt(
    'dump',
    '-t',
    `sim:${workload}`,
    '-D',
    join(directory, 'sparse'),
  );
  findings.add('simulated, 1 TiB mapped, 1 GiB resident: dump', seconds, 's');
  findings.add(
    'simulated, 1 TiB mapped, 1 GiB resident: peak memory',
    peakBytes / 1e6,
    'MB',
    atMost(PEAK_AIM_MEGABYTES),
  );
}
