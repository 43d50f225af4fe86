import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareStates } from '../../src/checkpoint/state-difference.ts';
import { formatStateDifference, stateDifferenceJson } from '../../src/report/state-difference-report.ts';
import type { LiveProcessState, OpenFile } from '../../src/target/index.ts';
import { liveStates } from '../target/arbitrary-live-state.ts';

const sample = fc.sample(liveStates, { numRuns: 1, seed: 7 })[0]!.processes[0]!;

function file(descriptor: number, changes: Partial<OpenFile> = {}): OpenFile {
  return {
    ...{ descriptor, path: `/f${descriptor}`, kind: 'file', deleted: false, flags: 0, closeOnExec: false },
    ...{
      position: '0',
      device: '8:1',
      inode: String(descriptor),
      sizeBytes: 0,
      description: null,
      details: [],
    },
    ...{ pipe: null, ...changes },
  };
}

const before: LiveProcessState = { ...sample, files: [file(0), file(1), file(2), file(3)], umask: 0o22 };

describe('the difference between two states', () => {
  it('is none between a state and itself', () => {
    fc.assert(
      fc.property(liveStates, ({ processes }) => {
        for (const process of processes)
          expect(compareStates(process, structuredClone(process))).toBeUndefined();
      }),
      { numRuns: 20 },
    );
  });

  it('does not lie in registers', () => {
    const threads = before.threads.map((thread) => ({ ...thread, registers: null, systemCall: 7 }));
    expect(compareStates(before, { ...before, threads })).toBeUndefined();
  });

  it('names descriptors and what became of them', () => {
    const unread = { unread: 'c2VjcmV0', capacityBytes: 4096 };
    const files = [
      file(0, { position: '9' }),
      file(1, { inode: '77', path: '/g' }),
      file(3, { kind: 'file', pipe: unread }),
      file(5),
    ];
    const difference = compareStates(before, { ...before, files })!;
    expect(formatStateDifference(difference)).toBe(
      [
        'descriptor 0 moved from 0 to 9: /f0',
        'descriptor 1 replaced: /f1 by /g',
        'descriptor 2 closed: /f2',
        'descriptor 3 altered: /f3',
        'descriptor 5 opened: /f5',
        '',
      ].join('\n'),
    );
    const json = JSON.stringify(stateDifferenceJson(difference));
    expect(json).toContain('"descriptor":2,"change":"closed"');
    expect(json).not.toContain('c2VjcmV0');
  });

  it('knows files by their paths where CRIU has not kept inode numbers', () => {
    const unnumbered = (path: string) => ({ ...before, files: [file(1, { inode: '0', path })] });
    expect(compareStates(unnumbered('/f'), unnumbered('/f'))).toBeUndefined();
    expect(compareStates(unnumbered('/f'), unnumbered('/g'))?.files).toMatchObject([{ change: 'replaced' }]);
  });

  it('names threads and fields', () => {
    const [leader, other] = before.threads;
    const after = {
      ...before,
      umask: 0o77,
      workingDirectory: '/tmp',
      threads: [leader!, { ...other!, id: 999_999 }],
      credentials: { ...before.credentials, noNewPrivileges: !before.credentials.noNewPrivileges },
      layout: { ...before.layout, brk: '0x7000' as const },
      signals: { ...before.signals, pending: [...before.signals.pending, 'AA=='] },
    };
    const text = formatStateDifference(compareStates({ ...before, workingDirectory: '/' }, after)!);
    expect(text).toContain(`thread 999999 began\nthread ${other!.id} ended\n`);
    expect(text).toContain('umask changed from 0022 to 0077\n');
    expect(text).toContain('directory changed from / to /tmp\n');
    expect(text).toContain('credentials changed\n');
    expect(text).toMatch(/^end of the heap changed/m);
    expect(text).toContain('pending signals changed\n');
  });
});
