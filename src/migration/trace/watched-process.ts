import { type BlockCodec, crc32, isZeroPage } from '../../codec/index.ts';
import { PageRangeList } from '../../core/index.ts';
import type { MapsEntry } from '../../procfs/index.ts';
import { decideMapping, type ProcessView, type Vma } from '../../target/index.ts';
import type { ParentPages, Tracker } from '../../tracker/index.ts';
import { emptyStep, type TraceProcessStep } from './format.ts';
import { readEachPage } from './read-pages.ts';
import { PageSampler } from './sampler.ts';

/** What was found while the process stood still. */
interface Scan {
  readonly vmas: readonly Vma[];
  readonly previous: ParentPages | undefined;
  readonly suspects: PageRangeList;
  /** Suspects that may be as they were. */
  readonly doubtful: PageRangeList;
}

/** One process during a recording: what is known of its pages, and how they are watched. */
export class WatchedProcess {
  view: ProcessView;
  readonly #tracker: Tracker;
  readonly #sampler: PageSampler;
  /** Of pages that no tracker vouches for. */
  readonly #checksums = new Map<number, number>();
  #mappings = new Map<string, MapsEntry>();
  #pages: ParentPages | undefined;
  #scan: Scan | undefined;

  constructor(view: ProcessView, tracker: Tracker, codec: BlockCodec) {
    this.view = view;
    this.#tracker = tracker;
    this.#sampler = new PageSampler(codec, view.pid);
  }

  /** Pages that existed at the last scan. */
  get residentPages(): number {
    return this.#pages?.present.pageCount ?? 0;
  }

  /** Asks the tracker and arms it anew; the process stands still. */
  scan(): void {
    const vmas = this.view.vmas();
    const previous = this.#pages;
    const { suspects, unchanged, notes } = this.#tracker.collect(this.view, vmas, previous);
    const trackerState = this.#tracker.arm(this.view, vmas);
    this.#pages = { present: suspects.union(unchanged), trackerState };
    // A tracker that has something to note names pages which nobody wrote.
    const isVague = this.#tracker.kind === 'compare' || notes.length > 0;
    const doubtful = isVague ? suspects : suspects.intersection(untrackedPages(vmas));
    this.#scan = { vmas, previous, suspects, doubtful };
  }

  /**
   * Finds out the rest while the process runs.
   * @param processes of the target, which share what is measured
   * @throws the signal's reason, TargetError if the process is gone
   */
  async look(processes: number, signal: AbortSignal | undefined): Promise<TraceProcessStep> {
    const { vmas, previous, suspects, doubtful } = this.#scan!;
    const present = this.#pages!.present;
    const step = { ...emptyStep(this.view.pid), ...this.#mappingChanges(vmas) };
    if (previous === undefined) {
      const zero = new PageRangeList();
      await readEachPage(this.view, present, signal, (page, content) => {
        if (isZeroPage(content, 0)) zero.append(page, page + 1);
        if (doubtful.has(page)) this.#checksums.set(page, crc32(content));
      });
      return {
        ...step,
        resident: present,
        zero,
        samples: this.#sampler.first(this.view, present, processes),
      };
    }
    const gone = previous.present.difference(present);
    this.#forget(gone);
    const changed = new PageRangeList();
    await readEachPage(this.view, doubtful, signal, (page, content) => {
      const checksum = crc32(content);
      if (this.#checksums.get(page) === checksum) return;
      this.#checksums.set(page, checksum);
      changed.append(page, page + 1);
    });
    const written = suspects.difference(doubtful).union(changed);
    const appeared = written.difference(previous.present);
    const samples = this.#sampler.written(this.view, written, appeared, processes);
    return { ...step, written, gone, samples };
  }

  #forget(gone: PageRangeList): void {
    this.#sampler.forget(gone);
    for (const { startPage, endPage } of gone) {
      if (this.#checksums.size === 0) break;
      for (let page = startPage; page < endPage; page++) this.#checksums.delete(page);
    }
  }

  #mappingChanges(vmas: readonly Vma[]): Pick<TraceProcessStep, 'mapped' | 'unmapped'> {
    const now = new Map(vmas.map((vma) => [keyOf(vma), vma]));
    const unmapped = [...this.#mappings]
      .filter(([key]) => !now.has(key))
      .map(([, { startPage }]) => startPage);
    const mapped = [...now].filter(([key]) => !this.#mappings.has(key)).map(([, vma]) => vma);
    this.#mappings = now;
    return { mapped, unmapped };
  }
}

/** Mappings in which trackers name every page: others may write there, too, or the kernel marks nothing. */
export function untrackedPages(vmas: readonly Vma[]): PageRangeList {
  const pages = new PageRangeList();
  for (const vma of vmas) {
    const { rule } = decideMapping(vma);
    if (rule !== 'existing' && rule !== 'copied' && rule !== 'none') pages.append(vma.startPage, vma.endPage);
  }
  return pages;
}

/** Equal for mappings that a trace does not tell apart. */
function keyOf({
  startPage,
  endPage,
  read,
  write,
  execute,
  shared,
  offsetPages,
  inode,
  pathname,
}: Vma): string {
  return [startPage, endPage, read, write, execute, shared, offsetPages, inode, pathname].join(' ');
}
