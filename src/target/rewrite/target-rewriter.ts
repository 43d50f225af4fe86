import { TargetError } from '../../core/index.ts';
import type { LiveTarget } from '../live.ts';
import type { LiveState } from '../live-state-format.ts';
import { descriptorLinks, recordNumbers } from '../tracking-record.ts';
import type { Vma } from '../view.ts';
import { applyFiles } from './apply-files.ts';
import { ObjectFiles } from './object-files.ts';
import type { RewriteObstacle } from './obstacle.ts';
import { type FileOperation, type FilePlan, planFiles } from './plan-files.ts';
import { findStateObstacles } from './plan-state.ts';
import { ProcessRewriter } from './process-rewriter.ts';
import { readSocketStates } from './socket-states.ts';
import { canSetMemoryLayout } from './state-process.ts';

/** What a target is to become. */
export interface RewriteGoal {
  readonly state: LiveState;
  /** Mappings by PID. */
  readonly mappings: ReadonlyMap<number, readonly Vma[]>;
}

/**
 * Makes the processes of a target what they were. It is frozen by `halt` before this is made, and until `begin` only
 * looked at. Memory is written by whoever knows it, between `begin` and `finish`.
 */
export class TargetRewriter {
  /** Processes that are in both, in the order of the goal. */
  readonly processes: readonly ProcessRewriter[];
  readonly obstacles: readonly RewriteObstacle[];
  readonly #target: LiveTarget;
  readonly #objects: ObjectFiles;
  readonly #files: FilePlan;
  /** The way back. */
  readonly #filesBack: FilePlan;
  readonly #present: LiveState;
  readonly #done: FileOperation[] = [];

  /**
   * Looks at everything and plans.
   * @param present the state now, captured in this freeze
   * @throws TargetError if the target is not held by ptrace
   */
  constructor(target: LiveTarget, present: LiveState, goal: RewriteGoal) {
    const { hold } = target;
    if (hold === undefined) {
      throw new TargetError(`${target.identity.name} is not held by ptrace, and cannot be changed`);
    }
    this.#target = target;
    this.#present = present;
    this.#objects = new ObjectFiles(hold.native);
    const obstacles = findStateObstacles(present, goal.state);
    this.processes = this.#openProcesses(goal);
    const sockets = readSocketStates(present.processes);
    this.#files = planFiles(present.processes, goal.state.processes, sockets);
    this.#filesBack = planFiles(goal.state.processes, present.processes, sockets);
    obstacles.push(...this.#files.obstacles);
    for (const process of this.processes) {
      obstacles.push(...this.#mappingObstacles(process), ...this.#layoutObstacles(process, goal.state));
    }
    this.obstacles = obstacles;
  }

  /** Whether a tracker of ckpt has left something in the process, so that asking it makes nothing new there. */
  isTracked(pid: number): boolean {
    return recordNumbers(descriptorLinks(pid)).length > 0;
  }

  /** Makes room inside the processes to work from: harmless, and after `retreat` as if it had not been. */
  begin(): void {
    for (const process of this.processes) process.begin();
  }

  /** Undoes `begin`, as far as it came. */
  retreat(): void {
    for (const process of this.#begun) process.retreat();
  }

  /** Sets everything but memory and registers. Descriptors that were opened since are closed. */
  applyState(): void {
    this.#applyFiles(this.#files.operations.filter(({ kind }) => kind !== 'close'));
    for (const process of this.processes) process.applyState();
    for (const process of this.processes) process.verifyMappings();
    this.#applyFiles(this.#files.operations.filter(({ kind }) => kind === 'close'));
  }

  /** The last steps: see `ProcessRewriter.finish`. */
  finish(): void {
    for (const process of this.processes) process.finish();
    this.close();
  }

  /** Puts everything but memory back after a failure: mappings first, then, when memory is written, `undoState`. */
  undoMappings(): void {
    for (const process of this.#begun) process.remapBack();
  }

  undoState(): void {
    const done = new Set(this.#done.splice(0).map(subjectOf));
    const back = this.#filesBack.operations.filter(
      (operation) => operation.kind !== 'close' && done.has(subjectOf(operation)),
    );
    applyFiles(this.#native, back, (pid) => this.#injectorOf(pid));
    for (const process of this.#begun) process.applyStateBack();
    this.close();
  }

  get #begun(): ProcessRewriter[] {
    return this.processes.filter(({ begun }) => begun);
  }

  /** Lets go of the files that are open for it. */
  close(): void {
    this.#objects.close();
  }

  #applyFiles(operations: readonly FileOperation[]): void {
    for (const operation of operations) {
      this.#done.push(operation);
      applyFiles(this.#native, [operation], (pid) => this.#injectorOf(pid));
    }
  }

  #injectorOf(pid: number) {
    const process = this.processes.find((one) => one.pid === pid);
    if (process === undefined) throw new RangeError(`process ${pid} is not rewritten`);
    return process.injector;
  }

  get #native() {
    return this.#target.hold!.native;
  }

  #openProcesses(goal: RewriteGoal): ProcessRewriter[] {
    const { native, session } = this.#target.hold!;
    const rewriters: ProcessRewriter[] = [];
    for (const wanted of goal.state.processes) {
      const { pid } = wanted;
      const view = this.#target.processes().find((one) => one.pid === pid);
      const present = this.#present.processes.find((one) => one.pid === pid);
      const wantedMappings = goal.mappings.get(pid);
      if (view === undefined || present === undefined || wantedMappings === undefined) continue;
      rewriters.push(
        new ProcessRewriter(
          { view, present, wanted, wantedMappings },
          {
            native,
            process: session.process(pid),
            ordinaryInjector: () => this.#target.hold!.injector(pid),
            settle: () => this.#target.hold!.settle(pid),
            openInjector: (area) => session.injector(pid, area.options),
            objects: this.#objects,
          },
        ),
      );
    }
    return rewriters;
  }

  #mappingObstacles(process: ProcessRewriter): RewriteObstacle[] {
    const { pid } = process;
    const missing = process.plan.obstacles.map(({ problem }) => problem);
    const problems = new Set([...missing, ...process.secureObjects()]);
    return [...problems].map((problem) => ({ pid, problem, otherwise: 'the program finds nothing there' }));
  }

  #layoutObstacles({ pid }: ProcessRewriter, goal: LiveState): RewriteObstacle[] {
    const brkOf = ({ processes }: LiveState) => processes.find((one) => one.pid === pid)?.layout.brk;
    if (brkOf(this.#present) === brkOf(goal)) return [];
    const { hold } = this.#target;
    if (hold === undefined || canSetMemoryLayout(hold.injector(pid))) return [];
    const problem = 'the end of its heap cannot be set (the kernel lacks CONFIG_CHECKPOINT_RESTORE)';
    return [{ pid, problem, otherwise: null }];
  }
}

/** What tells an operation from others of its kind. */
function subjectOf(operation: FileOperation): string {
  const { pid, descriptor } = operation.kind === 'refill' ? operation.reader : operation;
  const watched = operation.kind === 'watch' ? operation.watch.descriptor : '';
  return `${operation.kind} ${pid} ${descriptor} ${watched}`;
}
