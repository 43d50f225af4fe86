import { join } from 'node:path';
import { expect } from 'vitest';
import type { LiveState } from '../../src/target/index.ts';

/** What the program says of itself: the words behind each name. */
export type Confession = ReadonlyMap<string, readonly string[]>;

/** Number, code and value of a queued siginfo (struct siginfo on 64-bit machines). */
function siginfo(base64: string): { signal: number; code: number; value: string } {
  const bytes = Buffer.from(base64, 'base64');
  const value = bytes.readBigUInt64LE(24).toString(16);
  return { signal: bytes.readInt32LE(0), code: bytes.readInt32LE(8), value: `0x${value}` };
}

const SI_QUEUE = -1;

/** Dispositions and pending signals with their values are those that whole-state.c says. */
export function expectSignals(facts: Confession, state: LiveState): void {
  const { signals, threads } = state.processes[0]!;
  const said = [...facts]
    .filter(([name]) => name.startsWith('action.'))
    .map(([name, [handler, flags, restorer, mask]]) => ({
      signal: Number(name.slice('action.'.length)),
      ...{ handler, flags, restorer, mask },
    }));
  expect(said.length).toBeGreaterThan(4);
  expect(signals.dispositions).toEqual(said);
  expect(signals.pending.map(siginfo)).toEqual([{ signal: 12, code: SI_QUEUE, value: '0x777' }]);
  const [main, waiter, spinner] = threads;
  expect(main!.pending.map(siginfo)).toEqual([
    { signal: 37, code: SI_QUEUE, value: '0x2345678' },
    { signal: 37, code: SI_QUEUE, value: '0x3456789' },
  ]);
  expect(waiter!.pending.map(siginfo)).toEqual([{ signal: 38, code: SI_QUEUE, value: '0x1234567' }]);
  expect(spinner!.pending).toEqual([]);
}

/** Each thread has registered with the kernel what it says. */
export function expectThreads(facts: Confession, state: LiveState): void {
  const [main, waiter, spinner] = state.processes[0]!.threads;
  for (const [name, thread] of Object.entries({ main, waiter, spinner })) {
    const fact = (field: string) => facts.get(`${name}.${field}`)![0];
    expect({
      id: `0x${thread!.id.toString(16)}`,
      mask: thread!.signalMask,
      stack: thread!.alternateStack!.start,
      stackBytes: thread!.alternateStack!.sizeBytes,
      robust: thread!.robustList!.head,
      robustBytes: thread!.robustList!.lengthBytes,
      tidAddress: thread!.clearChildTid,
      rseq: thread!.rseq?.pointer ?? '0x0',
    }).toEqual({
      id: fact('id'),
      mask: fact('mask'),
      stack: fact('stack'),
      stackBytes: Number(fact('stackBytes')),
      robust: fact('robust'),
      robustBytes: Number(fact('robustBytes')),
      tidAddress: fact('tidAddress'),
      rseq: fact('rseq'),
    });
    if (thread!.rseq !== null) expect(thread!.rseq.signature).toBe(Number(fact('rseqSignature')));
  }
  expect([main!.name, waiter!.name, spinner!.name]).toEqual(['whole-state', 'waiter é', 'spinner']);
  expect([main!.schedule.nice, waiter!.schedule.nice, spinner!.schedule.nice]).toEqual([0, 0, 7]);
}

/** The timers are those that whole-state.c makes, with what is left of them. */
export function expectTimers(state: LiveState): void {
  const { intervals, posix } = state.processes[0]!.timers;
  expect(intervals).toHaveLength(1);
  expect(intervals![0]).toMatchObject({ which: 0, intervalMicroseconds: 7_000_000 });
  expect(intervals![0]!.valueMicroseconds).toBeGreaterThan(900e6);
  expect(intervals![0]!.valueMicroseconds).toBeLessThanOrEqual(1000.0005e6);
  const [byProcess, byThread, byNobody] = [0, 1, 2].map((id) => posix.find((timer) => timer.id === id));
  expect(byProcess).toMatchObject({ clock: 1, signal: 39, notify: 0, notifyThread: null, value: '0x4200' });
  const { pid } = state.processes[0]!;
  expect(byThread).toMatchObject({ signal: 40, notify: 4, notifyThread: pid, value: '0x4201', overrun: 0 });
  expect(byNobody).toMatchObject({ notify: 1, notifyThread: null, remainingNanoseconds: '0' });
  expect(byProcess!.intervalNanoseconds).toBe('3000000000');
  const left = Number(byProcess!.remainingNanoseconds) / 1e9;
  expect(left).toBeGreaterThan(400);
  expect(left).toBeLessThanOrEqual(500);
}

/**
 * The open files are those that it says, with positions, flags, and which are one.
 * @param directory in which it has made files
 */
export function expectFiles(
  facts: Confession,
  state: LiveState,
  directory: string,
  { hasInodes }: { readonly hasInodes: boolean },
): void {
  const { files } = state.processes[0]!;
  const file = (descriptor: string) =>
    files.find((candidate) => String(candidate.descriptor) === descriptor)!;
  const O_APPEND = 0o2000;
  for (const name of ['appended', 'duplicate', 'reopened', 'memory']) {
    const [descriptor, position, flags, descriptorFlags, inode] = facts.get(name)!;
    expect(file(descriptor!)).toMatchObject({
      position,
      flags: Number(flags),
      closeOnExec: descriptorFlags === '1',
      ...(hasInodes ? { inode } : {}),
      kind: name === 'memory' ? 'memfd' : 'file',
    });
  }
  const [appended, duplicate, reopened] = ['appended', 'duplicate', 'reopened'].map((name) =>
    file(facts.get(name)![0]!),
  );
  expect(appended!.path).toBe(join(directory, 'appended'));
  expect(appended!.flags & O_APPEND).toBe(O_APPEND);
  expect(appended!.sizeBytes).toBe(100);
  expect(duplicate!.description).toBe(appended!.description);
  expect(reopened!.description).not.toBe(appended!.description);
  expect(file(facts.get('deleted')![0]!)).toMatchObject({
    path: `${join(directory, 'deleted')} (deleted)`,
    deleted: true,
  });
  expect(file(facts.get('directory')![0]!)).toMatchObject({ kind: 'directory', path: directory });
  expect(file(facts.get('event')![0]!)).toMatchObject({ kind: 'eventfd' });
  expect(file(facts.get('event')![0]!).details).toContain('eventfd-count: 5');
  const [reader, writer, capacity] = facts.get('pipe')!;
  const unread = Buffer.from('unread bytes').toString('base64');
  expect(file(reader!)).toMatchObject({ kind: 'pipe', pipe: { unread, capacityBytes: Number(capacity) } });
  expect(file(writer!)).toMatchObject({ kind: 'pipe', pipe: null });
}
