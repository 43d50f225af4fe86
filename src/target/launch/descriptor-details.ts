/** What an epoll descriptor watches: the lines `tfd:` of its fdinfo (fs/eventpoll.c, ep_show_fdinfo; all but tfd hex). */
export function epollWatches(
  details: readonly string[],
): { readonly descriptor: number; readonly events: number; readonly data: bigint }[] {
  return details.flatMap((line) => {
    const match = /^tfd:\s*(\d+)\s+events:\s*([0-9a-f]+)\s+data:\s*([0-9a-f]+)/.exec(line);
    if (match === null) return [];
    return [
      {
        descriptor: Number(match[1]),
        events: Number.parseInt(match[2]!, 16),
        data: BigInt(`0x${match[3]}`),
      },
    ];
  });
}

/** What an eventfd counts (fs/eventfd.c, eventfd_show_fdinfo). Kernels before 6.5 do not tell of semaphores. */
export function eventCounter(details: readonly string[]): { count: bigint; semaphore: boolean } {
  return {
    count: BigInt(`0x${field(details, 'eventfd-count') ?? '0'}`),
    semaphore: field(details, 'eventfd-semaphore') === '1',
  };
}

/** The signals that a signalfd reads, bit n-1 for signal n (fs/signalfd.c). */
export function signalMask(details: readonly string[]): bigint {
  return BigInt(`0x${field(details, 'sigmask') ?? '0'}`);
}

/** How a timerfd is set (fs/timerfd.c, timerfd_show): times are what remains, whatever it was set by. */
export function timerSetting(details: readonly string[]): {
  clock: number;
  ticks: bigint;
  remainingNanoseconds: bigint;
  intervalNanoseconds: bigint;
} {
  return {
    clock: Number(field(details, 'clockid') ?? 1),
    ticks: BigInt(field(details, 'ticks') ?? 0),
    remainingNanoseconds: nanoseconds(field(details, 'it_value')),
    intervalNanoseconds: nanoseconds(field(details, 'it_interval')),
  };
}

/** A lock on a file. */
export interface FileLock {
  /** Of a process (fcntl), of an open file description (flock), or of a description by range (F_OFD_SETLK). */
  readonly kind: 'process' | 'whole' | 'description';
  readonly exclusive: boolean;
  readonly startByte: bigint;
  /** 0: to the end of the file. */
  readonly lengthBytes: bigint;
}

/**
 * The locks held through a descriptor: the lines `lock:` of its fdinfo (fs/locks.c, lock_get_status). Undefined for a
 * kind that is not known: leases, mandatory locks.
 */
export function fileLocks(details: readonly string[]): (FileLock | undefined)[] {
  return details.filter((line) => line.startsWith('lock:')).map(fileLock);
}

const LOCK_KINDS = { POSIX: 'process', FLOCK: 'whole', OFDLCK: 'description' } as const;

function fileLock(line: string): FileLock | undefined {
  const match =
    /^lock:\s*\d+: (POSIX|FLOCK|OFDLCK)\s+ADVISORY\s+(READ|WRITE)\s+\S+ \S+ (\d+) (\d+|EOF)$/.exec(line);
  if (match === null) return undefined;
  const [, kind, mode, start, end] = match;
  const startByte = BigInt(start!);
  return {
    kind: LOCK_KINDS[kind as keyof typeof LOCK_KINDS],
    exclusive: mode === 'WRITE',
    startByte,
    lengthBytes: end === 'EOF' ? 0n : BigInt(end!) - startByte + 1n,
  };
}

function field(details: readonly string[], name: string): string | undefined {
  const line = details.find((text) => text.startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim();
}

/** `(1, 500)` in seconds and nanoseconds. */
function nanoseconds(text: string | undefined): bigint {
  const match = /^\((\d+), (\d+)\)$/.exec(text ?? '');
  return match === null ? 0n : BigInt(match[1]!) * 1_000_000_000n + BigInt(match[2]!);
}
