import { TargetError } from '../core/index.ts';

/** What /proc/PID/status tells that stat does not (fs/proc/array.c, proc_pid_status). Sets have bit n-1 for signal n. */
export interface TaskStatus {
  /** Null before Linux 4.7. */
  readonly umask: number | null;
  /** Real, effective, saved, file system. */
  readonly userIds: readonly number[];
  readonly groupIds: readonly number[];
  readonly supplementaryGroups: readonly number[];
  readonly capabilities: Readonly<Record<CapabilitySet, bigint>>;
  readonly noNewPrivileges: boolean;
  /** 0 none, 1 strict, 2 filter. */
  readonly seccompMode: number;
  readonly signals: {
    readonly pending: bigint;
    readonly sharedPending: bigint;
    readonly blocked: bigint;
    readonly ignored: bigint;
    readonly caught: bigint;
  };
}

export type CapabilitySet = 'inheritable' | 'permitted' | 'effective' | 'bounding' | 'ambient';

/**
 * Parses status. Fields that older kernels lack have the value that they stand for there.
 * @throws TargetError if a field is missing that all have
 */
export function parseTaskStatus(text: string): TaskStatus {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':');
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const field = (name: string) => {
    const value = fields.get(name);
    if (value === undefined) throw new TargetError(`cannot parse this status: it has no ${name}`);
    return value;
  };
  const set = (name: string) => BigInt(`0x${field(name)}`);
  const numbers = (name: string) => field(name).split(/\s+/).filter(Boolean).map(Number);
  const umask = fields.get('Umask');
  return {
    umask: umask === undefined ? null : Number.parseInt(umask, 8),
    userIds: numbers('Uid'),
    groupIds: numbers('Gid'),
    supplementaryGroups: numbers('Groups'),
    capabilities: {
      inheritable: set('CapInh'),
      permitted: set('CapPrm'),
      effective: set('CapEff'),
      bounding: set('CapBnd'),
      ambient: fields.has('CapAmb') ? set('CapAmb') : 0n,
    },
    noNewPrivileges: fields.get('NoNewPrivs') === '1',
    seccompMode: Number(fields.get('Seccomp') ?? 0),
    signals: {
      pending: set('SigPnd'),
      sharedPending: set('ShdPnd'),
      blocked: set('SigBlk'),
      ignored: set('SigIgn'),
      caught: set('SigCgt'),
    },
  };
}
