import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE, TargetError, UnsupportedError, WorkloadError } from '../../src/core/index.ts';
import { CLEAR_REFS, formatMapsLine, PAGEMAP_HIGH, SCAN_CATEGORY } from '../../src/procfs/index.ts';
import {
  openSimulatedTarget,
  type ProcessView,
  pagemapRows,
  restoreSimulatedTarget,
} from '../../src/target/index.ts';

const TEXT = `version: 1
name: small
seed: 3
processes:
  - name: server
    regions:
      heap: { size: 1MiB, resident: 512KiB, kind: anonymous }
      shared: { size: 64KiB, resident: 16KiB, kind: shared-anonymous, content: { kind: text } }
    phases:
      - duration: 100ms
        writes:
          - { region: heap, pattern: hot-cold, hot: 0.05, probability: 0.9, rate: 10k/s, bytes: 64 }
        events:
          - { at: 20ms, do: fork, program: worker }
programs:
  worker:
    phases:
      - duration: 30ms
        writes:
          - { region: heap, pattern: uniform, rate: 1000/s, bytes: 16 }
          - { region: shared, pattern: uniform, rate: 1000/s, bytes: 16 }
`;

/** Contents of every page that pagemap shows, by page. */
function memoryOf(view: ProcessView): Map<number, string> {
  const memory = new Map<number, string>();
  const bytes = new Uint8Array(PAGE_SIZE);
  for (const row of pagemapRows(view)) {
    if (!row.present && !row.swapped) continue;
    for (let page = row.startPage; page < row.endPage; page++) {
      if (view.readMemory(page, 1, bytes) === 1) memory.set(page, Buffer.from(bytes).toString('base64'));
    }
  }
  return memory;
}

function dirtyPages(view: ProcessView): number[] {
  return pagemapRows(view).flatMap((row) =>
    row.softDirty && row.present
      ? Array.from({ length: row.endPage - row.startPage }, (_, i) => row.startPage + i)
      : [],
  );
}

