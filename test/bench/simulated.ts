import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { atMost, type Findings, median } from './findings.ts';
import { type DumpJson, runCkpt } from './processes.ts';

/** 512 MiB, of which each second of virtual time changes 64 bytes in 1 % of the pages. */
const WORKLOAD = `version: 1
name: one-percent
seed: 11
processes:
  - name: server
    regions:
      heap: { size: 512MiB, resident: 512MiB, kind: anonymous, content: { kind: mix, compressible: 70% } }
    phases:
      - duration: 600s
        writes:
          - { region: heap, pattern: uniform, rate: 1311/s, bytes: 64 }
`;

const DELTAS = 5;

/** A simulated target dumped fully and then five times incrementally with 1 % of its pages dirty. */
export async function benchSimulatedDump(findings: Findings, directory: string): Promise<void> {
  findings.begin('simulated dump');
  const workload = join(directory, 'one-percent.yaml');
  writeFileSync(workload, WORKLOAD);
  const { json, peakBytes } = await runCkpt(
    ...['dump', '-t', `sim:${workload}`, '-D', join(directory, 'simulated')],
    ...['--every', '1s', '--count', `${DELTAS + 1}`],
  );
  const [full, ...deltas] = json as [DumpJson, ...DumpJson[]];
  const middle = (value: (dump: DumpJson) => number) => median(deltas.map(value));
  findings.add('full dump of 512 MiB', full.microseconds.total / 1e6, 's');
  findings.add(
    'incremental, dirty pages',
    middle(({ pages }) => (100 * pages.dirty) / pages.present),
    '%',
  );
  findings.add('incremental', middle(({ microseconds }) => microseconds.total) / 1e3, 'ms');
  findings.add(
    'incremental / full, time',
    middle(({ microseconds }) => (100 * microseconds.total) / full.microseconds.total),
    '%',
    atMost(5),
  );
  findings.add(
    'incremental / full, freeze',
    middle(({ microseconds }) => (100 * microseconds.freeze) / full.microseconds.total),
    '%',
    atMost(1),
  );
  findings.add('full / incremental, stored', full.bytes.stored / middle(({ bytes }) => bytes.stored), 'x');
  findings.add('peak memory of ckpt', peakBytes / 1e6, 'MB', atMost(300));
}
