/** Names of signals 1 to 31, the same on x86-64 and aarch64 (include/uapi/asm-generic/signal.h). */
const SIGNALS =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS'.split(
    ' ',
  );
/** First real-time signal of the kernel; C libraries keep a few for themselves, so SIGRTMIN is higher. */
const FIRST_REALTIME = 32;

/** include/uapi/linux/auxvec.h, by number. */
const AUXILIARY: Readonly<Record<number, string>> = {
  ...{
    3: 'PHDR',
    4: 'PHENT',
    5: 'PHNUM',
    6: 'PAGESZ',
    7: 'BASE',
    8: 'FLAGS',
    9: 'ENTRY',
    11: 'UID',
    12: 'EUID',
  },
  ...{ 13: 'GID', 14: 'EGID', 15: 'PLATFORM', 16: 'HWCAP', 17: 'CLKTCK', 23: 'SECURE', 24: 'BASE_PLATFORM' },
  ...{ 25: 'RANDOM', 26: 'HWCAP2', 27: 'RSEQ_FEATURE_SIZE', 28: 'RSEQ_ALIGN', 29: 'HWCAP3', 30: 'HWCAP4' },
  ...{ 31: 'EXECFN', 32: 'SYSINFO', 33: 'SYSINFO_EHDR', 51: 'MINSIGSTKSZ' },
};

/** include/uapi/linux/capability.h, by number. */
const CAPABILITIES =
  'chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore'.split(
    ' ',
  );

/** include/uapi/linux/time.h, by number. */
const CLOCKS = [
  ...['CLOCK_REALTIME', 'CLOCK_MONOTONIC', 'CLOCK_PROCESS_CPUTIME_ID', 'CLOCK_THREAD_CPUTIME_ID'],
  ...['CLOCK_MONOTONIC_RAW', 'CLOCK_REALTIME_COARSE', 'CLOCK_MONOTONIC_COARSE', 'CLOCK_BOOTTIME'],
  ...['CLOCK_REALTIME_ALARM', 'CLOCK_BOOTTIME_ALARM', 'CLOCK_SGI_CYCLE', 'CLOCK_TAI'],
];

const ACTION_FLAGS: readonly (readonly [bit: bigint, name: string])[] = [
  [1n, 'NOCLDSTOP'],
  [2n, 'NOCLDWAIT'],
  [4n, 'SIGINFO'],
  [0x0800_0000n, 'ONSTACK'],
  [0x1000_0000n, 'RESTART'],
  [0x4000_0000n, 'NODEFER'],
  [0x8000_0000n, 'RESETHAND'],
];

/** Open flags that say something to people, by architecture (fcntl.h); O_LARGEFILE, which all files have, does not. */
const OPEN_FLAGS: readonly (readonly [x86: number, arm: number, word: string])[] = [
  [0o2000, 0o2000, 'append'],
  [0o4000, 0o4000, 'non-blocking'],
  [0o20000, 0o20000, 'signalled'],
  [0o40000, 0o200000, 'direct'],
  [0o200000, 0o40000, 'directory'],
  [0o1000000, 0o1000000, 'no-atime'],
  [0o10000000, 0o10000000, 'path'],
];
/** O_SYNC has the bit of O_DSYNC too. */
const DATA_SYNC = 0o10000;
const FULL_SYNC = 0o4000000;
const ACCESS_WORDS = ['read', 'write', 'read-write', 'no-access'];

const POLICIES: readonly string[] = ['other', 'fifo', 'rr', 'batch', 'iso', 'idle', 'deadline', 'ext'];

/** include/uapi/asm-generic/resource.h, by number, and the unit where a number alone says little. */
const LIMITS: readonly (readonly [name: string, unit: string])[] = [
  ['cpu time', ' s'],
  ['file size', ' B'],
  ['data', ' B'],
  ['stack', ' B'],
  ['core size', ' B'],
  ['resident set', ' B'],
  ['processes', ''],
  ['open files', ''],
  ['locked memory', ' B'],
  ['address space', ' B'],
  ['file locks', ''],
  ['pending signals', ''],
  ['message queues', ' B'],
  ['nice', ''],
  ['real-time priority', ''],
  ['real-time run', ' us'],
];
const UNLIMITED = 0xffff_ffff_ffff_ffffn;
/** Soft limits that systems set by default; of any other resource, only unlimited is. */
const USUAL_LIMITS: Readonly<Record<number, readonly bigint[]>> = {
  3: [8n << 20n],
  4: [0n, UNLIMITED],
  7: [1024n],
  8: [64n << 10n, 8n << 20n],
  12: [819_200n],
  13: [0n],
  14: [0n],
};
/** The kernel computes both from the size of memory (kernel/fork.c, fork_init). */
const BY_MEMORY: ReadonlySet<number> = new Set([6, 11]);

