import { readFileSync, writeFileSync } from 'node:fs';
import { procError, readProcText, readTaskStat } from './live-files.ts';

/** A way to make a process stand still. The methods are synchronous: `resume` is called from signal handlers. */
export interface Freezer {
  /** Directory of the cgroup that is frozen, for the guard. */
  readonly cgroup: string | undefined;
  /** Whether the process stands still already, by somebody else's doing. */
  isHeld(): boolean;
  stop(): void;
  resume(): void;
  /** Whether the kernel itself vouches for the stop; undefined if the states of the threads have to be looked at. */
  isFrozen?(): boolean;
}

/** Job control: SIGSTOP and SIGCONT. A parent shell sees its child stop and go on, as after Ctrl-Z. */
export function signalFreezer(pid: number, startTicks: number): Freezer {
  const send = (signal: NodeJS.Signals) => {
    // A PID may have passed to another process, which must not be stopped or continued in place of ours.
    if (readTaskStat(pid)?.startTicks !== startTicks) return;
    try {
      process.kill(pid, signal);
    } catch (error) {
      throw procError(error, pid, signal === 'SIGSTOP' ? 'stop the threads' : 'continue the threads');
    }
  };
  return {
    cgroup: undefined,
    isHeld: () => readTaskStat(pid)?.state === 'T',
    stop: () => send('SIGSTOP'),
    resume: () => send('SIGCONT'),
  };
}

/** The cgroup v2 freezer: neither the target nor its parent can tell, and a SIGCONT from elsewhere does not end it. */
export function cgroupFreezer(pid: number, cgroup: string): Freezer {
  const write = (value: string) => {
    try {
      writeFileSync(`${cgroup}/cgroup.freeze`, value);
    } catch (error) {
      throw procError(error, pid, 'freeze the cgroup');
    }
  };
  return {
    cgroup,
    isHeld: () => readFileSync(`${cgroup}/cgroup.freeze`, 'latin1').trim() === '1',
    stop: () => write('1'),
    resume: () => write('0'),
    isFrozen: () => /^frozen 1$/m.test(readFileSync(`${cgroup}/cgroup.events`, 'latin1')),
  };
}

/** In mountinfo: ids, device, root within the file system, mount point, options, dash, file system type. */
const MOUNT_OF_CGROUPS = /^\d+ \d+ \S+ \/ (\S+) .*- cgroup2 /m;

/**
 * The directory of the cgroup v2 of a process; undefined if there is none, if it is the root, or if it cannot be
 * frozen (no such file before Linux 5.2, no permission).
 */
export function cgroupOf(pid: number): string | undefined {
  const path = /^0::(\/.+)$/m.exec(readProcText(pid, 'cgroup'))?.[1];
  const mountPoint = MOUNT_OF_CGROUPS.exec(readFileSync('/proc/self/mountinfo', 'latin1'))?.[1];
  if (path === undefined || mountPoint === undefined) return undefined;
  const directory = mountPoint + path;
  try {
    readFileSync(`${directory}/cgroup.freeze`);
    return directory;
  } catch {
    return undefined;
  }
}

/** Whether freezing the cgroup stops this process and no other. */
export function isAloneIn(cgroup: string, pid: number): boolean {
  const members = readFileSync(`${cgroup}/cgroup.procs`, 'latin1').split('\n').filter(Boolean);
  const descendants = /^nr_descendants (\d+)$/m.exec(readFileSync(`${cgroup}/cgroup.stat`, 'latin1'))?.[1];
  return members.length === 1 && Number(members[0]) === pid && descendants === '0';
}