describe('openSimulatedTarget()', () => {
  it('names itself by its file', () => {
    const target = openSimulatedTarget(TEXT, '/some/where/small.yaml');
    expect(target.identity).toEqual({
      kind: 'simulated',
      name: 'sim:small.yaml',
      fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(openSimulatedTarget(`${TEXT}\n`, 'small.yaml').identity.fingerprint).not.toBe(
      target.identity.fingerprint,
    );
    expect(target.abilities()).toEqual({
      softDirty: true,
      frameNumbers: true,
      kernelRelease: '6.1-simulated',
      writeProtectionProblem: 'Linux 6.1 has no PAGEMAP_SCAN (6.7 brought it)',
    });
    expect(() => openSimulatedTarget('version: 1', 'x.yaml')).toThrow(WorkloadError);
  });

  it('says what its kernel lacks', () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml', { softDirty: false, version: '6.12' });
    expect(target.abilities()).toMatchObject({ softDirty: false, kernelRelease: '6.12-simulated' });
    expect(target.abilities().softDirtyProblem).toContain('CONFIG_MEM_SOFT_DIRTY');
    const [view] = target.processes();
    view!.clearReferences(CLEAR_REFS.softDirty);
    expect(dirtyPages(view!)).toEqual([]);
  });

  it('shows the mappings as the kernel prints them', () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml');
    const [view] = target.processes();
    const lines = view!.vmas().map(formatMapsLine).join('\n');
    expect(`${lines}\n`).toBe(target.simulation.programs[0]!.process.mapsText());
    const heap = view!.vmas().find((vma) => vma.endPage - vma.startPage >= 256 && !vma.shared)!;
    expect(heap.flags).toEqual(expect.arrayContaining(['rd', 'wr', 'sd']));
  });

  it('tracks writes by clear_refs and pagemap, exactly', async () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml');
    const [view] = target.processes();
    await target.run(5000);
    view!.clearReferences(CLEAR_REFS.softDirty);
    const before = memoryOf(view!);
    expect(dirtyPages(view!)).toEqual([]);
    await target.run(5000);
    const after = memoryOf(view!);
    const changed = [...after.keys()].filter((page) => after.get(page) !== before.get(page));
    expect(changed.length).toBeGreaterThan(5);
    expect(dirtyPages(view!)).toEqual(changed);
  });

  it('has PAGEMAP_SCAN where the kernel has it', async () => {
    expect(openSimulatedTarget(TEXT, 'small.yaml').processes()[0]!.scanPagemap).toBeUndefined();
    const target = openSimulatedTarget(TEXT, 'small.yaml', { version: '6.12' });
    const [view] = target.processes();
    view!.clearReferences(CLEAR_REFS.softDirty);
    await target.run(5000);
    const answer = view!.scanPagemap!({
      startPage: 0,
      endPage: 0x7ffffffff,
      flags: 0,
      maximumRegions: 1000,
      maximumPages: 0,
      categoryInverted: 0,
      categoryMask: SCAN_CATEGORY.softDirty | SCAN_CATEGORY.present,
      categoryAnyOfMask: 0,
      returnMask: SCAN_CATEGORY.softDirty,
    });
    const pages = answer.regions.flatMap((region) =>
      Array.from({ length: region.endPage - region.startPage }, (_, index) => region.startPage + index),
    );
    expect(pages).toEqual(dirtyPages(view!));
    expect(pages.length).toBeGreaterThan(5);
  });

  it('lists processes as they come and go', async () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml');
    expect(target.processes().map((view) => view.name)).toEqual(['server']);
    await target.run(25_000);
    const [server, worker] = target.processes();
    expect([server!.name, worker!.name]).toEqual(['server', 'worker']);
    expect(worker!.parentPid).toBe(server!.pid);
    expect(server!.parentPid).toBe(0);
    expect(target.processes()[0]).toBe(server);
    await target.run(40_000);
    expect(target.processes()).toEqual([server]);
    expect(() => worker!.vmas()).toThrow(TargetError);
    expect(() => worker!.readMemory(0, 1, new Uint8Array(PAGE_SIZE))).toThrow(TargetError);
  });

  it('reads memory up to the first page that cannot be read', () => {
    const [view] = openSimulatedTarget(TEXT, 'small.yaml').processes();
    const stretches = view!.vmas().filter((vma) => vma.read);
    const last = stretches.find((vma, index) => stretches[index + 1]?.startPage !== vma.endPage)!;
    const into = new Uint8Array(4 * PAGE_SIZE);
    expect(view!.readMemory(last.endPage - 2, 4, into)).toBe(2);
    expect(view!.readMemory(last.endPage, 1, into)).toBe(0);
  });

  it('knows what shared memory holds, though this process has touched none of it', async () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml');
    await target.run(20_001);
    const worker = target.processes()[1]!;
    const shared = worker.vmas().find((vma) => vma.shared)!;
    expect(pagemapRows(worker, [shared]).some((row) => row.present)).toBe(false);
    expect(worker.populatedPages!(shared)).toEqual([
      { startPage: shared.startPage, endPage: shared.startPage + 4 },
    ]);
    expect(worker.populatedPages!(worker.vmas()[0]!)).toBeUndefined();
  });

  it('refuses what clear_refs refuses', () => {
    const [view] = openSimulatedTarget(TEXT, 'small.yaml').processes();
    expect(() => view!.clearReferences(6)).toThrow(UnsupportedError);
    expect(() => view!.clearReferences(CLEAR_REFS.resetPeakResident)).not.toThrow();
  });

  it('stands still while it is frozen, and lets itself be interrupted', async () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml');
    await target.freeze();
    expect(target.frozen).toBe(true);
    await expect(target.run(1000)).rejects.toThrow(TargetError);
    target.thaw();
    target.thaw();
    await target.run(1000);
    expect(target.nowMicroseconds()).toBe(1000);
    const controller = new AbortController();
    const long = target.run(3600e6, controller.signal);
    controller.abort(new Error('enough'));
    await expect(long).rejects.toThrow('enough');
    expect(target.nowMicroseconds()).toBeLessThan(3600e6);
    await target.close();
    await expect(target.run(1)).rejects.toThrow('is closed');
  });
});

