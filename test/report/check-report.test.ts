import { describe, expect, it } from 'vitest';
import type { CheckedFeature, CheckReport } from '../../src/checkpoint/index.ts';
import { checkJson, formatCheck } from '../../src/report/index.ts';

const PTRACE: CheckedFeature = {
  id: 'ptrace',
  name: 'stop by ptrace',
  state: 'works',
  found: 'a process was stopped',
  needed: false,
  without: 'targets are stopped by signals',
};
const MISSING: CheckedFeature = {
  id: 'set-tid',
  name: 'chosen PIDs',
  state: 'missing',
  found: 'clone3 failed: EPERM',
  remedy: 'run ckpt as root',
  needed: true,
};
const UNTRIED: CheckedFeature = {
  id: 'kcmp',
  name: 'kcmp',
  state: 'untried',
  found: 'needs native calls',
  needed: false,
  without: 'positions are not known',
};

const REPORT: CheckReport = {
  machine: {
    kernelRelease: '6.18.0',
    architecture: 'x86_64',
    processors: 2,
    nodeVersion: '20.20.2',
    zstd: 'wasm',
    user: 1000,
    capabilities: [],
    missingCapabilities: ['CAP_SYS_PTRACE'],
  },
  purposes: [
    { id: 'dump', title: 'dump', what: 'live processes', works: true, features: [PTRACE, UNTRIED] },
    { id: 'track', title: 'track changes', what: 'deltas', works: true, features: [] },
    { id: 'restore-new', title: 'restore', what: '--new', works: false, features: [PTRACE, MISSING] },
  ],
  trackers: { auto: 'compare: no better', kinds: [{ kind: 'compare', works: true, reason: 'works' }] },
  target: undefined,
  dumpWorks: true,
};

describe('the report of ckpt check', () => {
  it('marks what is needed and missing, tells what works once, and gives the remedy', () => {
    expect(formatCheck(REPORT)).toBe(`Linux 6.18.0, x86_64, 2 processors, Node 20.20.2, zstd by zstd-codec
user 1000, without CAP_SYS_PTRACE

dump (live processes): works
  ok  stop by ptrace  a process was stopped
  ?   kcmp            needs native calls
                      without it: positions are not known

track changes (deltas): works
  ok  --tracker compare  works
  =>  --tracker auto     compare: no better

restore (--new): does not work
  NO  chosen PIDs  clone3 failed: EPERM
                   remedy: run ckpt as root
`);
  });

  it('begins with the process that was asked about', () => {
    const target = {
      pid: 4711,
      name: 'redis',
      features: [{ ...MISSING, id: 'target-cgroup', needed: false }],
    } as const;
    const text = formatCheck({ ...REPORT, target });
    expect(text).toContain('\n\nprocess 4711 (redis)\n  no  chosen PIDs  clone3 failed: EPERM\n');
    expect(checkJson({ ...REPORT, target })).toMatchObject({ dumpWorks: true, target });
    expect(checkJson(REPORT)).not.toHaveProperty('target');
  });
});
