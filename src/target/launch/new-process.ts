import { PAGE_SIZE, TargetError } from '../../core/index.ts';
import { type MapsEntry, parseMaps } from '../../procfs/index.ts';
import { readProcText } from '../live-files.ts';
import type { Native } from '../native/calls.ts';
import { RemoteMemory } from '../native/remote-memory.ts';
import { hasErrno } from '../native/tracee.ts';
import { isFixedSpecial, isMovableSpecial } from '../rewrite/mapping-kinds.ts';
import { unregisterRseq } from '../rewrite/state-threads.ts';
import { words } from '../rewrite/words.ts';
import { RemoteThread, type Workspace, waitStopped } from './remote-thread.ts';

const SIGCHLD = 17n;
/** CLONE_* (include/uapi/linux/sched.h). */
const CLONE_PARENT = 0x8000n;
const CLONE_CLEAR_SIGNAL_HANDLERS = 0x1_0000_0000n;
/** CLONE_VM, _FS, _FILES, _SIGHAND, _THREAD, _SYSVSEM: what threads share. */
const CLONE_THREAD = 0x100n | 0x200n | 0x400n | 0x800n | 0x10000n | 0x40000n;
const CLONE_ARGUMENTS_BYTES = 88;

/** A process that is being made. Its leader comes first among its threads. */
export class NewProcess {
  readonly pid: number;
  readonly memory: RemoteMemory;
  readonly threads: RemoteThread[] = [];
  readonly #native: Native;
  readonly #workspace: Workspace;

  private constructor(native: Native, pid: number, workspace: Workspace) {
    this.#native = native;
    this.pid = pid;
    this.#workspace = workspace;
    this.memory = new RemoteMemory(pid);
    this.threads.push(new RemoteThread(native, pid, pid, this.memory, workspace));
  }

  get leader(): RemoteThread {
    return this.threads[0]!;
  }

  /**
   * Forks a process.
   * @param asSibling whether it becomes a child of the parent's parent
   * @throws SystemCallError (EEXIST if the PID is taken)
   */
  static fork(
    native: Native,
    parent: RemoteThread,
    pid: number,
    workspace: Workspace,
    asSibling = false,
  ): NewProcess {
    const flags = CLONE_CLEAR_SIGNAL_HANDLERS | (asSibling ? CLONE_PARENT : 0n);
    clone(native, parent, pid, flags, asSibling ? 0n : SIGCHLD);
    return new NewProcess(native, pid, workspace);
  }

  /** Makes a further thread. */
  addThread(tid: number): RemoteThread {
    clone(this.#native, this.leader, tid, CLONE_THREAD, 0n);
    const thread = new RemoteThread(this.#native, this.pid, tid, this.memory, this.#workspace);
    this.threads.push(thread);
    return thread;
  }

  /** The mappings of the process, the workspace left out. */
  mappings(): MapsEntry[] {
    const [start, end] = this.#workspacePages();
    return parseMaps(readProcText(this.pid, 'maps')).filter(
      ({ startPage, endPage }) => endPage <= start || startPage >= end,
    );
  }

  /** Gives up all memory of the launcher; what is left is the kernel's own and the workspace. */
  clear(): void {
    unregisterRseq(this.leader, this.#native.rseqConfiguration(this.pid));
    for (const mapping of this.mappings()) {
      const vma = { ...mapping, flags: [] };
      if (isMovableSpecial(vma) || isFixedSpecial(vma)) continue;
      const bytes = (mapping.endPage - mapping.startPage) * PAGE_SIZE;
      this.leader.call('munmap', mapping.startPage * PAGE_SIZE, bytes);
    }
  }

  /** Gives up the workspace: no call can be made any more. */
  removeWorkspace(): void {
    const [start, end] = this.#workspacePages();
    this.leader.call('munmap', start * PAGE_SIZE, (end - start) * PAGE_SIZE);
  }

  /** Ends the process, and waits until it has. */
  kill(): void {
    try {
      process.kill(this.pid, 'SIGKILL');
    } catch {
      // It is dead already; it has yet to be waited for.
    }
    for (const { tid } of [...this.threads].reverse()) awaitEnd(this.#native, tid);
    this.memory.close();
  }

  #workspacePages(): [number, number] {
    const { instruction, scratchAddress, scratchBytes } = this.#workspace;
    return [Number(instruction) / PAGE_SIZE, (Number(scratchAddress) + scratchBytes) / PAGE_SIZE];
  }
}

/** clone3 with a chosen id; the new thread is traced from its beginning and stands still. */
function clone(native: Native, parent: RemoteThread, id: number, flags: bigint, exitSignal: bigint): void {
  const idAddress = parent.writeScratch(new Uint8Array(Int32Array.of(id).buffer), CLONE_ARGUMENTS_BYTES);
  // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
  // set_tid_size, cgroup
  const address = parent.writeScratch(words(flags, 0, 0, 0, exitSignal, 0, 0, 0, idAddress, 1, 0));
  try {
    parent.call('clone3', address, CLONE_ARGUMENTS_BYTES);
  } catch (cause) {
    if (!hasErrno(cause, 'EEXIST')) throw cause;
    throw new TargetError(`the id ${id} is taken: a process, a process group or a session has it`, {
      hint: 'try again when it is free, or where all are: unshare --pid --fork --mount-proc ckpt restore ... --new',
      data: { pid: id },
      cause,
    });
  }
  waitStopped(native, parent.pid, id);
}

function awaitEnd(native: Native, tid: number): void {
  try {
    while (native.wait(tid, true)?.kind === 'stopped');
  } catch (error) {
    if (!hasErrno(error, 'ECHILD')) throw error;
  }
}