describe('restoreSimulatedTarget()', () => {
  it('goes on as if it had never stopped', async () => {
    const uncut = openSimulatedTarget(TEXT, 'small.yaml');
    await uncut.run(60_000);
    let cut = openSimulatedTarget(TEXT, 'small.yaml');
    for (let step = 0; step < 6; step++) {
      await cut.run(10_000);
      const state = cut.captureState();
      cut = restoreSimulatedTarget({ ...state, bytes: state.bytes.slice() });
    }
    expect(cut.nowMicroseconds()).toBe(60_000);
    expect(cut.captureState().summary).toEqual(uncut.captureState().summary);
    expect(Buffer.compare(cut.captureState().bytes, uncut.captureState().bytes)).toBe(0);
    const views = cut.processes();
    for (const [index, view] of uncut.processes().entries()) {
      expect(pagemapRows(views[index]!)).toEqual(pagemapRows(view));
      expect(memoryOf(views[index]!)).toEqual(memoryOf(view));
    }
  });

  it('goes on after more memory was freed than a call can have arguments', async () => {
    const text = TEXT.replace('size: 1MiB, resident: 512KiB', 'size: 640MiB, resident: 640MiB').replace(
      '{ at: 20ms, do: fork, program: worker }',
      '{ at: 20ms, do: madvise, advice: dontneed, region: heap }',
    );
    const target = openSimulatedTarget(text, 'large.yaml');
    await target.run(30_000);
    const { bytes } = restoreSimulatedTarget(target.captureState()).captureState();
    expect(Buffer.compare(bytes, target.captureState().bytes)).toBe(0);
  });

  it('keeps the kernel that the target was opened with', () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml', { version: '6.18', softDirty: false });
    const restored = restoreSimulatedTarget(target.captureState());
    expect(restored.abilities()).toEqual(target.abilities());
  });

  it('summarises for people', async () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml');
    await target.run(30_000);
    expect(target.captureState().summary).toMatchObject({
      workload: 'small',
      virtualMicroseconds: 30_000,
      processes: [
        { name: 'server', phase: 0, writes: 300 },
        { name: 'worker', writes: 20 },
      ],
    });
  });

  it('refuses a state that is not its own', () => {
    const state = openSimulatedTarget(TEXT, 'small.yaml').captureState();
    expect(() => restoreSimulatedTarget({ ...state, format: 'live-1' })).toThrow(TargetError);
  });

  it('captures tens of megabytes in a moment', async () => {
    const text = readFileSync(resolve(import.meta.dirname, '../../fixtures/kv-store.yaml'), 'utf8');
    const target = openSimulatedTarget(text, 'kv-store.yaml');
    await target.run(100_000);
    let fastest = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < 8; attempt++) {
      const started = performance.now();
      target.captureState();
      fastest = Math.min(fastest, performance.now() - started);
    }
    // Some 27,000 resident pages take three milliseconds; the bound leaves room for a busy machine.
    expect(fastest).toBeLessThan(50);
    expect(target.captureState().bytes.length).toBeLessThan(4 * 2 ** 20);
  });
});

describe('pagemapRows()', () => {
  it('joins equal neighbours and leaves holes out', async () => {
    const target = openSimulatedTarget(TEXT, 'small.yaml');
    const [view] = target.processes();
    const rows = pagemapRows(view!);
    const words = new Uint32Array(2);
    for (const row of rows) {
      for (const page of [row.startPage, row.endPage - 1]) {
        view!.readPagemap(page, 1, words);
        expect((words[1]! & PAGEMAP_HIGH.present) !== 0).toBe(row.present);
        expect((words[1]! & PAGEMAP_HIGH.softDirty) !== 0).toBe(row.softDirty);
        expect((words[1]! & PAGEMAP_HIGH.file) !== 0).toBe(row.file);
      }
    }
    const present = rows
      .filter((row) => row.present)
      .reduce((sum, row) => sum + row.endPage - row.startPage, 0);
    expect(present).toBe(target.simulation.programs[0]!.process.residentPages());
  });
});
