import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { PAGE_SIZE, type PageRange, UnsupportedError } from '../../core/index.ts';
import { parseMaps } from '../../procfs/index.ts';
import { readProcText } from '../live-files.ts';
import type { Native } from '../native/calls.ts';
import { findGadgets } from '../native/gadgets.ts';
import { RemoteMemory } from '../native/remote-memory.ts';
import { findGap } from '../rewrite/plan-moves.ts';
import { LAUNCH_TRACE_OPTIONS, RemoteThread, type Workspace, waitStopped } from './remote-thread.ts';

/** Where ckpt's own standard streams are in the launcher, and in what it forks: 0, 1 and 2 talk to ckpt itself. */
export const FIRST_STREAM = 3;

const SCRATCH_PAGES = 32;
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;
const PROT_READ = 1;
const PROT_WRITE = 2;
const PROT_EXECUTE = 4;
/** MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE. */
const FRESH_PRIVATE = 0x02 | 0x20 | 0x100000;
const SYSTEM_CALL_CODE = {
  x86_64: Uint8Array.of(0x0f, 0x05),
  aarch64: Uint8Array.of(0x01, 0, 0, 0xd4),
} as const;
/** How often another launcher is started because the first has a PID that is wanted. */
const ATTEMPTS = 16;

/**
 * An ordinary process that forks the first process of a target: a shell that waits for a line, stopped for good. It
 * is stopped long after it began its program, so that nothing of ckpt's own is in what it forks.
 */
export class Launcher {
  readonly thread: RemoteThread;
  readonly workspace: Workspace;
  readonly #child: ChildProcess;
  readonly #memory: RemoteMemory;

  private constructor(child: ChildProcess, thread: RemoteThread, memory: RemoteMemory, workspace: Workspace) {
    this.#child = child;
    this.thread = thread;
    this.#memory = memory;
    this.workspace = workspace;
  }

  /**
   * @param taken ids of processes and threads that the target needs for itself
   * @param layouts of the target's processes; the workspace is where none has anything
   * @param ownSession whether the target is to be apart from ckpt's terminal and session
   * @throws UnsupportedError if there is no shell
   */
  static async start(
    native: Native,
    taken: ReadonlySet<number>,
    layouts: readonly (readonly PageRange[])[],
    ownSession: boolean,
  ): Promise<Launcher> {
    const rejected: ChildProcess[] = [];
    try {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const child = await startShell(ownSession);
        if (taken.has(child.pid!)) rejected.push(child);
        else return Launcher.#seize(native, child, layouts);
      }
    } finally {
      for (const child of rejected) child.kill('SIGKILL');
    }
    throw new UnsupportedError('every new process gets a PID that the checkpoint needs', {
      hint: 'try again, or in a PID namespace of its own (unshare --pid --fork --mount-proc ckpt restore ...)',
    });
  }

  /** All at once: Node must not be told of a stop, which it would take for an end. */
  static #seize(native: Native, child: ChildProcess, layouts: readonly (readonly PageRange[])[]): Launcher {
    const pid = child.pid!;
    let memory: RemoteMemory | undefined;
    try {
      native.seize(pid, LAUNCH_TRACE_OPTIONS);
      native.interrupt(pid);
      waitStopped(native, pid, pid);
      native.setSignalMask(pid, ALL_SIGNALS);
      memory = new RemoteMemory(pid);
      const source = memory;
      const mappings = parseMaps(readProcText(pid, 'maps'));
      const gadgets = findGadgets(native.architecture, mappings, (address, into) =>
        source.read(address, into),
      );
      const startPage = findGap([mappings, ...layouts], SCRATCH_PAGES + 1);
      const start = BigInt(startPage) * BigInt(PAGE_SIZE);
      const scratchAddress = start + BigInt(PAGE_SIZE);
      const scratchBytes = SCRATCH_PAGES * PAGE_SIZE;
      const first = new RemoteThread(native, pid, pid, memory, {
        instruction: gadgets.callAndReturn,
        scratchAddress,
        scratchBytes,
      });
      first.call('mmap', start, PAGE_SIZE, PROT_READ | PROT_EXECUTE, FRESH_PRIVATE, -1, 0);
      first.call('mmap', scratchAddress, scratchBytes, PROT_READ | PROT_WRITE, FRESH_PRIVATE, -1, 0);
      memory.write(start, SYSTEM_CALL_CODE[native.architecture.name]);
      const workspace = { instruction: start, scratchAddress, scratchBytes };
      return new Launcher(child, new RemoteThread(native, pid, pid, memory, workspace), memory, workspace);
    } catch (error) {
      memory?.close();
      child.kill('SIGKILL');
      throw error;
    }
  }

  /** Ends the launcher; what it has forked stays. */
  close(): void {
    this.#memory.close();
    this.#child.kill('SIGKILL');
    this.#child.stdin?.destroy();
  }
}

async function startShell(ownSession: boolean): Promise<ChildProcess> {
  // Line and answer go through pipes: when ckpt dies the shell reads their end and leaves.
  const child = spawn('/bin/sh', ['-c', 'echo; read line'], {
    stdio: ['pipe', 'pipe', 'ignore', 0, 1, 2],
    detached: ownSession,
    env: {},
  });
  const failed = once(child, 'error').then(([cause]) => {
    throw new UnsupportedError('cannot start /bin/sh, from which new processes are made', {
      hint: 'ckpt restore --new needs an ordinary shell',
      cause,
    });
  });
  failed.catch(() => undefined);
  child.stdin!.on('error', () => undefined);
  await Promise.race([once(child.stdout!, 'data'), failed]);
  child.stdout!.destroy();
  return child;
}

/** Signals that a process ignores: bit n-1 for signal n. Unlike handlers they survive fork and exec. */
export function ignoredSignals(pid: number): bigint {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  return BigInt(`0x${/^SigIgn:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
}
