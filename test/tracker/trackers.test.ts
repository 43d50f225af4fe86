import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type PageRange, PageRangeList, UnsupportedError } from '../../src/core/index.ts';
import type { ClearLedger, Target, TrackingAbilities, Vma } from '../../src/target/index.ts';
import { type Changes, chooseTracker, compareTracker, SoftDirtyTracker } from '../../src/tracker/index.ts';
import { FakeProcess, vma } from './fake-process.ts';

const ZERO_FRAME = 3;
const FILE = { inode: 9, pathname: '/lib/x.so' };
const SHARED = { shared: true, inode: 9, pathname: '/dev/zero (deleted)' };

const pages = (list: PageRangeList) =>
  [...list].flatMap(({ startPage, endPage }: PageRange) =>
    Array.from({ length: endPage - startPage }, (_, index) => startPage + index),
  );

/** Arms on `process`, changes it, and collects against a parent that holds `parentPages` (default: all mappings). */
function period(
  process: FakeProcess,
  change: () => void,
  parentPages?: PageRangeList,
  atArm?: Vma[],
): Changes {
  const tracker = new SoftDirtyTracker();
  const before = atArm ?? process.vmas();
  tracker.collect(process, before, undefined);
  const trackerState = tracker.arm(process, before);
  const present = parentPages ?? PageRangeList.of(...before);
  change();
  return new SoftDirtyTracker().collect(process, process.vmas(), { present, trackerState });
}

describe('compare', () => {
  it('names every page that exists, holes and file pages left out', () => {
    const process = new FakeProcess(ZERO_FRAME);
    process.setVmas(vma(0, 10), vma(600, 610, FILE), vma(2000, 2004, SHARED));
    process.set(1, 'PX');
    process.set(2, 'PXD');
    process.set(3, 'P', ZERO_FRAME);
    process.set(4, 'W', 64);
    process.set(5, 'WG', 31);
    process.set(6, 'PF');
    process.set(601, 'PFX');
    process.set(602, 'PX');
    process.set(2001, 'PFX');
    const changes = compareTracker.collect(process, process.vmas(), undefined);
    expect(pages(changes.suspects)).toEqual([1, 2, 4, 602, 2001]);
    expect(changes.unchanged.pageCount).toBe(0);
    expect(changes.scannedPages).toBe(24);
    expect(changes.doubts).toEqual([expect.stringContaining('shared memory 0x7d0000-0x7d4000')]);
    expect(compareTracker.arm(process, process.vmas())).toHaveLength(0);
    expect(process.cleared).toBe(0);
  });

  it('takes the page of zeros for a page where frame numbers are hidden', () => {
    const process = new FakeProcess();
    process.setVmas(vma(0, 10));
    process.set(3, 'P', 0);
    expect(pages(compareTracker.collect(process, process.vmas(), undefined).suspects)).toEqual([3]);
  });

  it('takes every page of the vDSO, what objects hold, and nothing that is excluded', () => {
    const process = new (class extends FakeProcess {
      populatedPages = () => [{ startPage: 11, endPage: 13 }];
    })(ZERO_FRAME);
    process.setVmas(
      vma(0, 2, { pathname: '[vdso]' }),
      vma(3, 5, { pathname: '[vvar]' }),
      vma(10, 20, SHARED),
    );
    process.set(4, 'PX');
    process.set(11, 'PF');
    process.set(15, 'PF');
    const { suspects, doubts } = compareTracker.collect(process, process.vmas(), undefined);
    expect(pages(suspects)).toEqual([0, 1, 11, 12, 15]);
    expect(doubts).toEqual([]);
  });

  it('reads neighbouring blocks together and empty stretches between mappings not at all', () => {
    const process = new FakeProcess(ZERO_FRAME);
    process.setVmas(vma(512, 515), vma(600, 700), vma(1030, 1500), vma(100_000, 170_000));
    compareTracker.collect(process, process.vmas(), undefined);
    expect(process.pagemapReads).toBe(1 + Math.ceil((70_000 + 512) / 32_768));
  });

  it('names exactly the pages that exist, however mappings lie', () => {
    const layout = fc.array(fc.record({ gap: fc.nat(700), length: fc.integer({ min: 1, max: 1500 }) }), {
      maxLength: 8,
    });
    fc.assert(
      fc.property(layout, fc.array(fc.nat(12_000), { maxLength: 40 }), (gaps, present) => {
        const process = new FakeProcess(ZERO_FRAME);
        let page = 0;
        const vmas = gaps.map(({ gap, length }) => {
          const startPage = page + gap;
          page = startPage + length;
          return vma(startPage, page);
        });
        process.setVmas(...vmas);
        for (const at of present) process.set(at, 'PX');
        const inside = present.filter((at) => vmas.some((v) => v.startPage <= at && at < v.endPage));
        const { suspects, scannedPages } = compareTracker.collect(process, vmas, undefined);
        expect(pages(suspects)).toEqual([...new Set(inside)].sort((a, b) => a - b));
        expect(scannedPages).toBe(vmas.reduce((sum, v) => sum + v.endPage - v.startPage, 0));
      }),
    );
  });
});

