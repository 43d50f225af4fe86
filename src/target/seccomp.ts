import { readProcText } from './live-files.ts';

/** CAP_SYS_ADMIN (include/uapi/linux/capability.h). */
const ADMINISTRATION = 21n;

/** What watches the system calls of a process: nothing, the mode that allows four of them, or a filter. */
export type SeccompMode = 'none' | 'strict' | 'filter';

export function seccompMode(pid: number): SeccompMode {
  const mode = statusField(pid, 'Seccomp', '\\d+') ?? '0';
  if (mode === '0') return 'none';
  return mode === '1' ? 'strict' : 'filter';
}

/** Whether the kernel lets us suspend the filters of others (kernel/ptrace.c, check_ptrace_options). */
export function maySuspendSeccomp(): boolean {
  const capabilities = BigInt(`0x${statusField(process.pid, 'CapEff', '[0-9a-f]+') ?? '0'}`);
  return (capabilities >> ADMINISTRATION) % 2n === 1n && seccompMode(process.pid) === 'none';
}

function statusField(pid: number, name: string, value: string): string | undefined {
  return new RegExp(`^${name}:\\s*(${value})$`, 'm').exec(readProcText(pid, 'status'))?.[1];
}
