import { describe, expect, it } from 'vitest';
import { PageRangeList, TargetError } from '../../../src/core/index.ts';
import type { TraceStep } from '../../../src/migration/trace/format.ts';
import { type RecorderOptions, recordSteps } from '../../../src/migration/trace/recorder.ts';
import type { ProcessView, Target } from '../../../src/target/index.ts';
import type { Tracker } from '../../../src/tracker/index.ts';
import { FakeProcess, vma } from '../../tracker/fake-process.ts';

/** A process with pages 100 to 109, of which the test says which are written. */
class StubProcess extends FakeProcess {
  override readonly pid: number;
  override readonly parentPid: number;
  readonly fingerprint: string;
  written = new PageRangeList();

  constructor(pid: number, parentPid: number, fingerprint: string) {
    super();
    this.pid = pid;
    this.parentPid = parentPid;
    this.fingerprint = fingerprint;
    this.setVmas(vma(100, 110));
  }
}

const PRESENT = PageRangeList.of({ startPage: 100, endPage: 110 });

const tracker: Tracker = {
  kind: 'soft-dirty',
  collect: (view, _vmas, parent) => {
    const { written } = view as StubProcess;
    const suspects = parent === undefined ? PRESENT : written;
    (view as StubProcess).written = new PageRangeList();
    return { suspects, unchanged: PRESENT.difference(suspects), scannedPages: 10, doubts: [], notes: [] };
  },
  arm: () => new Uint8Array(),
};

/** A target whose scans take time on its clock, and whose processes the test chooses before each of them. */
class StubTarget implements Target {
  readonly identity = { kind: 'live', name: 'stub', fingerprint: 'stub' } as const;
  frozen = false;
  running: StubProcess[] = [];
  /** Called before each scan with its number. */
  readonly #beforeScan: (scan: number, target: StubTarget) => void;
  readonly #scanMicroseconds: (scan: number) => number;
  #scan = 0;
  #now = 5_000_000;

  constructor(
    beforeScan: (scan: number, target: StubTarget) => void,
    scanMicroseconds: (scan: number) => number = () => 0,
  ) {
    this.#beforeScan = beforeScan;
    this.#scanMicroseconds = scanMicroseconds;
  }

  abilities(): never {
    throw new Error('nobody asks');
  }

  processes(): ProcessView[] {
    return this.running;
  }

  freeze(): Promise<void> {
    this.#beforeScan(this.#scan, this);
    this.#now += this.#scanMicroseconds(this.#scan++);
    this.frozen = true;
    return Promise.resolve();
  }

  thaw(): void {
    this.frozen = false;
  }

  run(durationMicroseconds: number): Promise<void> {
    expect(this.frozen).toBe(false);
    this.#now += durationMicroseconds;
    return Promise.resolve();
  }

  nowMicroseconds(): number {
    return this.#now;
  }

  captureState(): never {
    throw new Error('nobody asks');
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

async function record(target: StubTarget, options: RecorderOptions) {
  const steps: TraceStep[] = [];
  const recording = recordSteps(target, tracker, options);
  let next = await recording.next();
  for (; next.done !== true; next = await recording.next()) steps.push(next.value);
  expect(target.frozen).toBe(false);
  return { steps, end: next.value };
}

const times = (steps: readonly TraceStep[]) => steps.map(({ atMicroseconds }) => atMicroseconds / 1000);

describe('the pace of a recording', () => {
  const alone = (_scan: number, target: StubTarget) => {
    target.running = [new StubProcess(1, 0, 'a')];
  };

  it('keeps to the interval, of which a short scan is a part', async () => {
    const target = new StubTarget(alone, () => 3000);
    const { steps, end } = await record(target, {
      intervalMicroseconds: 100_000,
      durationMicroseconds: 500_000,
    });
    expect(end).toBe('duration');
    expect(times(steps)).toEqual([0, 103, 203, 303, 403, 503]);
  });

  it('tells the true times of scans that take longer than the interval, and lets the target run in between', async () => {
    const target = new StubTarget(alone, (scan) => (scan === 2 || scan === 3 ? 250_000 : 0));
    const { steps } = await record(target, {
      intervalMicroseconds: 100_000,
      durationMicroseconds: 1_000_000,
    });
    // After a scan of 250 ms the next one begins a whole interval later; lost ones are not made up for.
    expect(times(steps)).toEqual([0, 100, 450, 800, 900, 1000]);
  });

  it('makes the last interval longer rather than add a stub', async () => {
    const target = new StubTarget(alone, (scan) => (scan === 1 ? 130_000 : 0));
    const options = { intervalMicroseconds: 100_000, durationMicroseconds: 450_000 };
    expect(times((await record(target, options)).steps)).toEqual([0, 230, 330, 450]);
  });

  it('waits as long as it is told after each step', async () => {
    const waits = [100_000, 300_000, 50_000];
    const asked: number[] = [];
    const target = new StubTarget(alone);
    const { steps } = await record(target, {
      intervalMicroseconds: 1,
      nextMicroseconds: (pages) => {
        asked.push(pages);
        return waits.shift() ?? 1_000_000;
      },
      durationMicroseconds: 1_000_000,
    });
    expect(times(steps)).toEqual([0, 100, 400, 450, 1000]);
    expect(asked).toEqual([10, 10, 10, 10]);
  });
});

describe('a tree of processes in a recording', () => {
  const options = { intervalMicroseconds: 100_000, durationMicroseconds: 400_000 };

  it('tells who comes and goes, and takes a PID that is used again for another process', async () => {
    const root = new StubProcess(1, 0, 'root');
    const child = new StubProcess(2, 1, 'child');
    const another = new StubProcess(2, 1, 'another');
    const trees = [[root], [root, child], [root, child], [root, another], [root]];
    const target = new StubTarget((scan, stub) => {
      stub.running = trees[scan]!;
      for (const process of stub.running)
        process.written = PageRangeList.of({ startPage: 101, endPage: 103 });
    });
    const { steps } = await record(target, options);
    expect(steps.map(({ started }) => started.map(({ pid, parentPid }) => [pid, parentPid]))).toEqual([
      [[1, 0]],
      [[2, 1]],
      [],
      [[2, 1]],
      [],
    ]);
    expect(steps.map(({ ended }) => ended)).toEqual([[], [], [], [2], [2]]);
    const of = (pid: number, list: 'resident' | 'written') =>
      steps.map(({ processes }) => processes.find((process) => process.pid === pid)?.[list].pageCount);
    expect(of(1, 'resident')).toEqual([10, 0, 0, 0, 0]);
    expect(of(1, 'written')).toEqual([0, 2, 2, 2, 2]);
    // All that exists when it is first seen, what was written from then on; of the other one all again.
    expect(of(2, 'resident')).toEqual([undefined, 10, 0, 10, undefined]);
    expect(of(2, 'written')).toEqual([undefined, 0, 2, 0, undefined]);
  });

  it('ends with its root, and keeps what was seen before', async () => {
    const target = new StubTarget((scan, stub) => {
      stub.running = [new StubProcess(1, 0, 'a')];
      if (scan === 3) throw new TargetError('process 1 has exited', { data: { gone: true } });
    });
    const { steps, end } = await record(target, options);
    expect([steps.length, end]).toEqual([3, 'target-ended']);
  });

  it('fails where it cannot be scanned for another reason', async () => {
    const target = new StubTarget((scan, stub) => {
      stub.running = [new StubProcess(1, 0, 'a')];
      if (scan === 1) throw new TargetError('not permitted');
    });
    await expect(record(target, options)).rejects.toThrow('not permitted');
    expect(target.frozen).toBe(false);
  });
});
