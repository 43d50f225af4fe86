import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ScenarioError } from '../../src/core/index.ts';
import { runScenario } from '../../src/workload/index.ts';
import { firstDifference } from '../workload/recordings.ts';
import type { GuestKernelVersion } from './harness.ts';
import { guestKernel, isRecordedRelease } from './kernels.ts';
import { record, recorderObstacle } from './recorder.ts';
import { FUZZ_FLAVOURS, randomScenario } from './scenario-fuzz.ts';

/**
 * The simulated kernel against real ones, here and now: the shipped cases, and random scenarios. To fuzz:
 *
 *   CKPT_FUZZ_SEED=1000 CKPT_FUZZ_COUNT=50 npm run test:guest -- differential
 *
 * tries seeds 1000 to 1049 in each flavour. A failure prints the scenario, the step, and the pages that differ.
 */
const SEED = Number(process.env['CKPT_FUZZ_SEED'] ?? 20260);
const COUNT = Number(process.env['CKPT_FUZZ_COUNT'] ?? 5);
const CASES = resolve(import.meta.dirname, '../cases/softdirty/scenarios');

function shippedScenarios(): Map<string, string> {
  const files = readdirSync(CASES).map((file) => [file.replace(/\.sd$/, ''), join(CASES, file)] as const);
  return new Map(files.map(([name, path]) => [name, readFileSync(path, 'utf8')]));
}

function randomScenarios(): Map<string, string> {
  const scenarios = new Map<string, string>();
  for (let seed = SEED; seed < SEED + COUNT; seed++) {
    for (const flavour of FUZZ_FLAVOURS) scenarios.set(`${flavour}-${seed}`, randomScenario(seed, flavour));
  }
  return scenarios;
}

function simulate(text: string, name: string, version: GuestKernelVersion): string {
  try {
    return runScenario(text, { name, version });
  } catch (error) {
    if (error instanceof ScenarioError) return error.message;
    throw error;
  }
}

/** Runs all on both kernels; the scenarios on which they part, each with the first difference. */
async function differences(
  version: GuestKernelVersion,
  scenarios: ReadonlyMap<string, string>,
): Promise<string[]> {
  const recorded = await record(version, scenarios);
  const found: string[] = [];
  for (const [name, text] of scenarios) {
    const real = recorded.get(name) ?? '';
    const difference = firstDifference(real, simulate(text, name, version));
    if (difference !== undefined) found.push(`${name}: ${difference}\n${text}`);
  }
  return found;
}

/** The simulator is held to the releases of the recordings; where the archive has them no more, nothing can be said. */
function releaseObstacle(version: GuestKernelVersion): string | undefined {
  const kernel = guestKernel(version);
  return isRecordedRelease(version, kernel)
    ? undefined
    : `${kernel.release} is not the release of the recordings`;
}

describe.each<GuestKernelVersion>(['6.1', '6.12'])('the simulated and the real kernel %s', (version) => {
  const obstacle = recorderObstacle(version) ?? releaseObstacle(version);
  it.skipIf(obstacle !== undefined)(`agree on the shipped cases ${obstacle ?? ''}`, async () => {
    expect(await differences(version, shippedScenarios())).toEqual([]);
  });

  it.skipIf(obstacle !== undefined)(`agree on random scenarios ${obstacle ?? ''}`, async () => {
    expect(await differences(version, randomScenarios())).toEqual([]);
  });
});
