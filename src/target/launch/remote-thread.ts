import { TargetError } from '../../core/index.ts';
import type { SystemCallName } from '../native/architecture.ts';
import { EVENT_STOP, type Native, REGISTER_SET, TRACE_OPTION } from '../native/calls.ts';
import { errnoName, SystemCallError } from '../native/errno.ts';
import type { Word } from '../native/library.ts';
import { Registers } from '../native/registers.ts';
import type { RemoteMemory } from '../native/remote-memory.ts';
import type { Caller } from '../rewrite/caller.ts';

/** SIGTRAP with the mark of a stop at a system call. */
const SYSTEM_CALL_STOP = 0x85;
const LARGEST_ERRNO = 4095n;
/** PTRACE_EVENT_FORK, _VFORK, _CLONE: stops in the middle of a call that has made a thread. */
const BIRTH_EVENTS: ReadonlySet<number> = new Set([1, 2, 3]);

/**
 * Options for everything that a launch begins: children and threads are ours from their first instruction on, and
 * all die with ckpt until they are let go. They are ours alone: nobody misses a half-made process.
 */
export const LAUNCH_TRACE_OPTIONS =
  TRACE_OPTION.clone | TRACE_OPTION.fork | TRACE_OPTION.vfork | TRACE_OPTION.exitKill;

/** Memory of a process that is being made which neither the old nor the new layout uses. */
export interface Workspace {
  /** Of a system call instruction. */
  readonly instruction: bigint;
  readonly scratchAddress: bigint;
  readonly scratchBytes: number;
}

/**
 * A thread of a process that is being made: stopped, and without a life of its own until it is let go. Its registers
 * are free to be used for system calls.
 */
export class RemoteThread implements Caller {
  readonly pid: number;
  readonly tid: number;
  readonly #native: Native;
  readonly memory: RemoteMemory;
  readonly #workspace: Workspace;
  readonly #registers: Registers;

  constructor(native: Native, pid: number, tid: number, memory: RemoteMemory, workspace: Workspace) {
    this.#native = native;
    this.pid = pid;
    this.tid = tid;
    this.memory = memory;
    this.#workspace = workspace;
    this.#registers = new Registers(native.architecture, native.getRegisterSet(tid, REGISTER_SET.general));
  }

  get scratchBytes(): number {
    return this.#workspace.scratchBytes;
  }

  writeScratch(bytes: Uint8Array, offset = 0): bigint {
    const { scratchAddress, scratchBytes } = this.#workspace;
    if (offset + bytes.length > scratchBytes) throw new RangeError('too many bytes for the scratch memory');
    const address = scratchAddress + BigInt(offset);
    this.memory.write(address, bytes);
    return address;
  }

  readScratch(offset: number, length: number): Uint8Array {
    return this.memory.readBytes(this.#workspace.scratchAddress + BigInt(offset), length);
  }

  /** @throws SystemCallError naming the process and the call; TargetError if somebody kills the process */
  call(name: SystemCallName, ...words: Word[]): bigint {
    const result = this.tryCall(name, ...words);
    if (result >= 0n || result < -LARGEST_ERRNO) return result;
    throw new SystemCallError(`${name} in the new process ${this.pid}`, errnoName(Number(-result)), this.pid);
  }

  tryCall(name: SystemCallName, ...words: Word[]): bigint {
    const { architecture } = this.#native;
    const registers = this.#registers;
    architecture.callArguments.forEach((register, index) => {
      registers.set(register, words[index] ?? 0);
    });
    registers.set(architecture.callNumber, architecture.systemCall(name));
    // Otherwise the kernel takes the thread for one in a system call, and may restart it.
    if (architecture.name === 'x86_64') registers.set('orig_rax', -1n);
    registers.set(architecture.instructionPointer, this.#workspace.instruction);
    this.#native.setRegisterSet(this.tid, REGISTER_SET.general, registers.bytes);
    this.#runCall();
    const after = this.#native.getRegisterSet(this.tid, REGISTER_SET.general);
    return new Registers(architecture, after).result;
  }

  /** Runs into the call and to its return; a clone stops once more in its middle. */
  #runCall(): void {
    for (let stops = 0; stops < 2; ) {
      this.#native.resumeToSystemCall(this.tid);
      const { signal, event } = waitStopped(this.#native, this.pid, this.tid);
      if (event === 0 && signal === SYSTEM_CALL_STOP) stops++;
      else if (event !== EVENT_STOP && !BIRTH_EVENTS.has(event)) {
        throw new TargetError(`the new process ${this.pid} met signal ${signal} while it was being made`, {
          data: { pid: this.pid, signal },
        });
      }
    }
  }
}

/**
 * Waits until a thread that has just been made, or interrupted, stands still.
 * @throws TargetError if it has been killed
 */
export function waitStopped(
  native: Native,
  pid: number,
  tid: number,
): { readonly signal: number; readonly event: number } {
  const status = native.wait(tid, true);
  if (status?.kind === 'stopped') return status;
  throw new TargetError(`the new process ${pid} was killed while it was being made`, { data: { pid } });
}
