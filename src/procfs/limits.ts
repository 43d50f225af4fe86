/** A resource limit of a process, by its RLIMIT_* number. */
export interface ResourceLimits {
  readonly resource: number;
  readonly soft: bigint;
  readonly hard: bigint;
}

/** RLIM_INFINITY of 64-bit architectures. */
export const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/** Names in /proc/PID/limits at the place of their RLIMIT_* number (fs/proc/base.c, lnames). */
const NAMES: readonly string[] = [
  'Max cpu time',
  'Max file size',
  'Max data size',
  'Max stack size',
  'Max core file size',
  'Max resident set',
  'Max processes',
  'Max open files',
  'Max locked memory',
  'Max address space',
  'Max file locks',
  'Max pending signals',
  'Max msgqueue size',
  'Max nice priority',
  'Max realtime priority',
  'Max realtime timeout',
];

/** Parses /proc/PID/limits; lines of resources that are not known are left out. */
export function parseLimits(text: string): ResourceLimits[] {
  const limits: ResourceLimits[] = [];
  for (const line of text.split('\n')) {
    const match = /^(.+?) {2,}(unlimited|\d+) +(unlimited|\d+)\b/.exec(line);
    const resource = match === null ? -1 : NAMES.indexOf(match[1]!);
    if (match === null || resource < 0) continue;
    limits.push({ resource, soft: limitOf(match[2]!), hard: limitOf(match[3]!) });
  }
  return limits.sort((left, right) => left.resource - right.resource);
}

function limitOf(text: string): bigint {
  return text === 'unlimited' ? UNLIMITED : BigInt(text);
}
