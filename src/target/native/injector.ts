import { closeSync, openSync, readFileSync } from 'node:fs';
import { TargetError, UnsupportedError } from '../../core/index.ts';
import { parseMaps } from '../../procfs/index.ts';
import { goneError, procError, readAt, readProcText } from '../live-files.ts';
import type { SystemCallName } from './architecture.ts';
import { EVENT_STOP, type Native, REGISTER_SET } from './calls.ts';
import { errnoName, SystemCallError } from './errno.ts';
import { findGadgets, type Gadgets, gadgetsStand } from './gadgets.ts';
import type { Word } from './library.ts';
import type { Registers } from './registers.ts';
import { RemoteMemory } from './remote-memory.ts';
import { withRestartDone } from './restart.ts';
import { abortAddress } from './rseq.ts';
import { ARGUMENT_BYTES, FRAME_BYTES, findScratch } from './scratch.ts';
import { buildSignalFrame } from './signal-frame.ts';
import type { TracedProcess } from './trace-session.ts';
import type { Tracee } from './tracee.ts';

/** SIGTRAP with the mark that PTRACE_O_TRACESYSGOOD asks for. */
const SYSTEM_CALL_STOP = 0x85;
const SIGSTOP = 19;
const ALL_SIGNALS = 0xffff_ffff_ffff_ffffn;
const LARGEST_ERRNO = 4095n;

/** Where things are, if that is known before; found by looking otherwise. */
export interface InjectorOptions {
  /** Looked for again if they are not there any more. */
  readonly gadgets?: Gadgets;
  /** Unused writable memory of FRAME_BYTES + ARGUMENT_BYTES. */
  readonly scratchAddress?: bigint;
}

/**
 * Makes system calls inside a stopped process. The thread that makes them stands on a signal frame all the while: if
 * ckpt is killed, the kernel lets it go, it finishes the call, returns through rt_sigreturn, and does what it did.
 */
export class Injector {
  readonly #native: Native;
  readonly #process: TracedProcess;
  readonly #gadgets: Gadgets;
  readonly #memory: RemoteMemory;
  readonly #scratch: bigint;
  /** What was in the scratch memory. */
  readonly #saved: Uint8Array;
  #thread: Tracee;
  /** Registers for the next call, once the thread stands on its frame. */
  #ready: Registers | undefined;
  /** Signals that the thread blocks by itself. */
  #mask = 0n;
  #stopSignals = 0;

  private constructor(
    native: Native,
    process: TracedProcess,
    gadgets: Gadgets,
    memory: RemoteMemory,
    scratch: bigint,
  ) {
    this.#native = native;
    this.#process = process;
    this.#gadgets = gadgets;
    this.#memory = memory;
    this.#scratch = scratch;
    this.#thread = process.threads[0]!;
    this.#saved = memory.readBytes(scratch, FRAME_BYTES + ARGUMENT_BYTES);
  }

  /**
   * Looks for what calls inside the process need.
   * @throws UnsupportedError if the program has no fitting code or memory, or would punish a foreign call
   */
  static open(native: Native, process: TracedProcess, options: InjectorOptions): Injector {
    const { pid } = process;
    requireNoShadowStack(pid);
    const memory = new RemoteMemory(pid);
    try {
      const mappings = parseMaps(readProcText(pid, 'maps'));
      const read = (address: bigint, into: Uint8Array) => memory.read(address, into);
      const { architecture } = native;
      const known = options.gadgets !== undefined && gadgetsStand(architecture, options.gadgets, read);
      const gadgets = known ? options.gadgets : findGadgets(architecture, mappings, read);
      const scratch =
        options.scratchAddress ??
        findScratch({
          mappings,
          stackPointers: process.threads.map((thread) => thread.registers().stackPointer),
          readPagemap: (startPage, pageCount) => pagemapWords(pid, startPage, pageCount),
        });
      return new Injector(native, process, gadgets, memory, scratch);
    } catch (error) {
      memory.close();
      throw error;
    }
  }

