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

const NOFILE = 7;

/** Lets a process have descriptors up to `highest`, as far as its own hard limit goes. */
export function allowDescriptors(native: Native, pid: number, highest: number): void {
  const present = words(0, 0);
  const view = new DataView(present.buffer);
  const what = `prlimit NOFILE of process ${pid}`;
  native.call(what, 'prlimit64', pid, NOFILE, 0, native.addressOf(present));
  const hard = view.getBigUint64(8, true);
  const needed = BigInt(highest) + 1n;
  if (view.getBigUint64(0, true) >= needed) return;
  const wanted = words(needed < hard ? needed : hard, hard);
  native.call(what, 'prlimit64', pid, NOFILE, native.addressOf(wanted), 0);
}
