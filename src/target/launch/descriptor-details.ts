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

/** Whether somebody holds a lock through the descriptor (fs/locks.c, show_fd_locks). */
export function hasFileLock(details: readonly string[]): boolean {
  return details.some((line) => line.startsWith('lock:'));
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