describe('soft-dirty', () => {
  function populated(count = 8): FakeProcess {
    const process = new FakeProcess(ZERO_FRAME);
    process.setVmas(vma(0, 512));
    for (let page = 0; page < count; page++) process.set(page, 'PXD');
    return process;
  }

  it('names what exists for a base, and clears when it arms', () => {
    const process = populated();
    const tracker = new SoftDirtyTracker();
    expect(tracker.collect(process, process.vmas(), undefined).suspects.pageCount).toBe(8);
    expect(process.cleared).toBe(0);
    tracker.arm(process, process.vmas());
    expect(process.cleared).toBe(1);
  });

  it('names the pages written since, and proves the others unchanged', () => {
    const process = populated();
    const changes = period(process, () => {
      process.set(2, 'PXD');
      process.set(9, 'PXD');
      process.set(5, '');
    });
    expect(pages(changes.suspects)).toEqual([2, 9]);
    expect(pages(changes.unchanged)).toEqual([0, 1, 3, 4, 6, 7]);
    expect(changes.notes).toEqual([]);
  });

  it('arms as well without a scan before', () => {
    const process = populated();
    const trackerState = new SoftDirtyTracker().arm(process, process.vmas());
    const parent = { present: PageRangeList.of({ startPage: 0, endPage: 512 }), trackerState };
    expect(new SoftDirtyTracker().collect(process, process.vmas(), parent).unchanged.pageCount).toBe(8);
  });

  it('suspects clean pages that the parent does not hold', () => {
    const process = populated();
    const parent = PageRangeList.of({ startPage: 1, endPage: 3 }, { startPage: 5, endPage: 6 });
    const changes = period(process, () => {}, parent);
    expect(pages(changes.unchanged)).toEqual([1, 2, 5]);
    expect(pages(changes.suspects)).toEqual([0, 3, 4, 6, 7]);
  });

  it('believes no clean page of a page table that none of the remembered pages is in', () => {
    const process = populated();
    const changes = period(process, () => {
      for (let page = 0; page < 8; page++) process.set(page, 'PX', 5000 + page);
    });
    expect(changes.unchanged.pageCount).toBe(0);
    expect(changes.suspects.pageCount).toBe(8);
  });

  it('believes a page table as long as one remembered page stands untouched', () => {
    const process = new FakeProcess(ZERO_FRAME);
    process.setVmas(vma(0, 512));
    for (let page = 0; page < 512; page += 8) process.set(page, 'PXD');
    const changes = period(process, () => {
      for (let page = 0; page < 384; page += 8) process.set(page, 'PXD');
    });
    expect(changes.unchanged.pageCount).toBe(16);
    expect(changes.suspects.pageCount).toBe(48);
  });

  it('takes a page of zeros for a hole, even a clean one where data was', () => {
    const process = populated();
    const changes = period(process, () => process.set(4, 'P', ZERO_FRAME));
    expect(changes.suspects.has(4) || changes.unchanged.has(4)).toBe(false);
    expect(changes.unchanged.pageCount).toBe(7);
  });

  it('suspects shared frames where the page of zeros is not known', () => {
    const process = new FakeProcess();
    process.setVmas(vma(0, 512));
    process.set(0, 'PXD');
    process.set(1, 'PD', 77);
    const changes = period(process, () => {});
    expect(pages(changes.unchanged)).toEqual([0]);
    expect(pages(changes.suspects)).toEqual([1]);
  });

  it('believes pages shared by fork', () => {
    const process = populated();
    const changes = period(process, () => {
      for (let page = 0; page < 8; page++) process.set(page, 'P');
    });
    expect(changes.unchanged.pageCount).toBe(8);
  });

  it('keeps swapped pages that are clean, and suspects markers in their place', () => {
    const process = populated();
    const changes = period(process, () => {
      process.set(1, 'W', 64);
      process.set(2, 'WD', 64);
      process.set(3, 'WU', 64);
      process.set(4, 'W', 31);
      process.set(5, 'WG', 31);
    });
    expect(pages(changes.unchanged)).toEqual([0, 1, 6, 7]);
    expect(pages(changes.suspects)).toEqual([2, 3, 4]);
  });

  it.each([
    ['at both ends', ['mg'], ['mg']],
    ['when armed', ['mg'], []],
    ['now', [], ['mg']],
  ])('believes nothing in memory that was mergeable %s', (_, before, after) => {
    const process = populated();
    const atArm = [vma(0, 512, { flags: before })];
    process.setVmas(vma(0, 512, { flags: after }));
    expect(period(process, () => {}, undefined, atArm).unchanged.pageCount).toBe(0);
  });

  it('believes nothing of shared memory and of hugetlb', () => {
    const process = new FakeProcess(ZERO_FRAME);
    process.setVmas(vma(0, 8, SHARED), vma(512, 1024, { flags: ['ht'], inode: 3, pathname: '/mnt/huge/x' }));
    process.set(1, 'PFX');
    process.set(512, 'PX');
    process.set(513, 'PFX');
    const changes = period(process, () => {});
    expect(pages(changes.suspects)).toEqual([1, 512, 513]);
  });

  it('compares everything after a dump by another tracker, of another version, or with the bits cleared meanwhile', () => {
    const process = populated();
    const present = PageRangeList.of({ startPage: 0, endPage: 512 });
    const collect = (trackerState: Uint8Array | undefined) =>
      new SoftDirtyTracker().collect(process, process.vmas(), { present, trackerState });
    expect(collect(undefined).notes[0]).toMatch(/was not tracked by soft-dirty before/);
    expect(collect(Uint8Array.of(200)).unchanged.pageCount).toBe(0);

    let signature: string | undefined;
    const ledger: ClearLedger = {
      lastSignature: () => signature,
      sign(text) {
        signature = text;
      },
    };
    process.clearLedger = ledger;
    const first = new SoftDirtyTracker().arm(process, process.vmas());
    expect(collect(first).unchanged.pageCount).toBe(8);
    // A second dump cleared the bits, and then failed: its checkpoint is not the parent of the next.
    process.set(3, 'PXD');
    const second = new SoftDirtyTracker().arm(process, process.vmas());
    expect(pages(collect(first).suspects)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(collect(first).notes[0]).toMatch(/cleared by another dump/);
    expect(collect(second).unchanged.pageCount).toBe(8);
    signature = undefined;
    expect(collect(second).unchanged.pageCount).toBe(0);
  });

  it('reports damaged notes as damage', () => {
    const process = populated();
    const trackerState = new SoftDirtyTracker().arm(process, process.vmas());
    const parent = {
      present: new PageRangeList(),
      trackerState: trackerState.subarray(0, trackerState.length - 1),
    };
    expect(() => new SoftDirtyTracker().collect(process, process.vmas(), parent)).toThrow(
      /soft-dirty state.*damaged/,
    );
  });

  it('needs few bytes for its notes', () => {
    const process = new FakeProcess(ZERO_FRAME);
    process.setVmas(vma(0, 51_200));
    for (let page = 0; page < 51_200; page++) process.set(page, 'PXD', 0x100000 + page);
    expect(new SoftDirtyTracker().arm(process, process.vmas()).length).toBeLessThan(100 * 28);
  });
});

describe('the choice of a tracker', () => {
  function target(abilities: Partial<TrackingAbilities>): Target {
    const all = {
      softDirty: true,
      frameNumbers: true,
      kernelRelease: '6.1.0',
      writeProtectionProblem: 'it is too old',
      ...abilities,
    };
    return { identity: { name: '7 (x)' }, abilities: () => all } as unknown as Target;
  }

  it('takes soft-dirty where it works and says why', () => {
    const { tracker, reason } = chooseTracker(target({}), 'auto');
    expect(tracker.kind).toBe('soft-dirty');
    expect(reason).toBe('soft-dirty: Linux 6.1.0 marks written pages; no pagemap-scan, since it is too old');
    expect(chooseTracker(target({}), 'soft-dirty').tracker.kind).toBe('soft-dirty');
    expect(chooseTracker(target({}), 'soft-dirty').reason).toBe('soft-dirty: as asked');
    expect(chooseTracker(target({}), 'compare').tracker).toBe(compareTracker);
  });

  it('prefers pagemap-scan, and refuses it on request where there is none', () => {
    const capable = target({ writeProtectionProblem: undefined });
    expect(chooseTracker(capable, 'auto').tracker.kind).toBe('pagemap-scan');
    expect(chooseTracker(capable, 'pagemap-scan').tracker.kind).toBe('pagemap-scan');
    expect(chooseTracker(capable, 'soft-dirty').tracker.kind).toBe('soft-dirty');
    const inVain = target({ writeProtectionProblem: undefined, writeProtectionObstacle: 'it uses io_uring' });
    expect(chooseTracker(inVain, 'auto')).toMatchObject({
      tracker: { kind: 'soft-dirty' },
      reason: expect.stringContaining('no pagemap-scan, since it uses io_uring'),
    });
    expect(chooseTracker(inVain, 'pagemap-scan').tracker.kind).toBe('pagemap-scan');
    expect(() => chooseTracker(target({}), 'pagemap-scan')).toThrow(UnsupportedError);
    expect(() => chooseTracker(target({}), 'pagemap-scan')).toThrow('it is too old');
  });

  it.each([
    [{ softDirty: false, softDirtyProblem: 'no marks here' }, 'no marks here'],
    [{ frameNumbers: false }, 'frame numbers are hidden'],
  ])('falls back to compare, and refuses soft-dirty on request: %j', (abilities, why) => {
    const { tracker, reason } = chooseTracker(target(abilities), 'auto');
    expect(tracker.kind).toBe('compare');
    expect(reason).toContain(why);
    expect(() => chooseTracker(target(abilities), 'soft-dirty')).toThrow(UnsupportedError);
    expect(() => chooseTracker(target(abilities), 'soft-dirty')).toThrow(why);
  });
});
