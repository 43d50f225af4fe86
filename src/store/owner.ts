import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';

/** Who holds a lock, precisely enough to know whether that process still lives. */
export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** Changes when the machine restarts; empty where /proc is missing. */
  readonly bootId: string;
  /** A PID means something only inside its namespace; empty where /proc is missing. */
  readonly pidNamespace: string;
  /** Start of the process in clock ticks since boot, field 22 of /proc/PID/stat: a reused PID has another. */
  readonly startTicks: string;
}

/** Tells who we are and whether another owner still lives; a test gives its own. */
export interface LockHost {
  self(): LockOwner;
  /** Undefined if it cannot be known from here. */
  isAlive(owner: LockOwner): boolean | undefined;
}

/** The machine that this process runs on. */
export const machineLockHost: LockHost = {
  self: () => ({
    pid: process.pid,
    host: hostname(),
    bootId: readOrEmpty('/proc/sys/kernel/random/boot_id').trim(),
    pidNamespace: linkOrEmpty('/proc/self/ns/pid'),
    startTicks: startTicksOf(process.pid) ?? '',
  }),
  isAlive: (owner) => {
    const self = machineLockHost.self();
    if (owner.host !== self.host) return undefined;
    if (owner.bootId !== self.bootId) return false;
    if (owner.pidNamespace !== self.pidNamespace) return undefined;
    if (!existsProcess(owner.pid)) return false;
    return self.startTicks === '' || startTicksOf(owner.pid) === owner.startTicks;
  },
};

/** Field 22 of /proc/PID/stat; the name in field 2 may hold blanks and parentheses, so it is counted from its end. */
function startTicksOf(pid: number): string | undefined {
  const text = readOrEmpty(`/proc/${pid}/stat`);
  return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
}

function existsProcess(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (cause) {
    return cause instanceof Error && 'code' in cause && cause.code === 'EPERM';
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function linkOrEmpty(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
