import { accessSync, closeSync, constants, openSync, readlinkSync, readSync } from 'node:fs';
import { parseMaps } from '../procfs/index.ts';
import { type Feature, MissingError, tryFeature } from './feature.ts';
import { cgroupMountPoint } from './feature-machine.ts';
import { ptraceScope } from './feature-trace.ts';
import { checkedStat } from './live-admission.ts';
import { readProcText, readTaskStat } from './live-files.ts';
import { maySuspendSeccomp, seccompMode } from './seccomp.ts';
import { descriptorLinks, trackingDescriptors } from './tracking-record.ts';
import { unseenWriters } from './unseen-writers.ts';
import { USERFAULTFD_LINK } from './userfaultfd.ts';

/** What the trials know of a process that is to be a target. */
export interface TargetFeatures {
  readonly pid: number;
  readonly name: string;
  readonly features: readonly Feature[];
}

/**
 * Looks whether a process can be a target, without stopping it or changing anything about it.
 * @throws UsageError, TargetError or UnsupportedError if there is no such process, or it never can be one
 */
export async function probeTarget(pid: number): Promise<TargetFeatures> {
  const { name } = checkedStat(pid);
  const features = await Promise.all([
    tryFeature('target-rights', 'rights', rightsRemedy(pid), () => openMemory(pid)),
    tryFeature('target-tracer', 'traced by nobody', {}, () => nobodyTraces(pid)),
    tryFeature('target-seccomp', 'seccomp', { otherwise: `run ckpt as root, or ${COMPARE}` }, () =>
      seccompOf(pid),
    ),
    tryFeature('target-bits', '64-bit program', { otherwise: RIGHTS }, () => is64Bit(pid)),
    tryFeature(
      'target-shadow-stack',
      'no shadow stack',
      { otherwise: 'start it without one: GLIBC_TUNABLES=glibc.cpu.x86_shstk=off' },
      () => hasNoShadowStack(pid),
    ),
    tryFeature('target-userfaultfd', 'no userfaultfd of its own', { EACCES: RIGHTS }, () =>
      usesNoUserfaultfd(pid),
    ),
    tryFeature('target-writers', 'no unseen writers', { EACCES: RIGHTS, otherwise: COMPARE }, () =>
      hasNoUnseenWriters(pid),
    ),
    tryFeature('target-cgroup', 'cgroup', {}, () => cgroupOf(pid)),
    tryFeature(
      'target-namespaces',
      'namespaces of ckpt',
      { EACCES: RIGHTS, otherwise: 'run ckpt in the same container' },
      () => sharesNamespaces(pid),
    ),
  ]);
  return { pid, name, features };
}

const COMPARE = 'use --tracker compare, which needs no calls inside the target and trusts no marks';
const RIGHTS = 'run ckpt as root, or as the same user as the target';

function rightsRemedy(pid: number): { readonly otherwise: string } {
  const uid = /^Uid:\s+(\d+)/m.exec(readProcText(pid, 'status'))?.[1];
  if (uid !== `${process.geteuid?.()}`) return { otherwise: `run ckpt as root, or as user ${uid}` };
  return {
    otherwise:
      ptraceScope() === '1'
        ? 'run ckpt as root, or: sysctl kernel.yama.ptrace_scope=0'
        : 'run ckpt as root: the process has rights that this user has not, or hides its memory (PR_SET_DUMPABLE)',
  };
}

function openMemory(pid: number): string {
  closeSync(openSync(`/proc/${pid}/mem`, 'r+'));
  closeSync(openSync(`/proc/${pid}/pagemap`, 'r'));
  return 'its memory may be read and written';
}

function nobodyTraces(pid: number): string {
  const tracer = Number(statusOf(pid, 'TracerPid'));
  if (tracer === 0) return 'no debugger holds it';
  const name = readTaskStat(tracer)?.name ?? 'unknown';
  throw new MissingError(`process ${tracer} (${name}) traces it, and only one can: end that first`);
}

function seccompOf(pid: number): string {
  const mode = seccompMode(pid);
  if (mode === 'none') return 'no mode or filter is set';
  if (mode === 'strict') throw new MissingError('it is in strict mode, which punishes calls made inside it');
  if (maySuspendSeccomp()) return 'it has a filter, which ckpt may suspend';
  throw new MissingError('it has a filter, which may punish calls made inside it');
}

/** A line of /proc/PID/status; empty if there is none. */
function statusOf(pid: number, field: string): string {
  const line = readProcText(pid, 'status')
    .split('\n')
    .find((text) => text.startsWith(`${field}:`));
  return line?.slice(field.length + 1).trim() ?? '';
}

/** EI_CLASS of an ELF header, and what it says for 64 bits. */
const CLASS_OFFSET = 4;
const CLASS_64 = 2;

function is64Bit(pid: number): string {
  const header = new Uint8Array(CLASS_OFFSET + 1);
  const descriptor = openSync(`/proc/${pid}/exe`, 'r');
  try {
    readSync(descriptor, header, 0, header.length, 0);
  } finally {
    closeSync(descriptor);
  }
  if (header[CLASS_OFFSET] !== CLASS_64) {
    throw new MissingError('it is a 32-bit program: its memory can be dumped, but no calls made inside it');
  }
  return `it is one: ${readlinkSync(`/proc/${pid}/exe`)}`;
}

function hasNoShadowStack(pid: number): string {
  if (/\bshstk\b/.test(statusOf(pid, 'x86_Thread_features'))) {
    throw new MissingError('it runs with a shadow stack, which forbids calls inside it');
  }
  return 'it has none';
}

function sharesNamespaces(pid: number): string {
  const names = ['pid', 'mnt', 'user', 'net', 'ipc'].filter(
    (name) => readlinkSync(`/proc/${pid}/ns/${name}`) !== readlinkSync(`/proc/self/ns/${name}`),
  );
  if (names.length > 0) throw new MissingError(`it lives in other namespaces: ${names.join(', ')}`);
  return 'it lives in the namespaces of ckpt';
}

function usesNoUserfaultfd(pid: number): string {
  const links = descriptorLinks(pid);
  const ours = new Set(trackingDescriptors(pid, links));
  const own = [...links].filter(([number, link]) => link === USERFAULTFD_LINK && !ours.has(number));
  if (own.length === 0)
    return ours.size === 0 ? 'it has none' : 'it has none but the one of ckpt, which tracks it';
  const numbers = own.map(([number]) => number).join(', ');
  throw new MissingError(`descriptor ${numbers} is one: what it watches is compared page by page`);
}

function hasNoUnseenWriters(pid: number): string {
  const vmas = parseMaps(readProcText(pid, 'maps')).map((entry) => ({ ...entry, flags: [] }));
  const problem = unseenWriters(pid, vmas, descriptorLinks(pid).values());
  if (problem !== undefined) throw new MissingError(problem);
  return 'no device or ring writes to its memory';
}

function cgroupOf(pid: number): string {
  const path = /^0::(\/.*)$/m.exec(readProcText(pid, 'cgroup'))?.[1];
  if (path === undefined) throw new MissingError('it is in no cgroup of version 2');
  if (path === '/') throw new MissingError('it is in the root cgroup, which cannot be frozen');
  const mountPoint = cgroupMountPoint();
  if (mountPoint === undefined) throw new MissingError('no cgroup2 file system is mounted');
  const file = `${mountPoint}${path}/cgroup.freeze`;
  accessSync(file, constants.W_OK);
  return `${file} may be written`;
}
