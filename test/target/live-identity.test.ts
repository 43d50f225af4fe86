import { describe, expect, it } from 'vitest';
import { identityDifference, type TargetIdentity } from '../../src/target/index.ts';

const live = (fingerprint: string, name = '12 (redis)'): TargetIdentity => ({
  kind: 'live',
  name,
  fingerprint,
});
const simulated = (fingerprint: string, name: string): TargetIdentity => ({
  kind: 'simulated',
  name,
  fingerprint,
});
const BEFORE = 'boot=b pid=12 start=5 exe=1:2 image=i';

describe('why a checkpoint cannot be the parent', () => {
  it.each([
    [BEFORE, undefined],
    ['boot=c pid=12 start=5 exe=1:2 image=i', 'the machine has been restarted since'],
    [
      'boot=b pid=12 start=9 exe=1:3 image=k',
      'the process has ended since and its PID belongs to another one now',
    ],
    ['boot=b pid=12 start=5 exe=1:3 image=k', 'the process has executed another program since'],
    ['boot=b pid=12 start=5 exe=1:2 image=k', 'the process has executed its program anew since'],
  ])('%s: %s', (fingerprint, why) => {
    expect(identityDifference(live(BEFORE), live(fingerprint))).toBe(why);
  });

  it('names the other target', () => {
    const other = live('boot=b pid=13 start=5 exe=1:2 image=i', '13 (cat)');
    expect(identityDifference(live(BEFORE), other)).toBe('it is of 12 (redis)');
    const workload = simulated('x', 'sim:a.yaml');
    expect(identityDifference(workload, other)).toBe('it is of sim:a.yaml');
    expect(identityDifference(workload, simulated('y', 'sim:b.yaml'))).toBe('it is of sim:a.yaml');
    expect(identityDifference(workload, simulated('y', 'sim:a.yaml'))).toBe(
      'the workload file was changed since',
    );
  });
});
