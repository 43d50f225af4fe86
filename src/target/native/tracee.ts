import { TargetError } from '../../core/index.ts';
import { EVENT_STOP, type Native, REGISTER_SET, type WaitStatus } from './calls.ts';
import { Registers } from './registers.ts';
import { restartable } from './restart.ts';

const SIGTRAP = 5;
/** Signals that stop a process: they show as group stops of the whole process. */
const STOP_SIGNALS: ReadonlySet<number> = new Set([19, 20, 21, 22]);

/** A thread that ckpt has seized and stopped. */
export class Tracee {
  readonly pid: number;
  readonly tid: number;
  readonly #native: Native;
  #registers: Registers | undefined;
  #changed = false;
  #stopped = false;

  constructor(native: Native, pid: number, tid: number) {
    this.#native = native;
    this.pid = pid;
    this.tid = tid;
  }

  /** Whether it stands still for us. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /**
   * Looks whether the thread has stopped, passing on the signals that reach it on the way.
   * @returns `gone` if it ended
   */
  checkStopped(): 'stopped' | 'moving' | 'gone' {
    for (;;) {
      const status = this.#native.wait(this.tid, false) ?? this.#unseenStop();
      if (status === undefined) return 'moving';
      if (status.kind !== 'stopped') return 'gone';
      if (isOurStop(status)) {
        this.#stopped = true;
        return this.#arrangeRestart() ? 'stopped' : 'gone';
      }
      this.#native.resume(this.tid, status.event === 0 ? status.signal : 0);
    }
  }

  /**
   * The registers with which the thread will go on: as they were at the stop, arranged so that an interrupted system
   * call starts again. A copy; `setRegisters` changes them.
   */
  registers(): Registers {
    this.#registers ??= this.#atStop();
    return this.#registers.copy();
  }

  /** Has the thread go on with other registers than it stopped with. */
  setRegisters(registers: Registers): void {
    this.#registers = registers.copy();
    this.#changed = true;
  }

  /** Where its stack is; 0 for a 32-bit thread. */
  stackPointer(): bigint {
    const bytes = this.#native.getRegisterSet(this.tid, REGISTER_SET.general);
    const { architecture } = this.#native;
    return Registers.fit(architecture, bytes) ? new Registers(architecture, bytes).stackPointer : 0n;
  }

  /** A register set as it stands now. @throws SystemCallError */
  getRegisterSet(type: number): Uint8Array {
    return this.#native.getRegisterSet(this.tid, type);
  }

  setRegisterSet(type: number, bytes: Uint8Array): void {
    this.#native.setRegisterSet(this.tid, type, bytes);
  }

  signalMask(): bigint {
    return this.#native.getSignalMask(this.tid);
  }

  setSignalMask(mask: bigint): void {
    this.#native.setSignalMask(this.tid, mask);
  }

  /** Puts the registers in place with which the thread goes on; to be called before it is let go. */
  writeBack(): void {
    if (!this.#changed) return;
    this.#native.setRegisterSet(this.tid, REGISTER_SET.general, this.registers().bytes);
  }

  /**
   * Lets the thread go on.
   * @returns false if it has ended meanwhile
   */
  detach(): boolean {
    try {
      this.writeBack();
      this.#native.detach(this.tid);
      return true;
    } catch (error) {
      if (!hasErrno(error, 'ESRCH')) throw error;
      return false;
    }
  }

  /**
   * Takes note of the end of the thread, if it has come: until then its process stays a zombie, and its parent waits.
   * @returns whether there is nothing to wait for any more
   */
  isBuried(): boolean {
    try {
      return this.#native.wait(this.tid, false) !== undefined;
    } catch (error) {
      if (!hasErrno(error, 'ECHILD')) throw error;
      return true;
    }
  }

  /** Node waits for its own children and may have been told of the stop in our place. */
  #unseenStop(): WaitStatus | undefined {
    const reason = this.#native.stopReason(this.tid);
    return reason?.event === EVENT_STOP ? { kind: 'stopped', ...reason } : undefined;
  }

  #atStop(): Registers {
    const bytes = this.#native.getRegisterSet(this.tid, REGISTER_SET.general);
    return new Registers(this.#native.architecture, bytes);
  }

  /** At once, since ckpt could be killed while the thread stands still. @returns whether the thread still exists */
  #arrangeRestart(): boolean {
    try {
      const bytes = this.#native.getRegisterSet(this.tid, REGISTER_SET.general);
      if (!Registers.fit(this.#native.architecture, bytes)) return true;
      const registers = new Registers(this.#native.architecture, bytes);
      if (restartable(registers))
        this.#native.setRegisterSet(this.tid, REGISTER_SET.general, registers.bytes);
      return true;
    } catch (error) {
      if (hasErrno(error, 'ESRCH')) return false;
      throw error;
    }
  }
}

/** The stop that we asked for, or a job-control stop in which the thread rests just as well. */
function isOurStop(status: WaitStatus & { kind: 'stopped' }): boolean {
  return status.event === EVENT_STOP && (status.signal === SIGTRAP || STOP_SIGNALS.has(status.signal));
}

/** Whether an error of a system call has this errno. */
export function hasErrno(error: unknown, errno: string): boolean {
  return error instanceof TargetError && error.data['errno'] === errno;
}
