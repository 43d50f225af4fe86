import { type Feature, MissingError, reasonOf, tryFeature, UntriedError } from './feature.ts';
import { probeMachineFeatures } from './feature-machine.ts';
import { probeProcessAccess } from './feature-process.ts';
import { probeTracing } from './feature-trace.ts';
import { probeTrackingFeatures } from './feature-tracking.ts';
import type { Trial } from './feature-trial.ts';
import { loadNative } from './native/calls.ts';
import { Specimen } from './specimen.ts';

/**
 * Finds out by trying what this kernel and this user can do. Nothing is tried on anybody else's processes, and nothing
 * is left behind; what cannot be tried is reported as such and never thrown.
 * @param withSpecimen is called with the PID of a process of ours that is there to be tried on, before it ends
 */
export async function probeFeatures<Result>(
  withSpecimen: (pid: number) => Promise<Result>,
): Promise<{ readonly features: readonly Feature[]; readonly result: Result | undefined }> {
  const native = await attempt(loadNative);
  const specimen = await attempt(Specimen.start);
  const trial: Trial = {
    native: () => native.value ?? giveUp('needs native calls, which are missing'),
    specimen: () => specimen.value ?? giveUp(`no process to try it on: ${specimen.problem}`),
  };
  try {
    const features = [
      await tryFeature('native-calls', 'native calls', NATIVE_REMEDY, () => {
        const { name } = native.value?.architecture ?? missNative(native.problem);
        return `koffi makes system calls on ${name}`;
      }),
      ...(await probeProcessAccess(trial)),
      ...(await probeTracing(trial)),
      ...(await probeTrackingFeatures(trial)),
      ...(await probeMachineFeatures(trial)),
    ];
    const result = specimen.value === undefined ? undefined : await withSpecimen(specimen.value.pid);
    return { features, result };
  } finally {
    specimen.value?.end();
  }
}

const NATIVE_REMEDY = {
  otherwise: "reinstall ckpt with optional packages ('npm install --include=optional'), on x86-64 or aarch64",
};

function missNative(problem = 'the package koffi cannot be loaded'): never {
  throw new MissingError(problem);
}

interface Attempt<Value> {
  readonly value?: Value;
  readonly problem?: string;
}

async function attempt<Value>(make: () => Promise<Value>): Promise<Attempt<Value>> {
  try {
    return { value: await make() };
  } catch (error) {
    return { problem: reasonOf(error) };
  }
}

function giveUp(why: string): never {
  throw new UntriedError(why);
}
