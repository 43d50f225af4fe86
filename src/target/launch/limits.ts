import type { ResourceLimit } from '../live-state-format.ts';
import type { Native } from '../native/calls.ts';
import { words } from '../rewrite/words.ts';

/** Names of RLIMIT_* by number (include/uapi/asm-generic/resource.h). */
const NAMES = [
  'CPU',
  'FSIZE',
  'DATA',
  'STACK',
  'CORE',
  'RSS',
  'NPROC',
  'NOFILE',
  'MEMLOCK',
  'AS',
  'LOCKS',
  'SIGPENDING',
  'MSGQUEUE',
  'NICE',
  'RTPRIO',
  'RTTIME',
] as const;

/** The limits that a process has and that are not as wanted, by asking the kernel. */
export function differingLimits(
  native: Native,
  pid: number,
  wanted: readonly ResourceLimit[],
): { readonly limit: ResourceLimit; readonly presentHard: bigint }[] {
  return wanted.flatMap((limit) => {
    const present = words(0, 0);
    const what = `prlimit ${limitName(limit.resource)} of process ${pid}`;
    native.call(what, 'prlimit64', pid, limit.resource, 0, native.addressOf(present));
    const view = new DataView(present.buffer);
    const [soft, hard] = [view.getBigUint64(0, true), view.getBigUint64(8, true)];
    if (soft === BigInt(limit.soft) && hard === BigInt(limit.hard)) return [];
    return [{ limit, presentHard: hard }];
  });
}

/** `NOFILE` for 7. */
export function limitName(resource: number): string {
  return NAMES[resource] ?? String(resource);
}