  /** Memory of the process for arguments and results of calls. */
  get scratchAddress(): bigint {
    return this.#scratch + BigInt(FRAME_BYTES);
  }

  get scratchBytes(): number {
    return ARGUMENT_BYTES;
  }

  get memory(): RemoteMemory {
    return this.#memory;
  }

  /** Puts bytes into the scratch memory. @returns their address in the process */
  writeScratch(bytes: Uint8Array, offset = 0): bigint {
    if (offset + bytes.length > ARGUMENT_BYTES) throw new RangeError('too many bytes for the scratch memory');
    const address = this.scratchAddress + BigInt(offset);
    this.#memory.write(address, bytes);
    return address;
  }

  readScratch(offset: number, length: number): Uint8Array {
    return this.#memory.readBytes(this.scratchAddress + BigInt(offset), length);
  }

  /** Has the following calls made by another thread of the process; it begins with the leader. */
  useThread(thread: Tracee): void {
    if (thread === this.#thread) return;
    this.#leave();
    this.#thread = thread;
  }

  /**
   * Makes a call and returns its result.
   * @throws SystemCallError if the kernel refused it, TargetError if the thread died of it
   */
  call(name: SystemCallName, ...words: Word[]): bigint {
    const result = this.tryCall(name, ...words);
    if (result >= 0n || result < -LARGEST_ERRNO) return result;
    const { pid } = this.#process;
    throw new SystemCallError(`${name} inside process ${pid}`, errnoName(Number(-result)), pid);
  }

  /** Makes a call and returns what the kernel left in the result register: -errno for a failure. */
  tryCall(name: SystemCallName, ...words: Word[]): bigint {
    const registers = this.#enter();
    const { architecture } = registers;
    const number = architecture.systemCall(name);
    this.#prepare(registers, number, words);
    this.#runCall();
    return this.#generalRegisters().result;
  }

  /** Gives everything back: registers, signal mask and scratch memory are as before. */
  close(): void {
    this.#end(true);
  }

  /** As `close`, where the scratch memory was unmapped or holds by now what it should. */
  abandon(): void {
    this.#end(false);
  }

  #end(restoreScratch: boolean): void {
    try {
      this.#leave();
      if (restoreScratch) this.#memory.write(this.#scratch, this.#saved);
      if (this.#stopSignals > 0) process.kill(this.#process.pid, 'SIGSTOP');
    } finally {
      this.#memory.close();
    }
  }

  /** Puts the thread on a signal frame that brings it back. */
  #enter(): Registers {
    if (this.#ready !== undefined) return this.#ready;
    const native = this.#native;
    const thread = this.#thread;
    const registers = thread.registers();
    const abort = abortAddress(
      native.rseqConfiguration(thread.tid),
      registers.instructionPointer,
      (address, length) => this.#memory.readBytes(address, length),
    );
    if (abort !== undefined) {
      registers.set(native.architecture.instructionPointer, abort);
      thread.setRegisters(registers);
    }
    const isX86 = native.architecture.name === 'x86_64';
    const state = {
      registers: withRestartDone(registers, (address, length) => this.#memory.readBytes(address, length)),
      vector: thread.getRegisterSet(isX86 ? REGISTER_SET.x86Extended : REGISTER_SET.floatingPoint),
      signalMask: thread.signalMask(),
    };
    const frame = buildSignalFrame(native.architecture, state, this.#scratch, this.#gadgets.signalReturn);
    if (frame.bytes.length > FRAME_BYTES)
      throw new RangeError('the register state is larger than was foreseen');
    this.#memory.write(this.#scratch, frame.bytes);
    const ready = registers.copy();
    ready.set(native.architecture.instructionPointer, this.#gadgets.callAndReturn);
    ready.set(native.architecture.stackPointer, frame.stackPointer);
    if (isX86) ready.set('orig_rax', -1n);
    else ready.set('x30', this.#gadgets.signalReturn);
    this.#ready = ready;
    this.#mask = state.signalMask;
    // A call that does nothing first: from here on the thread finds its own way back, and signals may be held off.
    this.#prepare(ready, native.architecture.systemCall('getpid'), []);
    thread.setSignalMask(ALL_SIGNALS);
    return ready;
  }

  #prepare(registers: Registers, number: number, words: readonly Word[]): void {
    const { architecture } = registers;
    architecture.callArguments.forEach((name, index) => {
      registers.set(name, words[index] ?? 0);
    });
    registers.set(architecture.callNumber, number);
    this.#native.setRegisterSet(this.#thread.tid, REGISTER_SET.general, registers.bytes);
    if (architecture.name === 'aarch64') {
      const none = Uint8Array.of(0xff, 0xff, 0xff, 0xff);
      this.#native.setRegisterSet(this.#thread.tid, REGISTER_SET.armSystemCall, none);
    }
  }

  /**
   * Runs through the entry into the prepared call and its return, whatever else reaches the thread meanwhile. Not by
   * single steps: the processor would go on stepping if ckpt died, and the trap would kill the program.
   */
  #runCall(): void {
    for (let stops = 0; stops < 2; ) {
      this.#native.resumeToSystemCall(this.#thread.tid);
      const status = this.#native.wait(this.#thread.tid, true);
      if (status === undefined) continue;
      if (status.kind !== 'stopped') throw goneError(this.#process.pid);
      if (status.event === EVENT_STOP) continue;
      if (status.signal === SYSTEM_CALL_STOP) stops++;
      else if (status.signal === SIGSTOP) this.#stopSignals++;
      else {
        throw new TargetError(
          `a call inside process ${this.#process.pid} was answered by signal ${status.signal}`,
          { data: { pid: this.#process.pid, signal: status.signal } },
        );
      }
    }
  }

  #generalRegisters(): Registers {
    const registers = this.#ready!.copy();
    registers.bytes.set(
      this.#native.getRegisterSet(this.#thread.tid, REGISTER_SET.general).subarray(0, registers.bytes.length),
    );
    return registers;
  }

  /** Takes the thread off its frame. */
  #leave(): void {
    if (this.#ready === undefined) return;
    this.#ready = undefined;
    this.#thread.setSignalMask(this.#mask);
    this.#native.setRegisterSet(this.#thread.tid, REGISTER_SET.general, this.#thread.registers().bytes);
  }
}

/**
 * Looks for instructions in a process that still runs, so that it need not stand still for that.
 * @returns undefined if it has none, or cannot be looked into
 */
export function findGadgetsAhead(native: Native, pid: number): Gadgets | undefined {
  try {
    const memory = new RemoteMemory(pid);
    try {
      const mappings = parseMaps(readProcText(pid, 'maps'));
      return findGadgets(native.architecture, mappings, (address, into) => memory.read(address, into));
    } finally {
      memory.close();
    }
  } catch (error) {
    // Whoever makes the first call meets it again.
    if (error instanceof TargetError || error instanceof UnsupportedError) return undefined;
    throw error;
  }
}

/** A shadow stack catches the return that calls end with. */
function requireNoShadowStack(pid: number): void {
  if (!/^x86_Thread_features:.*\bshstk\b/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'))) return;
  throw new UnsupportedError(`process ${pid} runs with a shadow stack, which forbids calls on its behalf`, {
    hint: 'dump it with --tracker compare, which needs no calls inside the target',
    data: { pid },
  });
}

function pagemapWords(pid: number, startPage: number, pageCount: number): Uint32Array {
  const words = new Uint32Array(pageCount * 2);
  let descriptor: number;
  try {
    descriptor = openSync(`/proc/${pid}/pagemap`, 'r');
  } catch (error) {
    throw procError(error, pid, 'look at the pages');
  }
  try {
    readAt(descriptor, words, words.byteLength, startPage * 8);
    return words;
  } finally {
    closeSync(descriptor);
  }
}
