import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync, writeSync } from 'node:fs';
import { PAGE_SIZE } from '../core/index.ts';
import { parseMaps } from '../procfs/index.ts';
import { type Feature, MissingError, needsCapability, tryFeature } from './feature.ts';
import type { Trial } from './feature-trial.ts';
import { errnoOf } from './live-files.ts';
import { REGISTER_SET, TRACE_OPTION } from './native/calls.ts';
import { TraceSession } from './native/trace-session.ts';
import type { Tracee } from './native/tracee.ts';

const TRACE_REMEDIES = {
  EPERM: needsCapability('CAP_SYS_PTRACE'),
  ENOSYS: 'a sandbox forbids ptrace: allow it (docker run --cap-add SYS_PTRACE)',
};

/** What can be done to processes by ptrace, and to which. */
export async function probeTracing(trial: Trial): Promise<Feature[]> {
  // One after the other: all do it to the same process.
  return [
    await tryFeature('ptrace', 'stop by ptrace', TRACE_REMEDIES, () => stopByPtrace(trial)),
    await tryFeature('inject', 'system calls inside', TRACE_REMEDIES, () => callInside(trial)),
    await tryFeature('other-processes', 'processes of others', scopeRemedy(), reachOthers),
    await tryFeature(
      'suspend-seccomp',
      'suspend seccomp filters',
      {
        EPERM: `${needsCapability('CAP_SYS_ADMIN')}, outside of any seccomp filter of its own`,
        EINVAL: 'a kernel built with CONFIG_CHECKPOINT_RESTORE=y',
      },
      () => suspendSeccomp(trial),
    ),
    await tryFeature('vector-state', 'vector registers', TRACE_REMEDIES, () => readVectorState(trial)),
    await tryFeature('rseq', 'restartable sequences', { otherwise: 'Linux 5.13 or later' }, () =>
      readRseq(trial),
    ),
    await tryFeature(
      'write-memory',
      'write read-only memory',
      { otherwise: 'boot with proc_mem.force_override=ptrace' },
      () => writeReadOnlyMemory(trial),
    ),
  ];
}

async function stopByPtrace(trial: Trial): Promise<string> {
  const registers = await whileStopped(trial, 0, (leader) => {
    trial.native().pendingSignals(leader.tid, true);
    leader.signalMask();
    return leader.getRegisterSet(REGISTER_SET.general).length / 8;
  });
  await trial.specimen().echo();
  return `a process was stopped, its ${registers} registers and its signals read, and it ran on`;
}

async function callInside(trial: Trial): Promise<string> {
  await whileStopped(trial, 0, ({ pid }, session) => {
    const injector = session.injector(pid);
    try {
      const result = injector.call('getpid');
      if (result !== BigInt(pid)) throw new MissingError(`getpid inside process ${pid} gave ${result}`);
    } finally {
      injector.close();
    }
  });
  await trial.specimen().echo();
  return 'a process was made to call getpid, and ran on';
}

const STOP_MICROSECONDS = 2_000_000;

/** Stops the process of the trial, and lets it go again whatever happens. */
async function whileStopped<Result>(
  trial: Trial,
  traceOptions: number,
  body: (leader: Tracee, session: TraceSession) => Result,
): Promise<Result> {
  const { pid } = trial.specimen();
  const options = { timeoutMicroseconds: STOP_MICROSECONDS, traceOptions };
  const session = await TraceSession.stop(trial.native(), () => [pid], options);
  try {
    const leader = session.process(pid).threads[0];
    if (leader === undefined) throw new MissingError('a process that was stopped shows no thread');
    return body(leader, session);
  } finally {
    session.detach();
  }
}

/** Opening a process's memory takes the same right as tracing it does, and changes nothing. */
async function reachOthers(): Promise<string> {
  const [own, foreign] = [reachesOwnUser(), await reachesOtherUsers()];
  if (own && foreign) return 'processes of any user may be traced';
  if (own) return `processes of this user (${process.getuid?.()}) may be traced, those of other users not`;
  const scope = ptraceScope();
  const why = scope === undefined || scope === '0' ? '' : ` (yama/ptrace_scope is ${scope})`;
  throw new MissingError(`only what ckpt itself has begun may be traced${why}`);
}

/** To a child its parent is as foreign as the other processes of this user: no descendant, which is what Yama asks. */
function reachesOwnUser(): boolean {
  try {
    execFileSync('/bin/sh', ['-c', `: 3<>/proc/${process.pid}/mem`], { stdio: 'ignore', timeout: 5000 });
    return true;
  } catch {
    return false;
  }
}

const NOBODY = 65534;

