import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { readProcText, threadIds } from './live-files.ts';
import type { TargetState } from './view.ts';

/** Format of the state bytes of a live target: JSON with the texts of /proc, version 1. */
const LIVE_STATE_FORMAT = 'ckpt-live-1';

interface ThreadRecord {
  readonly id: number;
  readonly name: string;
  /** Number, arguments, stack pointer and program counter of the system call it is in; `running` otherwise. */
  readonly syscall: string | null;
  /** Signal masks. */
  readonly blocked: string | null;
  readonly pending: string | null;
}

interface FileRecord {
  readonly descriptor: number;
  readonly path: string;
  /** Position, flags and the like, as in fdinfo. */
  readonly info: string;
}

/**
 * What /proc tells of a stopped process beyond its memory: threads, open files, signals, places. It is for people and
 * for later tools; no process can be brought to life from it alone. The environment is left out: it is in the memory
 * anyway, and often secret.
 */
export function captureLiveState(pid: number): TargetState {
  const status = readProcText(pid, 'status');
  const threads = threadIds(pid).map((id) => threadRecord(pid, id));
  const files = openFiles(pid);
  const commandLine = readProcText(pid, 'cmdline').split('\0').slice(0, -1);
  const state = {
    pid,
    commandLine,
    exe: linkTarget(pid, 'exe'),
    workingDirectory: linkTarget(pid, 'cwd'),
    root: linkTarget(pid, 'root'),
    stat: readProcText(pid, 'stat').trimEnd(),
    status,
    limits: optionalText(`/proc/${pid}/limits`),
    cgroup: optionalText(`/proc/${pid}/cgroup`),
    personality: optionalText(`/proc/${pid}/personality`),
    auxiliaryVector: optionalBytes(`/proc/${pid}/auxv`),
    threads,
    files,
  };
  return {
    format: LIVE_STATE_FORMAT,
    bytes: new TextEncoder().encode(JSON.stringify(state)),
    summary: { pid, commandLine, exe: state.exe, threads: threads.length, openFiles: files.length },
  };
}

function threadRecord(pid: number, id: number): ThreadRecord {
  const path = `/proc/${pid}/task/${id}`;
  const status = optionalText(`${path}/status`) ?? '';
  return {
    id,
    name: (optionalText(`${path}/comm`) ?? '').trimEnd(),
    syscall: optionalText(`${path}/syscall`)?.trimEnd() ?? null,
    blocked: /^SigBlk:\s*(\S+)/m.exec(status)?.[1] ?? null,
    pending: /^SigPnd:\s*(\S+)/m.exec(status)?.[1] ?? null,
  };
}

function openFiles(pid: number): FileRecord[] {
  const files: FileRecord[] = [];
  for (const name of optionalList(`/proc/${pid}/fd`)) {
    const path = linkTarget(pid, `fd/${name}`);
    if (path === null) continue;
    const info = optionalText(`/proc/${pid}/fdinfo/${name}`) ?? '';
    files.push({ descriptor: Number(name), path, info });
  }
  return files;
}

function linkTarget(pid: number, name: string): string | null {
  return optional(() => readlinkSync(`/proc/${pid}/${name}`));
}

function optionalText(path: string): string | null {
  return optional(() => readFileSync(path, 'utf8'));
}

function optionalBytes(path: string): string | null {
  return optional(() => readFileSync(path).toString('base64'));
}

function optionalList(path: string): string[] {
  return optional(() => readdirSync(path)) ?? [];
}

/** Much of /proc depends on how the kernel was built and on rights; what is missing is recorded as missing. */
function optional<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
