import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LiveProcessState, LiveState } from '../../../src/target/index.ts';
import { findStateObstacles } from '../../../src/target/rewrite/plan-state.ts';
import { changedDispositions } from '../../../src/target/rewrite/state-signals.ts';
import { liveStates } from '../arbitrary-live-state.ts';

/** A process of which everything is known. */
function known(process: LiveProcessState): LiveProcessState {
  const registers = { general: '', floatingPoint: '', extended: null, further: [] };
  return {
    ...process,
    seccompMode: 0,
    layout: { ...process.layout, brk: '0x1000' },
    signals: { ...process.signals, dispositions: [], pending: [] },
    threads: process.threads.map((thread) => ({ ...thread, registers, pending: [] })),
  };
}

const states = liveStates.map((state): LiveState => ({ ...state, processes: state.processes.map(known) }));
const [state] = fc.sample(states, { seed: 3, numRuns: 1 });
const [first] = state!.processes;

function signal(number: number, code = 0): string {
  const bytes = Buffer.alloc(128);
  bytes.writeInt32LE(number, 0);
  bytes.writeInt32LE(code, 8);
  return bytes.toString('base64');
}

/** The problems if the first process has changed. */
function problems(now: Partial<LiveProcessState>, then: Partial<LiveProcessState> = {}): string[] {
  const one = (more: Partial<LiveProcessState>) => ({ ...state!, processes: [{ ...first!, ...more }] });
  return findStateObstacles(one(now), one(then)).map(({ problem }) => problem);
}

describe('findStateObstacles', () => {
  it('finds none where nothing has changed', () => {
    fc.assert(
      fc.property(states, (same) => {
        expect(findStateObstacles(same, same)).toEqual([]);
      }),
    );
  });

  it.each([
    ['users', { credentials: { ...first!.credentials, userIds: [1, 2, 3, 4] } }, /users/],
    ['a filter', { seccompMode: 2 }, /seccomp/],
    ['no way in', { signals: { ...first!.signals, dispositions: null } }, /no system calls/],
    ['root', { root: '/elsewhere' }, /root directory/],
    ['namespaces', { namespaces: { pid: 'pid:[9]' } }, /namespaces/],
    ['a session', { session: first!.session + 1 }, /session/],
    ['a PID that was used again', { startTicks: first!.startTicks + 1 }, /belongs to another/],
    ['a thread that has ended', { threads: first!.threads.slice(0, -1) }, /thread .* has ended/],
    ['a signal', { signals: { ...first!.signals, pending: [signal(12)] } }, /signal 12/],
  ])('%s', (_, now, problem) => {
    expect(problems(now as Partial<LiveProcessState>)[0]).toMatch(problem);
  });

  it('a thread that was created since is none: it is ended', () => {
    const [thread] = first!.threads;
    expect(problems({ threads: [...first!.threads, { ...thread!, id: 999_999 }] })).toEqual([]);
  });

  it('signals of timers, and stops, are none', () => {
    const pending = [signal(14, 0x80), signal(40, -2), signal(19)];
    expect(problems({ signals: { ...first!.signals, pending } })).toEqual([]);
    expect(problems({ signals: { ...first!.signals, pending: [signal(14)] } })).toHaveLength(1);
  });

  it('a checkpoint without registers is hopeless', () => {
    const threads = first!.threads.map((thread) => ({ ...thread, registers: null }));
    const one = { ...state!, processes: [{ ...first!, threads }] };
    const now = { ...state!, processes: [first!] };
    expect(findStateObstacles(now, one)[0]).toMatchObject({ otherwise: null });
  });

  it('processes that came and went are named', () => {
    const other = { ...first!, pid: 4_000_000, name: 'new' };
    const [now, then] = [
      { ...state!, processes: [first!, other] },
      { ...state!, processes: [first!] },
    ];
    expect(findStateObstacles(now, then).map(({ problem }) => problem)).toEqual([
      'process 4000000 (new) was started since',
    ]);
    expect(findStateObstacles(then, now).map(({ problem }) => problem)).toEqual([
      'process 4000000 (new) has ended',
    ]);
  });
});

describe('changedDispositions', () => {
  const handler = (number: number, address: `0x${string}`) =>
    ({ signal: number, handler: address, flags: '0x0', restorer: '0x0', mask: '0x0' }) as const;

  it('sets what differs, and gives the default back to the rest', () => {
    const changed = changedDispositions(
      [handler(10, '0x5'), handler(12, '0x6')],
      [handler(12, '0x06'), handler(15, '0x1')],
    );
    expect(changed).toEqual([handler(10, '0x5'), handler(15, '0x0')]);
  });

  it('does not touch SIGKILL and SIGSTOP', () => {
    expect(changedDispositions([handler(9, '0x5'), handler(19, '0x5')], [])).toEqual([]);
  });
});