/** Root begins a process of another user to try it on, others look for one. */
async function reachesOtherUsers(): Promise<boolean> {
  if (process.getuid?.() !== 0) return processesOfOthers().some(mayReach);
  try {
    return await reachesUser(NOBODY);
  } catch {
    return false; // A root that may not become another user: without the rights, or of a small user namespace.
  }
}

/** @throws Error if no process of that user can be begun */
async function reachesUser(uid: number): Promise<boolean> {
  const child = spawn('/bin/sh', ['-c', 'read -r line'], {
    uid,
    gid: uid,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  child.stdin.on('error', () => {});
  try {
    await once(child, 'spawn');
    return mayReach(child.pid!);
  } finally {
    child.kill('SIGKILL');
  }
}

function processesOfOthers(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => statSync(`/proc/${name}`, { throwIfNoEntry: false })?.uid !== process.getuid?.())
    .map(Number);
}

function mayReach(pid: number): boolean {
  try {
    closeSync(openSync(`/proc/${pid}/mem`, 'r+'));
    return true;
  } catch {
    return false;
  }
}

/** Yama's restriction of ptrace; undefined where the kernel has no Yama. */
export function ptraceScope(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/yama/ptrace_scope', 'latin1').trim();
  } catch {
    return undefined;
  }
}

function scopeRemedy(): { readonly otherwise: string } {
  const scope = ptraceScope();
  if (scope === '3') return { otherwise: 'yama/ptrace_scope is 3, which only a reboot takes back' };
  const root = needsCapability('CAP_SYS_PTRACE');
  return { otherwise: scope === '1' ? `${root}, or: sysctl kernel.yama.ptrace_scope=0` : root };
}

async function suspendSeccomp(trial: Trial): Promise<string> {
  await whileStopped(trial, TRACE_OPTION.suspendSeccomp, () => {});
  return 'PTRACE_O_SUSPEND_SECCOMP was accepted';
}

/** Where the XSAVE area tells which parts the system has enabled (sw_reserved of arch/x86/include/uapi/asm/sigcontext.h). */
const XSAVE_FEATURES_OFFSET = 464;
/** Bits of XCR0 and what they stand for. */
const XSAVE_PARTS: readonly (readonly [bit: bigint, name: string])[] = [
  [1n << 1n, 'SSE'],
  [1n << 2n, 'AVX'],
  [1n << 3n, 'MPX'],
  [1n << 5n, 'AVX-512'],
  [1n << 9n, 'PKRU'],
  [1n << 11n, 'CET'],
  [1n << 18n, 'AMX'],
];

async function readVectorState(trial: Trial): Promise<string> {
  const isX86 = trial.native().architecture.name === 'x86_64';
  const bytes = await whileStopped(trial, 0, (leader) =>
    leader.getRegisterSet(isX86 ? REGISTER_SET.x86Extended : REGISTER_SET.floatingPoint),
  );
  if (!isX86) return `${bytes.length} bytes`;
  const enabled = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(XSAVE_FEATURES_OFFSET, true);
  const names = XSAVE_PARTS.filter(([bit]) => (enabled & bit) !== 0n).map(([, name]) => name);
  return `${bytes.length} bytes: ${names.join(', ')}`;
}

async function readRseq(trial: Trial): Promise<string> {
  const area = await whileStopped(trial, 0, ({ tid }) => trial.native().rseqConfiguration(tid));
  if (area === undefined) {
    throw new MissingError('the kernel does not tell the rseq area of a thread, or the C library has none');
  }
  return `the area of a thread is told: ${area.sizeBytes} bytes`;
}

/** Writes what is there already. The page becomes the process's own, and reads the same. */
async function writeReadOnlyMemory(trial: Trial): Promise<string> {
  const { pid } = trial.specimen();
  const mapping = parseMaps(readFileSync(`/proc/${pid}/maps`, 'latin1')).find(
    (entry) => entry.read && !entry.write && !entry.shared && entry.inode !== 0,
  );
  if (mapping === undefined) throw new MissingError('no read-only mapping to try it on');
  const write = () => rewriteWord(pid, mapping.startPage * PAGE_SIZE);
  try {
    write();
    return 'a read-only page was written through /proc/PID/mem';
  } catch (error) {
    if (errnoOf(error) !== 'EIO' && errnoOf(error) !== 'EACCES') throw error;
  }
  await whileStopped(trial, 0, write);
  return 'a read-only page was written through /proc/PID/mem, as it may be while traced';
}

function rewriteWord(pid: number, address: number): void {
  const bytes = new Uint8Array(8);
  const descriptor = openSync(`/proc/${pid}/mem`, 'r+');
  try {
    readSync(descriptor, bytes, 0, bytes.length, address);
    writeSync(descriptor, bytes, 0, bytes.length, address);
  } finally {
    closeSync(descriptor);
  }
}
