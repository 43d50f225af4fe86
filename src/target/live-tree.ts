import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { TargetError } from '../core/index.ts';
import type { TaskStat } from '../procfs/index.ts';
import { goneError, hasEnded, isDeadState, readTaskStat, threadIds } from './live-files.ts';

/** A process of a target. */
export interface TreeMember {
  readonly pid: number;
  /** 0 for the root. */
  readonly parentPid: number;
  readonly stat: TaskStat;
}

/** How often the children of a process are listed until two listings agree. */
const MOST_LISTINGS = 100;

/**
 * Finds the processes of a tree while they are being stopped, from the root down: each `next` lists what the one
 * before did and the children of all that, so whoever stops what it lists has stopped every process before he learns
 * of its children. What stands still cannot fork, so two equal answers mean that nothing is missing. A parent waiting
 * in vfork, which cannot be stopped before its child has run exec, has it untouched until then.
 */
export class TreeWalk {
  readonly #rootPid: number;
  readonly #single: boolean;
  #members: readonly TreeMember[] = [];

  /** @param single whether the root alone is meant */
  constructor(rootPid: number, single: boolean) {
    this.#rootPid = rootPid;
    this.#single = single;
  }

  /** What the last `next` found: root first, parents before their children. */
  get members(): readonly TreeMember[] {
    return this.#members;
  }

  /** Begins at the root again, because everything runs again. */
  restart(): void {
    this.#members = [];
  }

  /** @throws TargetError if the root has ended */
  next(): readonly TreeMember[] {
    const settled = new Set(this.#members.map(({ pid }) => pid));
    const root = memberOf(this.#rootPid, 0);
    if (root === undefined) throw goneError(this.#rootPid);
    const members = [root];
    const children = this.#single ? () => [] : childLister();
    // Grows while it is walked: children come behind their parents.
    for (const { pid } of members) {
      if (!settled.has(pid)) continue;
      for (const child of children(pid)) {
        const member = memberOf(child, pid);
        if (member !== undefined) members.push(member);
      }
    }
    this.#members = members;
    return members;
  }
}

/**
 * Lists the tree as it is at about this moment: processes that begin or end meanwhile may be in it or not.
 * @throws TargetError if the root has ended
 */
export function readTree(rootPid: number, single: boolean): readonly TreeMember[] {
  const walk = new TreeWalk(rootPid, single);
  let count = 0;
  while (walk.next().length > count) count = walk.members.length;
  return walk.members;
}

/**
 * @throws TargetError for a process whose first thread has ended while others go on: nothing of it can be seen
 *   through its number
 */
export function requireLeaders(members: readonly TreeMember[]): void {
  for (const { pid, stat } of members) {
    if (!isDeadState(stat.state)) continue;
    throw new TargetError(`the main thread of process ${pid} (${stat.name}) has ended while others go on`, {
      hint: 'ckpt cannot see the memory of such a process; leave it out with --single, or try again if it is ending',
      data: { pid, passing: true },
    });
  }
}

/** What `look` finds; undefined if the process is not the root and has ended. */
export function unlessEnded<T>({ pid, parentPid }: TreeMember, look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    // On its way out a process loses its memory before it counts as ended.
    const isGone = error instanceof TargetError && error.data['gone'] === true;
    if (parentPid !== 0 && (isGone || hasEnded(pid))) return undefined;
    throw error;
  }
}

/** A process that has not ended; undefined otherwise. */
function memberOf(pid: number, parentPid: number): TreeMember | undefined {
  const stat = readTaskStat(pid);
  if (stat === undefined) return undefined;
  if (isDeadState(stat.state) && !hasLivingThread(pid)) return undefined;
  return { pid, parentPid, stat };
}

function hasLivingThread(pid: number): boolean {
  return threadIds(pid).some((id) => {
    const state = id === pid ? undefined : readTaskStat(pid, id)?.state;
    return state !== undefined && !isDeadState(state);
  });
}

type ChildLister = (pid: number) => readonly number[];

/** Lists children through the kernel's own lists, or by parents where it prints none (CONFIG_PROC_CHILDREN). */
function childLister(): ChildLister {
  return existsSync('/proc/thread-self/children') ? listedChildren : childrenByParent();
}

/** Children by the parents that all processes of the machine name, as of now. */
export function childrenByParent(): ChildLister {
  const byParent = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = readTaskStat(Number(name))?.parentPid;
    if (parent === undefined) continue;
    const siblings = byParent.get(parent);
    if (siblings === undefined) byParent.set(parent, [Number(name)]);
    else siblings.push(Number(name));
  }
  return (pid) => byParent.get(pid) ?? [];
}

/**
 * Children of all threads of a process. The kernel walks its list by position where a child that it has just printed
 * ends (fs/proc/array.c, get_children_pid), and may then pass over another: hence two equal listings.
 */
export function listedChildren(pid: number): readonly number[] {
  let last = childrenText(pid);
  for (let listing = 0; listing < MOST_LISTINGS; listing++) {
    const now = childrenText(pid);
    if (now === last) break;
    last = now;
  }
  return last.split(' ').filter(Boolean).map(Number);
}

function childrenText(pid: number): string {
  return threadIds(pid)
    .map((id) => {
      try {
        return readFileSync(`/proc/${pid}/task/${id}/children`, 'latin1');
      } catch {
        return ''; // The thread has ended: its children have passed to another thread, which the next listing shows.
      }
    })
    .join(' ');
}
