import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  epollWatches,
  eventCounter,
  fileLocks,
  signalMask,
  timerSetting,
} from '../../../src/target/launch/descriptor-details.ts';
import { choosePool } from '../../../src/target/launch/open-descriptions.ts';
import { planDescriptors } from '../../../src/target/launch/plan-descriptors.ts';
import { liveStates } from '../arbitrary-live-state.ts';
import { openFile, processState } from './samples.ts';

const plan = (files: Parameters<typeof openFile>[1][], streams: 'inherit' | 'null' = 'inherit') =>
  planDescriptors([processState(10, { files: files.map((file, index) => openFile(index, file)) })], streams);

describe('planDescriptors()', () => {
  it('opens a file again as it was, without making or emptying it', () => {
    const { descriptions } = plan([{ flags: 0o102102 | 0o1000, position: '12345678901' }]);
    expect(descriptions).toEqual([
      { kind: 'open', path: '/data', flags: 0o102002 | 0o400, position: 12345678901n },
    ]);
  });

  it('makes a description once for all who share it, also across processes', () => {
    const shared = { description: 5 };
    const { descriptions, processes } = planDescriptors(
      [
        processState(10, { files: [openFile(3, shared), openFile(4, { description: 6 })] }),
        processState(11, { parentPid: 10, files: [openFile(7, { ...shared, closeOnExec: true })] }),
      ],
      'null',
    );
    expect(descriptions).toHaveLength(2);
    expect(processes.get(10)?.placements).toEqual([
      { descriptor: 3, closeOnExec: false, description: 0 },
      { descriptor: 4, closeOnExec: false, description: 1 },
    ]);
    expect(processes.get(11)?.placements).toEqual([{ descriptor: 7, closeOnExec: true, description: 0 }]);
  });

  it('makes a pipe of which the target holds both ends, with what lies in it', () => {
    const pipe = { unread: Buffer.from('left').toString('base64'), capacityBytes: 4096 };
    const end = { kind: 'pipe' as const, path: 'pipe:[8]', inode: '8' };
    const { descriptions, pipes, obstacles } = plan([
      { ...end, flags: 0, pipe },
      { ...end, flags: 1 },
    ]);
    expect(obstacles).toEqual([]);
    expect(descriptions).toEqual([
      { kind: 'pipe', pipe: 0, flags: 0 },
      { kind: 'pipe', pipe: 0, flags: 1 },
    ]);
    expect(pipes).toEqual([{ unread: new Uint8Array(Buffer.from('left')), capacityBytes: 4096 }]);
  });

  it.each([
    ['inherit', { kind: 'stream', descriptor: 0, flags: 0o400 }],
    ['null', { kind: 'open', path: '/dev/null', flags: 2, position: 0n }],
  ] as const)('replaces standard streams that led outside (%s)', (streams, expected) => {
    for (const kind of ['terminal', 'pipe', 'socket'] as const) {
      const { descriptions, obstacles, notes } = plan([{ kind, path: `${kind}:[1]` }], streams);
      expect(obstacles).toEqual([]);
      expect(descriptions).toEqual([expected]);
      expect(notes).toHaveLength(1);
    }
  });

  it('gives a pipe to nobody the null device, if that is forced', () => {
    const pipe = openFile(7, { kind: 'pipe', path: 'pipe:[8]', inode: '8', flags: 1 });
    const { descriptions, obstacles } = planDescriptors([processState(10, { files: [pipe] })], 'inherit');
    expect(descriptions).toEqual([{ kind: 'open', path: '/dev/null', flags: 2, position: 0n }]);
    expect(obstacles).toMatchObject([{ pid: 10, forcible: true }]);
  });

  it('names what cannot be made, and what it is', () => {
    const names = {
      socket: 'a socket',
      memfd: 'a memory file',
      inotify: 'an inotify watch',
      io_uring: 'an io_uring',
      pidfd: 'a pidfd',
      device: 'a device',
      fifo: 'a FIFO',
      userfaultfd: 'a userfaultfd',
    } as const;
    for (const [kind, name] of Object.entries(names) as [keyof typeof names, string][]) {
      const { obstacles } = planDescriptors(
        [processState(10, { files: [openFile(7, { kind, path: 'it' })] })],
        'inherit',
      );
      expect(obstacles).toMatchObject([{ pid: 10, forcible: false }]);
      expect(obstacles[0]?.message).toContain(`descriptor 7 is ${name}`);
    }
  });

  it('leaves out what ckpt put into a process that it tracked', () => {
    const { descriptions, obstacles } = plan([
      { kind: 'userfaultfd', path: 'anon_inode:[userfaultfd]', closeOnExec: true },
      { kind: 'memfd', path: '/memfd:ckpt-tracking (deleted)', deleted: true },
    ]);
    expect({ descriptions, obstacles }).toEqual({ descriptions: [], obstacles: [] });
  });

  it('gives every descriptor a place or a reason why not', () => {
    fc.assert(
      fc.property(liveStates, ({ processes }) => {
        const { descriptions, processes: planned, obstacles } = planDescriptors(processes, 'null');
        for (const { pid, files } of processes) {
          const { placements } = planned.get(pid)!;
          const placed = new Set(placements.map(({ descriptor }) => descriptor));
          expect(placed.size).toBe(placements.length);
          expect(placements.every(({ description }) => description < descriptions.length)).toBe(true);
          const fixed = new Set(files.map(({ descriptor }) => descriptor));
          for (const descriptor of placed) expect(fixed.has(descriptor)).toBe(true);
        }
        const all = processes.reduce((sum, { files }) => sum + files.length, 0);
        const placedAll = [...planned.values()].reduce((sum, { placements }) => sum + placements.length, 0);
        expect(placedAll === all).toBe(!obstacles.some(({ forcible }) => !forcible));
      }),
      { numRuns: 40 },
    );
  });
});

