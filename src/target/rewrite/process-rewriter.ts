import { PAGE_SIZE, type PageRange, PageRangeList, TargetError } from '../../core/index.ts';
import type { LiveProcessView } from '../live-process.ts';
import type { LiveProcessState } from '../live-state-format.ts';
import type { Native } from '../native/calls.ts';
import type { Injector } from '../native/injector.ts';
import { RemoteMemory } from '../native/remote-memory.ts';
import type { TracedProcess } from '../native/trace-session.ts';
import type { Vma } from '../view.ts';
import { applyProcessState, claimThreadAreas, releaseThreadAreas, type StateSubject } from './apply-state.ts';
import { layoutDifference } from './compare-layouts.ts';
import { endThread } from './end-thread.ts';
import { executeMapping } from './execute-mappings.ts';
import type { MappingOperation } from './mapping-operations.ts';
import type { ObjectFiles } from './object-files.ts';
import { PassedFiles } from './passed-files.ts';
import { type MappingPlan, planMappings } from './plan-mappings.ts';
import { discardPages, removeGuards } from './remote-pages.ts';
import { setClearChildTid, setRobustList, setThreadRegisters } from './state-threads.ts';
import { createWorkArea, removeWorkArea, type WorkArea } from './work-area.ts';

/** A process as it is and as it is to be. */
export interface RewriteSubject {
  readonly view: LiveProcessView;
  readonly present: LiveProcessState;
  readonly wanted: LiveProcessState;
  readonly wantedMappings: readonly Vma[];
}

/** How calls into the process are made. */
export interface RewriteTools {
  readonly native: Native;
  readonly process: TracedProcess;
  /** The injector that stands on memory of the process; `settle` puts that in order again. */
  readonly ordinaryInjector: () => Injector;
  readonly settle: () => void;
  readonly openInjector: (area: WorkArea) => Injector;
  readonly objects: ObjectFiles;
}

/** Makes one process, which stands still, what it was. Nothing of it changes before `begin`. */
export class ProcessRewriter {
  readonly pid: number;
  readonly plan: MappingPlan;
  /** Mappings before anything was changed. */
  readonly before: readonly Vma[];
  readonly #subject: RewriteSubject;
  readonly #tools: RewriteTools;
  /** Pages of wanted mappings whose files are not to be had. */
  readonly #missing = new PageRangeList();
  #area: WorkArea | undefined;
  #injector: Injector | undefined;

  constructor(subject: RewriteSubject, tools: RewriteTools) {
    this.pid = subject.view.pid;
    this.#subject = subject;
    this.#tools = tools;
    subject.view.prepare();
    this.before = subject.view.vmas();
    this.plan = planMappings(this.before, subject.wantedMappings);
  }

