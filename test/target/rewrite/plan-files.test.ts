import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LiveProcessState, OpenFile } from '../../../src/target/index.ts';
import { planFiles } from '../../../src/target/rewrite/plan-files.ts';
import { liveStates } from '../arbitrary-live-state.ts';

const PID = 7;

function file(more: Partial<OpenFile> = {}): OpenFile {
  return {
    descriptor: 3,
    path: '/srv/data',
    kind: 'file',
    deleted: false,
    flags: 0o100002,
    closeOnExec: false,
    position: '0',
    device: '254:0',
    inode: '99',
    sizeBytes: 10,
    description: 1,
    details: [],
    pipe: null,
    ...more,
  };
}

const [some] = fc.sample(liveStates, { seed: 1, numRuns: 1 });

function processWith(...files: OpenFile[]): LiveProcessState[] {
  return [{ ...some!.processes[0]!, pid: PID, files }];
}

function plan(now: OpenFile[], then: OpenFile[], sockets = new Map<string, 'listening' | 'connected'>()) {
  return planFiles(processWith(...now), processWith(...then), sockets);
}

const pipe = (descriptor: number, flags: number, unread: string | null) =>
  file({
    descriptor,
    kind: 'pipe',
    path: 'pipe:[5]',
    inode: '5',
    flags,
    description: descriptor,
    pipe: unread === null ? null : { unread: Buffer.from(unread).toString('base64'), capacityBytes: 65536 },
  });

describe('planFiles', () => {
  it('does nothing where nothing has changed', () => {
    fc.assert(
      fc.property(liveStates, ({ processes }) => {
        const calm = processes.map((process) => ({
          ...process,
          files: process.files.filter(({ kind }) => kind !== 'socket' && kind !== 'io_uring'),
        }));
        expect(planFiles(calm, calm, new Map())).toEqual({ operations: [], obstacles: [] });
      }),
    );
  });

  it('sets positions and flags back', () => {
    const now = file({ position: '500', flags: 0o104002, closeOnExec: true });
    expect(plan([now], [file({ position: '12' })]).operations).toEqual([
      { kind: 'status', pid: PID, descriptor: 3, flags: 0o100002 },
      { kind: 'close-on-exec', pid: PID, descriptor: 3, on: false },
      { kind: 'seek', pid: PID, descriptor: 3, position: 12n },
    ]);
  });

  it('closes what was opened since, last of all kinds that are not watches, and calls it an obstacle', () => {
    const { operations, obstacles } = plan([file(), file({ descriptor: 9, description: 2 })], [file()]);
    expect(operations).toEqual([{ kind: 'close', pid: PID, descriptor: 9 }]);
    expect(obstacles).toEqual([
      { pid: PID, problem: 'descriptor 9 (/srv/data) was opened since', otherwise: 'it is closed' },
    ]);
  });

  it.each([
    ['closed', [], file(), /was closed since/],
    ['another file', [file({ inode: '100', path: '/other' })], file(), /is \/other now/],
    ['opened for reading only', [file({ flags: 0o100000 })], file(), /is \/srv\/data now/],
    ['deleted', [file({ deleted: true })], file(), /was deleted since/],
    ['locked', [file({ details: ['lock: 1: POSIX ADVISORY WRITE 7 fe:00:99 0 EOF'] })], file(), /locks/],
    ['io_uring', [file({ kind: 'io_uring' })], file({ kind: 'io_uring' }), /io_uring/],
    ['inotify', [file({ kind: 'inotify' })], file({ kind: 'inotify' }), /inotify/],
  ])('%s is an obstacle', (_, now, then, problem) => {
    const { obstacles } = plan(now, [then]);
    expect(obstacles).toHaveLength(1);
    expect(obstacles[0]!.problem).toMatch(problem);
    expect(obstacles[0]!.otherwise).not.toBeNull();
  });

  it('does not mind that locks are numbered anew', () => {
    const locked = (number: number) =>
      file({ details: [`lock: ${number}: POSIX ADVISORY WRITE 7 fe:00:99 0 EOF`] });
    expect(plan([locked(2)], [locked(1)])).toEqual({ operations: [], obstacles: [] });
  });

  it('refills a pipe whose two ends the target holds, and leaves others alone', () => {
    const now = [pipe(4, 0, 'late'), pipe(5, 1, null)];
    expect(plan(now, [pipe(4, 0, 'earlier'), pipe(5, 1, null)]).operations).toEqual([
      {
        kind: 'refill',
        reader: { pid: PID, descriptor: 4 },
        writer: { pid: PID, descriptor: 5 },
        presentBytes: 4,
        content: new Uint8Array(Buffer.from('earlier')),
      },
    ]);
    expect(plan([pipe(4, 0, null)], [pipe(4, 0, null)])).toEqual({ operations: [], obstacles: [] });
  });

  it('takes a socket for a connection unless it is known for another', () => {
    const socket = file({ kind: 'socket', path: 'socket:[5]', inode: '5' });
    expect(plan([socket], [socket]).obstacles[0]!.problem).toContain('peer');
    expect(plan([socket], [socket], new Map([['5', 'listening']])).obstacles).toEqual([]);
    expect(plan([socket], [socket], new Map([['5', 'connected']])).obstacles).toHaveLength(1);
  });

  it('sets counters and timers, except for semaphores', () => {
    const counter = (count: string, semaphore: number) =>
      file({ kind: 'eventfd', details: [`eventfd-count: ${count}`, `eventfd-semaphore: ${semaphore}`] });
    expect(plan([counter('a', 0)], [counter('1', 0)]).operations).toEqual([
      { kind: 'count', pid: PID, descriptor: 3, present: 10n, count: 1n },
    ]);
    expect(plan([counter('a', 1)], [counter('1', 1)]).obstacles[0]!.problem).toContain('semaphore');
    const timer = file({
      kind: 'timerfd',
      details: ['clockid: 1', 'ticks: 2', 'settime flags: 00', 'it_value: (3, 4)', 'it_interval: (1, 0)'],
    });
    expect(plan([timer], [timer]).operations).toMatchObject([
      { kind: 'timer', setting: { ticks: 2n, remainingNanoseconds: 3_000_000_004n } },
    ]);
  });

  it('adds, changes and removes what an epoll watches', () => {
    const epoll = (...watches: string[]) => file({ kind: 'epoll', details: watches });
    const watch = (descriptor: number, events: string) =>
      `tfd: ${descriptor} events: ${events} data: 5 pos:0 ino:1 sdev:1`;
    const { operations } = plan([epoll(watch(4, '1'), watch(6, '1'))], [epoll(watch(4, '5'), watch(8, '1'))]);
    expect(operations).toMatchObject([
      { kind: 'watch', action: 'remove', watch: { descriptor: 6 } },
      { kind: 'watch', action: 'modify', watch: { descriptor: 4, events: 5 } },
      { kind: 'watch', action: 'add', watch: { descriptor: 8, events: 1, data: 5n } },
    ]);
  });

  it('finds that descriptors which shared a position do not any more', () => {
    const then = [file(), file({ descriptor: 4 })];
    expect(plan([file(), file({ descriptor: 4, description: 2 })], then).obstacles[0]!.problem).toMatch(
      /anew/,
    );
    expect(plan(then, then).obstacles).toEqual([]);
  });
});
