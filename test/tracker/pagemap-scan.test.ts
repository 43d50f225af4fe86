import { beforeEach, describe, expect, it } from 'vitest';
import { IntegrityError } from '../../src/core/index.ts';
import {
  Kernel,
  MAP,
  PROT,
  type Process,
  UFFD_FEATURE,
  UFFD_REGISTER,
  Userfaultfd,
  ZERO_FRAME,
} from '../../src/kernel/index.ts';
import type { ClearLedger, ProcessView, WriteProtection } from '../../src/target/index.ts';
import { SimulatedWriteProtection } from '../../src/target/simulated-write-protection.ts';
import { type Changes, PagemapScanTracker, type ParentPages } from '../../src/tracker/index.ts';

const START = 0x10000;
const PAGES = 3000;

class Ledger implements ClearLedger {
  signature: string | undefined;
  lastSignature = () => this.signature;
  sign = (signature: string) => {
    this.signature = signature;
  };
}

let kernel: Kernel;
let subject: Process;
let ledger: Ledger;

beforeEach(() => {
  kernel = new Kernel({ version: '6.12' });
  subject = kernel.spawn({ name: 'subject' });
  ledger = new Ledger();
  subject.mmap(START, PAGES, PROT.read | PROT.write, MAP.private | MAP.anonymous | MAP.fixed);
  for (let index = 0; index < PAGES; index++) subject.store(START + index, 0, 1 + (index % 255));
});

function viewOf(process: Process, extra: Partial<ProcessView> = {}): ProcessView {
  const simulated = new SimulatedWriteProtection(kernel, () => process);
  const writeProtection: WriteProtection = {
    establish: () => simulated.establish(),
    owns: (startPage, endPage) => simulated.owns(startPage, endPage),
    register: (startPage, endPage) => simulated.register(startPage, endPage),
    lift: (startPage, endPage) => simulated.lift(startPage, endPage),
    unseenWriters: () => simulated.unseenWriters(),
    remove: () => simulated.remove(),
    ledger,
  };
  return {
    pid: process.pid,
    parentPid: 0,
    name: process.name,
    zeroFrame: ZERO_FRAME,
    vmas: () => process.vmas(),
    readPagemap: (startPage, pageCount, words) => process.readPagemapWords(startPage, pageCount, words),
    clearReferences: () => {},
    readMemory: () => 0,
    scanPagemap: (request) => {
      const answer = process.scanPagemap(request);
      if (typeof answer === 'number') throw new Error(`PAGEMAP_SCAN gave ${answer}`);
      return answer;
    },
    writeProtection,
    ...extra,
  };
}

interface Dumped {
  readonly changes: Changes;
  readonly pages: ParentPages;
}

function dump(view: ProcessView, parent?: ParentPages): Dumped {
  const tracker = new PagemapScanTracker();
  const changes = tracker.collect(view, view.vmas(), parent);
  const trackerState = tracker.arm(view, view.vmas());
  return { changes, pages: { present: changes.suspects.union(changes.unchanged), trackerState } };
}

