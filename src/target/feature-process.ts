import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { PAGE_SIZE } from '../core/index.ts';
import { parseMaps } from '../procfs/index.ts';
import { type Feature, MissingError, needsCapability, tryFeature } from './feature.ts';
import type { Trial } from './feature-trial.ts';

const RIGHTS = needsCapability('CAP_SYS_PTRACE');
const CHECKPOINT_KERNEL = 'a kernel built with CONFIG_CHECKPOINT_RESTORE=y';

/** What /proc and the kernel tell about a process. */
export function probeProcessAccess(trial: Trial): Promise<Feature[]> {
  return Promise.all([
    tryFeature('process-memory', 'memory of processes', { otherwise: RIGHTS }, () => readMemory(trial)),
    tryFeature('process-vm-readv', 'process_vm_readv', { otherwise: RIGHTS }, () => readDirectly(trial)),
    tryFeature('pidfd', 'pidfd_getfd', { ENOSYS: 'Linux 5.6 or later', otherwise: RIGHTS }, () =>
      shareDescriptor(trial),
    ),
    tryFeature('kcmp', 'kcmp', { ENOSYS: 'a kernel built with CONFIG_KCMP=y', otherwise: RIGHTS }, () =>
      compareDescriptors(trial),
    ),
    tryFeature(
      'children',
      'list of children',
      { otherwise: 'a kernel built with CONFIG_PROC_CHILDREN=y' },
      () => listChildren(trial),
    ),
    tryFeature('timers', 'list of timers', { otherwise: CHECKPOINT_KERNEL }, () => readTimers(trial)),
    tryFeature(
      'map-files',
      'map_files',
      {
        EPERM: needsCapability('CAP_CHECKPOINT_RESTORE'),
        ENOENT: CHECKPOINT_KERNEL,
      },
      () => openMappedFile(trial),
    ),
  ]);
}

function readMemory(trial: Trial): string {
  const { pid } = trial.specimen();
  const [mapping] = parseMaps(readFileSync(`/proc/${pid}/maps`, 'latin1'));
  if (mapping === undefined) throw new MissingError('maps is empty');
  requireBytes(`/proc/${pid}/pagemap`, mapping.startPage * 8, 8);
  requireBytes(`/proc/${pid}/mem`, mapping.startPage * PAGE_SIZE, PAGE_SIZE);
  return 'maps, pagemap and mem of a process were read';
}

/** @throws MissingError unless all the bytes can be read */
export function requireBytes(path: string, position: number, length: number): void {
  const descriptor = openSync(path, 'r');
  try {
    const bytes = readSync(descriptor, new Uint8Array(length), 0, length, position);
    if (bytes !== length) throw new MissingError(`${path} has no bytes at ${position}`);
  } finally {
    closeSync(descriptor);
  }
}

function readDirectly(trial: Trial): string {
  const [native, { pid }] = [trial.native(), trial.specimen()];
  const [mapping] = parseMaps(readFileSync(`/proc/${pid}/maps`, 'latin1'));
  const bytes = native.readMemory(
    pid,
    BigInt((mapping?.startPage ?? 0) * PAGE_SIZE),
    new Uint8Array(PAGE_SIZE),
  );
  if (bytes !== PAGE_SIZE) throw new MissingError(`${bytes} bytes of a page were read`);
  return 'a page of a process was read';
}

function shareDescriptor(trial: Trial): string {
  const native = trial.native();
  const pidfd = native.pidfdOpen(trial.specimen().pid);
  try {
    closeSync(native.pidfdGetfd(pidfd, 1));
  } finally {
    closeSync(pidfd);
  }
  return 'a descriptor of a process was taken over';
}

function compareDescriptors(trial: Trial): string {
  const [native, { pid }] = [trial.native(), trial.specimen()];
  if (!native.sameFile(pid, 1, pid, 1) || native.sameFile(pid, 0, pid, 2)) {
    throw new MissingError('it cannot tell equal descriptors from others');
  }
  return 'descriptors of a process were told apart';
}

function listChildren(trial: Trial): string {
  const { pid, parentPid } = trial.specimen();
  const children = readFileSync(`/proc/${parentPid}/task/${parentPid}/children`, 'latin1');
  if (!children.split(' ').includes(`${pid}`)) throw new MissingError('a child that exists is not listed');
  return '/proc/PID/task/TID/children names a child';
}

function readTimers(trial: Trial): string {
  readFileSync(`/proc/${trial.specimen().pid}/timers`);
  return '/proc/PID/timers is there';
}

function openMappedFile(trial: Trial): string {
  const directory = `/proc/${trial.specimen().pid}/map_files`;
  const [name] = readdirSync(directory);
  if (name === undefined) throw new MissingError('map_files is empty');
  closeSync(openSync(`${directory}/${name}`, 'r'));
  return 'a mapped file was opened by its address';
}
