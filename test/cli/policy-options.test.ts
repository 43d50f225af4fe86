import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { declarePolicyOptions, type PolicyOptions, policyChoice } from '../../src/cli/policy-options.ts';
import { UsageError } from '../../src/core/index.ts';
import { type PolicyChoice, rehearseOnce } from '../../src/migration/index.ts';
import { SpiedMemory } from '../migration/spied-memory.ts';

function choiceOf(text: string): PolicyChoice {
  const command = new Command().exitOverride();
  declarePolicyOptions(command);
  command.parse(text === '' ? [] : text.split(' '), { from: 'user' });
  return policyChoice(command.opts<PolicyOptions>());
}

function outcomeOf(text: string) {
  const memory = new SpiedMemory({ pages: 3000, writesPerSecond: 5000, writtenPages: 2000, seed: 1 });
  return rehearseOnce(memory, { link: { bytesPerSecond: 50e6 }, choice: choiceOf(text) });
}

describe('--strategy', () => {
  it('stop-and-copy stops the target for the whole migration, by the rules of each system', () => {
    for (const policy of ['qemu', 'xen', 'clark', 'criu', 'fixed']) {
      const outcome = outcomeOf(`--policy ${policy} --strategy stop-and-copy`);
      expect(outcome).toMatchObject({ policy, strategy: 'stop-and-copy', verdict: 'converges' });
      expect(outcome.pages.normal + outcome.pages.duplicate).toBe(3000);
      expect(outcome.downtimeMicroseconds).toBeGreaterThan(outcome.totalMicroseconds * 0.9);
    }
  });

  it('post-copy and hybrid let it go on without its memory, where the system can', () => {
    for (const policy of ['qemu', 'criu', 'fixed']) {
      for (const strategy of ['post-copy', 'hybrid']) {
        expect(outcomeOf(`--policy ${policy} --strategy ${strategy}`)).toMatchObject({
          policy,
          strategy,
          verdict: 'converges',
        });
      }
    }
  });

  it('names the rounds of a hybrid migration and the order of what nobody asks for', () => {
    expect(choiceOf('--policy criu --strategy hybrid --max-rounds 3')).toEqual({
      policy: 'criu',
      options: { preDumps: 3, lazyPages: true },
    });
    expect(choiceOf('--policy fixed --strategy post-copy --pre-paging forward')).toEqual({
      policy: 'fixed',
      options: { rounds: 0, postcopy: 'forward' },
    });
  });

  it('refuses what a system does not have', () => {
    for (const wrong of [
      '--policy xen --strategy post-copy',
      '--policy clark --strategy hybrid',
      '--policy phaul --strategy post-copy',
      '--policy phaul --strategy stop-and-copy',
      '--policy phaul --max-rounds 3',
      '--policy fixed --strategy stop-and-copy --max-rounds 3',
      '--policy qemu --max-rounds 3',
    ]) {
      expect(() => choiceOf(wrong), wrong).toThrow(UsageError);
    }
  });
});

describe('options under the names of QEMU', () => {
  it('are those of its dirty limit and its post-copy', () => {
    const text =
      '--dirty-limit --vcpu-dirty-limit 50 --vcpu-dirty-limit-period 500ms --dirty-ring-size 8192 --max-postcopy-bandwidth 10MiB/s';
    expect(choiceOf(text).options).toMatchObject({
      dirtyLimit: true,
      vcpuDirtyLimit: 50,
      vcpuDirtyLimitPeriodMicroseconds: 500_000,
      dirtyRingPages: 8192,
      maxPostcopyBandwidth: 10 * 2 ** 20,
    });
    expect(() => outcomeOf('--dirty-limit --auto-converge')).toThrow(UsageError);
  });
});