describe('choosePool()', () => {
  it('keeps clear of every number that a process wants, and of the launcher’s own', () => {
    const numbers = fc.uniqueArray(fc.nat(40), { maxLength: 30 });
    fc.assert(
      fc.property(fc.array(numbers, { maxLength: 3 }), fc.nat(20), (processes, count) => {
        const pool = choosePool(
          processes.map((wanted) => ({
            placements: wanted.map((descriptor) => ({ descriptor, closeOnExec: false, description: 0 })),
            epolls: [],
            timers: [],
            locks: [],
          })),
          count,
        );
        expect(pool.first).toBeGreaterThanOrEqual(6);
        for (const wanted of processes.flat()) {
          expect(wanted < pool.first || wanted >= pool.first + pool.count).toBe(true);
        }
      }),
    );
  });
});

describe('the lines of fdinfo', () => {
  it('tell what an epoll descriptor watches', () => {
    expect(
      epollWatches([
        'tfd:        6 events:       19 data:     7fff00000001  pos:0 ino:40e sdev:10',
        'tfd:       17 events: 80000001 data: ffffffffffffffff  pos:0 ino:40e sdev:10',
      ]),
    ).toEqual([
      { descriptor: 6, events: 0x19, data: 0x7fff00000001n },
      { descriptor: 17, events: 0x80000001, data: 0xffffffffffffffffn },
    ]);
  });

  it('tell what an eventfd counts, in hexadecimal digits', () => {
    const details = ['eventfd-count:               39', 'eventfd-id: 5', 'eventfd-semaphore: 1'];
    expect(eventCounter(details)).toEqual({ count: 0x39n, semaphore: true });
  });

  it('tell the signals of a signalfd', () => {
    expect(signalMask(['sigmask:\t0000000000000200'])).toBe(0x200n);
  });

  it('tell how a timerfd is set', () => {
    const details = [
      'clockid: 7',
      'ticks: 3',
      'settime flags: 01',
      'it_value: (1, 49406829)',
      'it_interval: (0, 15000000)',
    ];
    expect(timerSetting(details)).toEqual({
      clock: 7,
      ticks: 3n,
      remainingNanoseconds: 1_049_406_829n,
      intervalNanoseconds: 15_000_000n,
    });
  });

  it('tell of locks', () => {
    expect(
      fileLocks([
        'lock:\t1: FLOCK  ADVISORY  WRITE 359 00:13:11691 0 EOF',
        'lock:\t2: POSIX  ADVISORY  READ 359 fd:00:12 128 128',
        'lock:\t3: OFDLCK ADVISORY  WRITE -1 fd:00:12 10 19',
        'lock:\t4: LEASE  ACTIVE    READ 359 fd:00:12 0 EOF',
        'eventfd-count: 0',
      ]),
    ).toEqual([
      { kind: 'whole', exclusive: true, startByte: 0n, lengthBytes: 0n },
      { kind: 'process', exclusive: false, startByte: 128n, lengthBytes: 1n },
      { kind: 'description', exclusive: true, startByte: 10n, lengthBytes: 10n },
      undefined,
    ]);
  });
});
