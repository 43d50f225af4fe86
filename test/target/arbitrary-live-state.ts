import fc from 'fast-check';
import type {
  HexNumber,
  LiveProcessState,
  LiveState,
  LiveThreadState,
  OpenFile,
} from '../../src/target/index.ts';

const text = fc.string({ unit: 'binary', maxLength: 12 });
const count = fc.nat();
const decimal = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n - 1n }).map(String);
const device = fc.tuple(fc.nat(4095), fc.nat(1048575)).map(([major, minor]) => `${major}:${minor}`);
const hex = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((value): HexNumber => `0x${value.toString(16)}`);
const bytes = (length: { minLength?: number; maxLength: number }) =>
  fc.uint8Array(length).map((array) => Buffer.from(array).toString('base64'));
const exactly = (length: number) => bytes({ minLength: length, maxLength: length });
const orNull = <Value>(arbitrary: fc.Arbitrary<Value>) => fc.option(arbitrary, { nil: null });

const file = fc.record<Omit<OpenFile, 'descriptor'>>({
  path: text,
  kind: fc.constantFrom('file', 'pipe', 'socket', 'null', 'terminal', 'io_uring'),
  deleted: fc.boolean(),
  flags: count,
  closeOnExec: fc.boolean(),
  position: decimal,
  device,
  inode: decimal,
  sizeBytes: fc.maxSafeNat(),
  description: orNull(fc.integer({ min: 1, max: 99 })),
  details: fc.array(text, { maxLength: 3 }),
  pipe: orNull(fc.record({ unread: bytes({ maxLength: 40 }), capacityBytes: count })),
});

const files = fc
  .dictionary(fc.nat(1024).map(String), file, { maxKeys: 4 })
  .map((entries) =>
    Object.entries(entries).map(([descriptor, rest]) => ({ descriptor: Number(descriptor), ...rest })),
  );

const credentials = fc.record({
  userIds: fc.array(count, { minLength: 4, maxLength: 4 }),
  groupIds: fc.array(count, { minLength: 4, maxLength: 4 }),
  supplementaryGroups: fc.array(count, { maxLength: 3 }),
  capabilities: fc.record({ inheritable: hex, permitted: hex, effective: hex, bounding: hex, ambient: hex }),
  noNewPrivileges: fc.boolean(),
});

const layout = fc.record({
  startCode: hex,
  endCode: hex,
  startData: hex,
  endData: hex,
  startBrk: hex,
  brk: orNull(hex),
  startStack: hex,
  argumentsStart: hex,
  argumentsEnd: hex,
  environmentStart: hex,
  environmentEnd: hex,
});

const disposition = fc.record({
  signal: fc.integer({ min: 1, max: 64 }),
  handler: hex,
  flags: hex,
  restorer: hex,
  mask: hex,
});

const timers = fc.record({
  intervals: orNull(
    fc.array(fc.record({ which: fc.nat(2), valueMicroseconds: count, intervalMicroseconds: count }), {
      maxLength: 3,
    }),
  ),
  posix: fc.array(
    fc.record({
      id: count,
      clock: fc.integer(),
      signal: fc.nat(64),
      notify: fc.nat(4),
      notifyThread: orNull(count),
      value: hex,
      remainingNanoseconds: orNull(decimal),
      intervalNanoseconds: orNull(decimal),
      overrun: orNull(count),
    }),
    { maxLength: 2 },
  ),
});

function thread(id: number, general: number, floatingPoint: number): fc.Arbitrary<LiveThreadState> {
  return fc.record({
    id: fc.constant(id),
    name: text,
    registers: orNull(
      fc.record({
        general: exactly(general),
        floatingPoint: exactly(floatingPoint),
        extended: orNull(bytes({ maxLength: 64 })),
        further: fc.array(fc.record({ type: fc.nat(), content: bytes({ maxLength: 16 }) }), { maxLength: 2 }),
      }),
    ),
    signalMask: hex,
    pending: fc.array(exactly(128), { maxLength: 2 }),
    alternateStack: orNull(fc.record({ start: hex, flags: count, sizeBytes: count })),
    robustList: orNull(fc.record({ head: hex, lengthBytes: count })),
    clearChildTid: orNull(hex),
    rseq: orNull(fc.record({ pointer: hex, sizeBytes: count, signature: count, flags: count })),
    schedule: fc.record({ policy: fc.nat(6), priority: fc.nat(99), nice: fc.integer({ min: -20, max: 19 }) }),
    systemCall: orNull(fc.nat(500)),
  });
}

function process(
  pid: number,
  parentPid: number,
  machine: LiveState['machine'],
): fc.Arbitrary<LiveProcessState> {
  const [general, floatingPoint] = machine === 'x86_64' ? [216, 512] : [272, 528];
  return fc.record({
    pid: fc.constant(pid),
    parentPid: fc.constant(parentPid),
    startTicks: count,
    processGroup: count,
    session: count,
    terminal: orNull(text),
    name: text,
    exe: orNull(
      fc.record({
        path: text,
        device,
        inode: decimal,
        sizeBytes: fc.maxSafeNat(),
        modifiedNanoseconds: decimal,
      }),
    ),
    commandLine: fc.array(text, { maxLength: 3 }),
    environment: orNull(bytes({ maxLength: 40 })),
    auxiliaryVector: orNull(bytes({ maxLength: 40 })),
    workingDirectory: orNull(text),
    root: orNull(text),
    umask: orNull(fc.nat(0o777)),
    personality: orNull(hex),
    credentials,
    limits: fc.array(fc.record({ resource: fc.nat(15), soft: hex, hard: hex }), { maxLength: 3 }),
    layout,
    signals: fc.record({
      caught: hex,
      ignored: hex,
      dispositions: orNull(fc.array(disposition, { maxLength: 3 })),
      pending: fc.array(exactly(128), { maxLength: 2 }),
    }),
    timers,
    files,
    namespaces: fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true }),
    cgroup: orNull(text),
    oomScoreAdjustment: orNull(fc.integer({ min: -1000, max: 1000 })),
    seccompMode: fc.nat(2),
    threads: fc.tuple(thread(pid, general, floatingPoint), thread(pid + 1, general, floatingPoint)),
  });
}

/** Any state: a root with a child and a grandchild, of two threads each. */
export const liveStates: fc.Arbitrary<LiveState> = fc
  .constantFrom('x86_64' as const, 'aarch64' as const)
  .chain((machine) =>
    fc.record({
      machine: fc.constant(machine),
      kernelRelease: text,
      bootId: text,
      processes: fc.tuple(process(100, 0, machine), process(200, 100, machine), process(300, 200, machine)),
      gaps: fc.array(text, { maxLength: 2 }),
    }),
  );
