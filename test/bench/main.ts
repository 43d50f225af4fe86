/**
 * `npm run bench [-- --json] [--only SECTION,...] [--megabytes N] [--directory DIR]`: measures ckpt against the tools
 * that are present, all in one run, and prints a table (or one JSON document).
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { benchCodec } from './codec.ts';
import { benchCriu } from './criu.ts';
import { Findings } from './findings.ts';
import { benchLargeTargets } from './large-target.ts';
import { benchLive } from './live.ts';
import { benchRehearsals } from './rehearsals.ts';
import { benchSimulatedDump } from './simulated.ts';
import { benchSimulator } from './simulator.ts';
import { benchSlowDown } from './slow-down.ts';
import { benchTracking } from './tracking.ts';
import { benchWire } from './wire.ts';

const { values: options } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string' },
    megabytes: { type: 'string', default: '500' },
    directory: { type: 'string', default: tmpdir() },
  },
});

const findings = new Findings((line) => process.stderr.write(`${line}\n`));
const directory = mkdtempSync(join(options.directory, 'ckpt-bench-'));
const sections: Readonly<Record<string, () => void | Promise<void>>> = {
  codec: () => benchCodec(findings),
  simulator: () => benchSimulator(findings),
  simulated: () => benchSimulatedDump(findings, directory),
  redis: () => benchLive(findings, directory, Number(options.megabytes) * 1e6),
  tracking: () => benchTracking(findings, directory),
  'slow-down': () => benchSlowDown(findings, directory),
  wire: () => benchWire(findings),
  large: () => benchLargeTargets(findings, directory),
  rehearsal: () => benchRehearsals(findings, directory),
  criu: () => benchCriu(findings, directory),
};

try {
  for (const name of options.only?.split(',') ?? Object.keys(sections)) {
    const section = sections[name];
    if (section === undefined) throw new Error(`no section '${name}': ${Object.keys(sections).join(', ')}`);
    await section();
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}

const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  kernel: release(),
  node: process.version,
};
process.stdout.write(
  options.json
    ? findings.toJson(machine)
    : `${machine.cpu}, ${machine.cores} cores, Linux ${machine.kernel}, Node ${machine.node}\n\n${findings.toText()}`,
);