describe('tracking by write protection', () => {
  it('names just the pages that were written', () => {
    const view = viewOf(subject);
    const base = dump(view);
    expect(base.changes.unchanged.pageCount).toBe(0);
    expect(base.changes.suspects.within(START, START + PAGES).pageCount).toBe(PAGES);
    for (const page of [3, 4, 700, 2999]) subject.store(START + page, 5, 9);
    const { changes } = dump(view, base.pages);
    expect(
      [...changes.suspects.within(START, START + PAGES)].map(({ startPage }) => startPage - START),
    ).toEqual([3, 700, 2999]);
    expect(changes.notes).toEqual([]);
    expect(changes.unchanged.within(START, START + PAGES).pageCount).toBe(PAGES - 4);
  });

  it('leaves holes alone, so that a store to one costs what it did before', () => {
    subject.mmap(START + 9000, 600, PROT.read | PROT.write, MAP.private | MAP.anonymous | MAP.fixed);
    subject.store(START + 9000, 0, 1);
    dump(viewOf(subject));
    const words = new Uint32Array(1200);
    subject.readPagemapWords(START + 9000, 600, words);
    expect([...words].filter((half, index) => index % 2 === 1 && half >>> 30 !== 0)).toHaveLength(1);
  });

  it('arms as well without a look before', () => {
    const view = viewOf(subject);
    const trackerState = new PagemapScanTracker().arm(view, view.vmas());
    const present = dump(view).changes.suspects;
    ledger.signature = undefined;
    const first = dump(view, { present, trackerState });
    expect(first.changes.notes).toEqual([
      expect.stringContaining('has lost its userfaultfd since the last checkpoint: every page is compared'),
    ]);
  });

  it.each([
    ['another chain armed', () => ledger.sign('somebody'), 'was tracked for another dump'],
    ['the descriptor was closed', () => subjectsUserfaultfd().close(), undefined],
  ])('believes nothing after %s', (_, between, note) => {
    const view = viewOf(subject);
    const base = dump(view);
    between();
    const { changes } = dump(view, base.pages);
    expect(changes.unchanged.pageCount).toBe(0);
    if (note !== undefined) expect(changes.notes).toEqual([expect.stringContaining(note)]);
  });

  it('compares memory that the program watches itself, and says which', () => {
    const own = subject.userfaultfd(UFFD_FEATURE.writeProtectAsync);
    const view = viewOf(subject);
    // Ours is the first of the process, so the program's is made after it.
    if (!(own instanceof Userfaultfd)) throw new Error(`no userfaultfd: ${own}`);
    const other = subject.userfaultfd(UFFD_FEATURE.writeProtectAsync);
    if (!(other instanceof Userfaultfd)) throw new Error(`no userfaultfd: ${other}`);
    other.register(START, 100, UFFD_REGISTER.writeProtect);
    other.writeProtect(START, 100, true);
    const base = dump(view);
    const { changes } = dump(view, base.pages);
    expect(changes.suspects.within(START, START + PAGES).pageCount).toBe(100);
    expect(changes.notes).toEqual(
      [
        'process 100 (subject) watches 0x10000000-0x10064000 with a userfaultfd of its own: compared page by page',
      ].map((text) => text.replace('100 (', `${subject.pid} (`)),
    );
  });

  it('does not arm while memory is pinned for a device, and compares at the next dump', () => {
    const view = viewOf(subject);
    const base = dump(view);
    const pinned = subject.pin(START + 10, 4);
    if (typeof pinned === 'number') throw new Error(`not pinned: ${pinned}`);
    const second = dump(view, base.pages);
    expect(second.changes.notes[0]).toContain('cannot be tracked: memory is pinned for a device');
    pinned.release();
    const third = dump(view, second.pages);
    expect(third.changes.unchanged.pageCount).toBe(0);
    expect(third.changes.notes[0]).toContain('was not tracked since the last checkpoint (memory is pinned');
    expect(dump(view, third.pages).changes.unchanged.pageCount).toBeGreaterThanOrEqual(PAGES);
  });

  it('compares where there is no write protection, or the parent came from elsewhere', () => {
    const { writeProtection: _, ...plain } = viewOf(subject);
    const base = dump(plain);
    expect(base.changes.notes[0]).toContain('its pages cannot be write-protected from outside');
    const present = base.pages.present;
    const view = viewOf(subject);
    for (const trackerState of [undefined, Uint8Array.of(77)]) {
      const { changes } = dump(view, { present, trackerState });
      expect(changes.unchanged.pageCount).toBe(0);
      expect(changes.notes).toEqual([expect.stringContaining('was not tracked by pagemap-scan before')]);
    }
    expect(() => dump(view, { present, trackerState: Uint8Array.of(1, 9) })).toThrow(IntegrityError);
  });
});

function subjectsUserfaultfd(): Userfaultfd {
  return kernel.userfaultfds()[0]!;
}