  /** Pages that will hold what they should once they are written. */
  get attainable(): PageRangeList {
    return this.plan.kept.union(this.plan.fresh).difference(this.#missing);
  }

  get wantedMappings(): readonly Vma[] {
    return this.#subject.wantedMappings;
  }

  /**
   * Opens what is behind mappings that will be made again, and behind those that would have to be on the way back.
   * Those that cannot be opened are left out of what `remap` does.
   * @returns why, as clauses
   */
  secureObjects(): string[] {
    const places = { pid: this.pid, mappings: this.before, files: this.#subject.present.files };
    const { objects } = this.#tools;
    const problems: string[] = [];
    for (const operation of this.plan.operations) {
      if (operation.kind !== 'map') continue;
      const { vma } = operation;
      const problem = objects.secure(vma, places);
      if (problem === undefined) objects.extend(vma);
      else {
        problems.push(problem);
        this.#missing.append(operation.startPage, operation.endPage);
      }
    }
    for (const vma of this.before) {
      if (this.plan.dropped.within(vma.startPage, vma.endPage).rangeCount > 0) objects.secure(vma, places);
    }
    return problems;
  }

  /** Whether there is anything to undo. */
  get begun(): boolean {
    return this.#injector !== undefined;
  }

  /** Makes room inside the process to work from. The first change, and a harmless one. */
  begin(): void {
    const { native, ordinaryInjector, settle, openInjector } = this.#tools;
    this.#area = createWorkArea(native, ordinaryInjector(), [this.before, this.wantedMappings]);
    settle();
    this.#injector = openInjector(this.#area);
  }

  /** Undoes `begin`. */
  retreat(): void {
    this.#leave();
  }

  /** Changes the mappings. */
  remap(): void {
    const { wanted } = this.#subject;
    releaseThreadAreas(this.#state(), wanted.threads, (address) =>
      this.plan.kept.has(Number(address / BigInt(PAGE_SIZE))),
    );
    this.#execute(
      this.plan.operations.filter((operation) => operation.kind === 'move' || !this.#isMissing(operation)),
    );
  }

  /** Writes adjacent pages. */
  write(startPage: number, bytes: Uint8Array): void {
    const address = BigInt(startPage) * BigInt(PAGE_SIZE);
    try {
      this.injector.memory.write(address, bytes);
    } catch (error) {
      // A guard region that was set up since keeps everybody out.
      if (!removeGuards(this.injector, startPage, startPage + bytes.length / PAGE_SIZE)) throw error;
      this.injector.memory.write(address, bytes);
    }
  }

  /** Discards pages, which lie in mappings of `layout`. */
  discard(ranges: PageRangeList, layout: readonly Vma[]): void {
    for (const vma of layout) {
      const inside = [...ranges.within(vma.startPage, vma.endPage)];
      if (inside.length > 0) discardPages(this.injector, vma, inside);
    }
  }

  /** The mappings as they are now, without what is there for us. */
  mappings(): Vma[] {
    const area = this.#area;
    const isOurs = ({ startPage, endPage }: PageRange) =>
      area !== undefined && startPage >= area.startPage && endPage <= area.endPage;
    return this.#subject.view.vmas().filter((vma) => !isOurs(vma));
  }

  /** @throws TargetError if the mappings are not those of the checkpoint */
  verifyMappings(): void {
    const isReplaced = (vma: Vma) => this.#tools.objects.isReplaced(vma);
    // What could not be mapped is missing, and was accepted to be.
    if (this.plan.obstacles.length > 0 || this.#missing.pageCount > 0) return;
    const difference = layoutDifference(this.mappings(), this.wantedMappings, isReplaced);
    if (difference === undefined) return;
    throw new TargetError(
      `the mappings of process ${this.pid} did not become what they were: ${difference}`,
      {
        data: { pid: this.pid },
      },
    );
  }

  /** Gives the process the state that it had, memory, files and registers excepted. */
  applyState(): void {
    const { present, wanted } = this.#subject;
    applyProcessState(this.#state(), present, wanted);
    claimThreadAreas(this.#state(), wanted.threads);
  }

  /** Threads that were created since, which `finish` ends. */
  get newThreads(): number[] {
    const { present, wanted } = this.#subject;
    const then = new Set(wanted.threads.map(({ id }) => id));
    return present.threads.map(({ id }) => id).filter((id) => !then.has(id));
  }

  /** The last steps, from which there is no way back: ends new threads and gives the others their registers. */
  finish(): void {
    const { native, process } = this.#tools;
    const { wanted } = this.#subject;
    const gadgets = this.#area?.options.gadgets;
    this.injector.useThread(process.threads[0]!);
    const ending = process.threads.filter(({ tid }) => this.newThreads.includes(tid));
    if (gadgets !== undefined) for (const thread of ending) endThread(native, thread, gadgets);
    this.#leave();
    const memory = new RemoteMemory(this.pid);
    try {
      for (const state of wanted.threads) {
        const thread = process.threads.find(({ tid }) => tid === state.id);
        if (thread === undefined) continue;
        setThreadRegisters(native, thread, state, memory);
        thread.setSignalMask(BigInt(state.signalMask));
        // In place now, not only when the thread is let go: it might be without us.
        thread.writeBack();
      }
    } finally {
      memory.close();
    }
  }

  /** Undoes `remap`, as far as it came. */
  remapBack(): void {
    const back = planMappings(this.mappings(), this.before);
    this.#execute(back.operations);
    const difference = layoutDifference(this.mappings(), this.before, () => false);
    if (difference === undefined) return;
    throw new TargetError(`the mappings of process ${this.pid} could not be put back: ${difference}`, {
      data: { pid: this.pid },
    });
  }

  /** Undoes `applyState` and takes leave: the threads go on with the registers that they have. */
  applyStateBack(): void {
    const { present, wanted } = this.#subject;
    applyProcessState(this.#state(), wanted, present);
    claimThreadAreas(this.#state(), present.threads);
    for (const thread of present.threads) this.#giveBack(thread.id);
    this.#leave();
  }

  get injector(): Injector {
    if (this.#injector === undefined) throw new RangeError('the rewriting has not begun');
    return this.#injector;
  }

  /** What `remap` took from a thread that was to end. */
  #giveBack(tid: number): void {
    if (!this.newThreads.includes(tid)) return;
    const { present } = this.#subject;
    const state = present.threads.find(({ id }) => id === tid)!;
    const thread = this.#tools.process.threads.find((one) => one.tid === tid);
    if (thread === undefined) return;
    this.injector.useThread(thread);
    setRobustList(this.injector, state.robustList);
    setClearChildTid(this.injector, state.clearChildTid);
  }

  #isMissing({ startPage, endPage }: PageRange): boolean {
    return this.#missing.within(startPage, endPage).pageCount > 0;
  }

  /** Unmaps the work area; the process is as it would be without us. */
  #leave(): void {
    if (this.#area === undefined) return;
    const injector = this.injector;
    removeWorkArea(injector, this.#area);
    this.#area = undefined;
    this.#injector = undefined;
    injector.abandon();
  }

  #state(): StateSubject {
    const { native, process } = this.#tools;
    return { native, injector: this.injector, pid: this.pid, threads: process.threads };
  }

  #execute(operations: readonly MappingOperation[]): void {
    const { native, process, objects } = this.#tools;
    this.injector.useThread(process.threads[0]!);
    const files = new PassedFiles(native, this.injector, this.pid, objects);
    try {
      for (const operation of operations) executeMapping(this.injector, operation, files);
    } finally {
      files.close();
    }
  }
}
