import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type Feature, MissingError, needsCapability, reasonOf, tryFeature } from './feature.ts';
import { requireBytes } from './feature-process.ts';
import type { Trial } from './feature-trial.ts';
import { hasErrno } from './native/tracee.ts';

const LAST_PID = '/proc/sys/kernel/ns_last_pid';
const RESTORE_RIGHTS = needsCapability('CAP_CHECKPOINT_RESTORE');

/** What the kernel and the programs of this machine offer beside looking into processes. */
export async function probeMachineFeatures(trial: Trial): Promise<Feature[]> {
  return [
    await tryFeature(
      'cgroup-freezer',
      'cgroup v2 freezer',
      {
        EACCES:
          'run ckpt as root, or have the cgroup delegated to this user (systemd-run --user -p Delegate=yes)',
        EPERM:
          'run ckpt as root, or have the cgroup delegated to this user (systemd-run --user -p Delegate=yes)',
        EROFS: 'mount /sys/fs/cgroup writable in this container',
        otherwise: 'Linux 5.2 or later with a cgroup2 file system mounted',
      },
      () => freezeByCgroup(trial),
    ),
    await tryFeature('page-flags', 'kpageflags', { otherwise: needsCapability('CAP_SYS_ADMIN') }, () => {
      requireBytes('/proc/kpageflags', 0, 8);
      return '/proc/kpageflags was read';
    }),
    await tryFeature(
      'set-tid',
      'processes with chosen PIDs',
      { EPERM: RESTORE_RIGHTS, ENOSYS: 'Linux 5.5 or later; container sandboxes may forbid clone3' },
      () => chooseTid(trial),
    ),
    await tryFeature('last-pid', 'ns_last_pid', { otherwise: RESTORE_RIGHTS }, () => {
      // Anybody may open it. What it says already is written, which changes nothing.
      writeFileSync(LAST_PID, readFileSync(LAST_PID, 'latin1'));
      return `${LAST_PID} may be written`;
    }),
    await tryFeature(
      'set-mm-map',
      'PR_SET_MM_MAP',
      { EPERM: RESTORE_RIGHTS, EINVAL: 'a kernel built with CONFIG_CHECKPOINT_RESTORE=y' },
      () => setMemoryMap(trial),
    ),
    await tryFeature('gdb', 'gdb', { otherwise: "install gdb (Debian: 'apt install gdb')" }, () =>
      firstLine('gdb', '--version'),
    ),
    await tryFeature('criu', 'criu', { ENOENT: 'install criu, if wanted' }, tryCriu),
  ];
}

/** In mountinfo: ids, device, root within the file system, mount point, options, dash, file system type. */
const MOUNT_OF_CGROUPS = /^\d+ \d+ \S+ \/ (\S+) .*- cgroup2 /m;

/** Where the cgroup v2 file system is mounted; undefined if it is not. */
export function cgroupMountPoint(): string | undefined {
  return MOUNT_OF_CGROUPS.exec(readFileSync('/proc/self/mountinfo', 'latin1'))?.[1];
}

/** Moves a process of ours into a new cgroup, freezes and thaws it there, and takes both away. */
async function freezeByCgroup(trial: Trial): Promise<string> {
  const mountPoint = cgroupMountPoint();
  if (mountPoint === undefined) throw new MissingError('no cgroup2 file system is mounted');
  const own = /^0::(\/.*)$/m.exec(readFileSync('/proc/self/cgroup', 'latin1'))?.[1] ?? '/';
  const home = `${mountPoint}${own === '/' ? '' : own}`;
  const directory = `${home}/ckpt-check-${process.pid}`;
  const { pid } = trial.specimen();
  mkdirSync(directory);
  try {
    writeFileSync(`${directory}/cgroup.procs`, `${pid}`);
    writeFileSync(`${directory}/cgroup.freeze`, '1');
    await untilFrozen(directory);
    writeFileSync(`${directory}/cgroup.freeze`, '0');
  } finally {
    writeFileSync(`${home}/cgroup.procs`, `${pid}`);
    rmdirSync(directory);
  }
  await trial.specimen().echo();
  return 'a process was frozen and thawed in a cgroup of its own';
}

