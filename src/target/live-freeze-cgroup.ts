import { readFileSync, writeFileSync } from 'node:fs';
import { TargetError } from '../core/index.ts';
import { procError, readProcText } from './live-files.ts';
import type { Freezer, StopRequest } from './live-freezer.ts';
import { Guard } from './live-guard.ts';
import { activityOf, requireSameActivity, waitUntilStill } from './live-stillness.ts';
import { requireLeaders, type TreeMember, type TreeWalk } from './live-tree.ts';

/**
 * The cgroup v2 freezer: neither the target nor its parent can tell, and a SIGCONT from elsewhere does not end it. It
 * stops every process in the cgroup and below it, whether part of the target or not.
 */
export class CgroupFreezer implements Freezer {
  readonly kind = 'cgroup';
  readonly hold = undefined;
  readonly #cgroup: string;
  #guard: Guard | undefined;
  #members: readonly TreeMember[] = [];
  #activity = '';
  /** Whether it was frozen before we came. */
  #wasFrozen = false;
  #frozen = false;

  /** @param cgroup its directory */
  constructor(cgroup: string) {
    this.#cgroup = cgroup;
  }

  async prepare(members: readonly TreeMember[]): Promise<void> {
    this.#requireInside(members);
    this.#wasFrozen = readFileSync(`${this.#cgroup}/cgroup.freeze`, 'latin1').trim() === '1';
    if (!this.#wasFrozen) this.#guard ??= await Guard.start(members[0]!.pid, this.#cgroup);
  }

  async stop(walk: TreeWalk, request: StopRequest): Promise<readonly TreeMember[]> {
    const [root] = walk.next();
    this.#frozen = true;
    try {
      if (!this.#wasFrozen) this.#write('1');
      await waitUntilStill(root!.pid, request, () => this.#isFrozen());
      for (let count = 0; walk.members.length > count; walk.next()) count = walk.members.length;
      this.#requireInside(walk.members);
      requireLeaders(walk.members);
    } catch (error) {
      this.resume();
      throw error;
    }
    this.#members = walk.members;
    this.#activity = activityOf(this.#members);
    return this.#members;
  }

  verify(): void {
    requireSameActivity(this.#members, this.#activity);
  }

  resume(): void {
    const wasOurs = this.#frozen && !this.#wasFrozen;
    this.#frozen = false;
    try {
      if (wasOurs) this.#write('0');
    } finally {
      this.#guard?.dismiss();
      this.#guard = undefined;
    }
  }

  /** Sends the guard home: the cgroup stays frozen whoever dies. */
  async keepStopped(): Promise<void> {
    await this.#guard?.retire();
    this.#guard = undefined;
  }

  async abandon(): Promise<void> {
    this.#frozen = false;
    await this.#guard?.retire();
    this.#guard = undefined;
  }

  #isFrozen(): boolean {
    return /^frozen 1$/m.test(readFileSync(`${this.#cgroup}/cgroup.events`, 'latin1'));
  }

  #requireInside(members: readonly TreeMember[]): void {
    for (const { pid } of members) {
      const cgroup = cgroupOf(pid);
      if (cgroup === this.#cgroup || cgroup?.startsWith(`${this.#cgroup}/`)) continue;
      throw new TargetError(`process ${pid} is not in the cgroup of the root of its tree`, {
        hint: 'the cgroup freezer stops one cgroup; ptrace stops a whole tree',
        data: { pid, cgroup: this.#cgroup },
      });
    }
  }

  #write(value: string): void {
    try {
      writeFileSync(`${this.#cgroup}/cgroup.freeze`, value);
    } catch (error) {
      throw procError(error, this.#members[0]?.pid ?? 0, 'freeze the cgroup');
    }
  }
}

/** In mountinfo: ids, device, root within the file system, mount point, options, dash, file system type. */
const MOUNT_OF_CGROUPS = /^\d+ \d+ \S+ \/ (\S+) .*- cgroup2 /m;

/**
 * The directory of the cgroup v2 of a process; undefined if there is none, if it is the root, or if it cannot be
 * frozen (no such file before Linux 5.2, no permission).
 */
export function cgroupOf(pid: number): string | undefined {
  const path = /^0::(\/.+)$/m.exec(readProcText(pid, 'cgroup'))?.[1];
  const mountPoint = MOUNT_OF_CGROUPS.exec(readFileSync('/proc/self/mountinfo', 'latin1'))?.[1];
  if (path === undefined || mountPoint === undefined) return undefined;
  const directory = mountPoint + path;
  try {
    readFileSync(`${directory}/cgroup.freeze`);
    return directory;
  } catch {
    return undefined;
  }
}

/** Whether freezing the cgroup stops these processes and no others. */
export function holdsExactly(cgroup: string, members: readonly TreeMember[]): boolean {
  const inside = readFileSync(`${cgroup}/cgroup.procs`, 'latin1').split('\n').filter(Boolean).map(Number);
  const below = /^nr_descendants (\d+)$/m.exec(readFileSync(`${cgroup}/cgroup.stat`, 'latin1'))?.[1];
  const pids = new Set(members.map(({ pid }) => pid));
  return below === '0' && inside.length === pids.size && inside.every((pid) => pids.has(pid));
}