/** `SIGINT`; `signal 34` for a real-time one. */
export function signalName(signal: number): string {
  const name = signal < FIRST_REALTIME ? SIGNALS[signal - 1] : undefined;
  return name === undefined ? `signal ${signal}` : `SIG${name}`;
}

/** The signals of a set, bit n-1 for signal n: `SIGINT SIGTERM`, `all but SIGKILL SIGSTOP`, `none`. */
export function signalSetText(set: bigint): string {
  const named = (wanted: bigint) =>
    Array.from({ length: 64 }, (_, index) => index + 1)
      .filter((signal) => (wanted >> BigInt(signal - 1)) & 1n)
      .map(signalName)
      .join(', ');
  if (set === 0n) return 'none';
  const others = ~set & UNLIMITED;
  if (others === 0n) return 'all';
  return named(others).length < named(set).length ? `all but ${named(others)}` : named(set);
}

/** The SA_* flags of a disposition; SA_RESTORER, which belongs to the C library, is left out. */
export function actionFlagsText(flags: bigint): string {
  return ACTION_FLAGS.filter(([bit]) => (flags & bit) !== 0n)
    .map(([, name]) => name)
    .join(' ');
}

/** `read-write append`, `path`. */
export function openFlagsText(flags: number, machine: 'x86_64' | 'aarch64'): string {
  const words = OPEN_FLAGS.filter(([x86, arm]) => (flags & (machine === 'x86_64' ? x86 : arm)) !== 0).map(
    ([, , word]) => word,
  );
  if ((flags & FULL_SYNC) !== 0) words.push('sync');
  else if ((flags & DATA_SYNC) !== 0) words.push('data-sync');
  return words.includes('path') ? words.join(' ') : [ACCESS_WORDS[flags & 3], ...words].join(' ');
}

/** `none`, `all`, or the names. */
export function capabilitiesText(set: bigint): string {
  if (set === 0n) return 'none';
  const known = (1n << BigInt(CAPABILITIES.length)) - 1n;
  if ((set & known) === known) return 'all';
  const held = CAPABILITIES.filter((_, index) => (set >> BigInt(index)) & 1n);
  const lacking = CAPABILITIES.filter((_, index) => ((set >> BigInt(index)) & 1n) === 0n);
  return lacking.length < held.length ? `all but ${lacking.join(' ')}` : held.join(' ');
}

/** A clock by its number; clocks of single processes and threads are negative. */
export function clockName(clock: number): string {
  return CLOCKS[clock] ?? (clock < 0 ? 'the CPU time of a process or thread' : `clock ${clock}`);
}

/** `AT_PHDR`, as in the auxiliary vector. */
export function auxiliaryName(type: number): string {
  return `AT_${AUXILIARY[type] ?? type}`;
}

/** SCHED_* in small letters. */
export function policyName(policy: number): string {
  return POLICIES[policy] ?? `policy ${policy}`;
}

interface Limit {
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
}

/** Limits that are not what systems set by default, as `open files 20,000 (hard 524,288)`. */
export function unusualLimits(limits: readonly Limit[]): string[] {
  const byMemory = limits.filter(({ resource }) => BY_MEMORY.has(resource));
  const isMachines = byMemory.length === BY_MEMORY.size && byMemory[0]!.soft === byMemory[1]!.soft;
  return limits
    .filter(({ resource, soft }) => {
      if (BY_MEMORY.has(resource)) return !isMachines;
      return !(USUAL_LIMITS[resource] ?? [UNLIMITED]).includes(soft);
    })
    .map(({ resource, soft, hard }) => {
      const [name, unit] = LIMITS[resource] ?? [`resource ${resource}`, ''];
      const amount = (value: bigint) =>
        value === UNLIMITED ? 'unlimited' : `${value.toLocaleString('en')}${unit}`;
      return `${name} ${amount(soft)}${soft === hard ? '' : ` (hard ${amount(hard)})`}`;
    });
}