const FREEZE_PATIENCE_MS = 2000;

async function untilFrozen(directory: string): Promise<void> {
  const deadline = performance.now() + FREEZE_PATIENCE_MS;
  while (!/^frozen 1$/m.test(readFileSync(`${directory}/cgroup.events`, 'latin1'))) {
    if (performance.now() > deadline) throw new MissingError('a frozen cgroup did not come to rest');
    await delay(1);
  }
}

/** CLONE_VM, so that a call that is bound to fail copies nothing before it does. */
const CLONE_VM = 0x100n;
const SIGCHLD = 17n;

/**
 * Asks for a process that has the PID of ours. The kernel looks at the right to choose a PID before it finds out that
 * this one is taken, so EEXIST means that we may, and nothing is made in either case (alloc_pid, kernel/pid.c).
 */
function chooseTid(trial: Trial): string {
  const native = trial.native();
  const tids = Int32Array.of(process.pid);
  // struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, its size, cgroup
  const words = new BigUint64Array(11);
  words[0] = CLONE_VM;
  words[4] = SIGCHLD;
  words[8] = native.addressOf(new Uint8Array(tids.buffer));
  words[9] = 1n;
  const bytes = new Uint8Array(words.buffer);
  expectErrno('EEXIST', () =>
    native.call('clone3 with set_tid', 'clone3', native.addressOf(bytes), bytes.length),
  );
  return 'clone3 would make a process with a chosen PID';
}

const PR_SET_MM = 35;
const PR_SET_MM_MAP = 14;
/** No descriptor has this number. */
const NO_DESCRIPTOR = 0x7fffffff;

/**
 * Hands in our own values and a descriptor for the executable that is not open. The kernel looks at the values, then
 * at the right, then at the descriptor: EBADF means that we may, and nothing is changed (prctl_set_mm_map, kernel/sys.c).
 */
function setMemoryMap(trial: Trial): string {
  const native = trial.native();
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => BigInt(fields[number - 3] ?? 0);
  const brk = BigInt(native.call('brk', 'brk', 0));
  // struct prctl_mm_map: code, data, brk, stack, arguments, environment, auxv, its size and the descriptor
  const words = BigUint64Array.of(
    ...[field(26), field(27), field(45), field(46), field(47), brk, field(28)],
    ...[field(48), field(49), field(50), field(51), 0n, BigInt(NO_DESCRIPTOR) << 32n],
  );
  const bytes = new Uint8Array(words.buffer);
  expectErrno('EBADF', () =>
    native.call(
      'prctl PR_SET_MM_MAP',
      'prctl',
      PR_SET_MM,
      PR_SET_MM_MAP,
      native.addressOf(bytes),
      bytes.length,
      0,
    ),
  );
  return 'the fields of an address space may be set';
}

/** Makes a call that has to fail. @throws whatever it fails with, if that is another errno */
function expectErrno(errno: string, call: () => void): void {
  try {
    call();
  } catch (error) {
    if (hasErrno(error, errno)) return;
    throw error;
  }
  throw new MissingError(`a call that had to fail with ${errno} did not`);
}

const PROGRAM_PATIENCE_MS = 10_000;

function firstLine(program: string, ...args: string[]): string {
  const output = execFileSync(program, args, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: PROGRAM_PATIENCE_MS,
  });
  return output.split('\n')[0]!.trim();
}

/** The `criu check` of this machine: whether CRIU would take over what ckpt does not do. */
function tryCriu(): string {
  const version = firstLine('criu', '--version').replace(/^Version: /, 'CRIU ');
  try {
    firstLine('criu', 'check');
  } catch (error) {
    throw new MissingError(`${version} is installed, but 'criu check' fails: ${criuReason(error)}`);
  }
  return version;
}

/** The first complaint that says something. */
function criuReason(error: unknown): string {
  const output = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
  const complaints = [...output.matchAll(/Error \([^)]*\): (.*)/g)].map(([, text]) => text!);
  return complaints.find((text) => !text.startsWith('exited')) ?? reasonOf(error);
}
