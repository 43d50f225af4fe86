import { formatPageAddress, PAGE_SIZE } from '../../core/index.ts';
import { isDeleted, isFixedSpecial, isMovableSpecial, whyNotAgain } from '../rewrite/mapping-kinds.ts';
import type { Vma } from '../view.ts';
import type { DescriptionRecipe, LaunchObstacle, LaunchSource } from './plan-types.ts';

const READ_ONLY = 0;
const READ_WRITE = 2;
const O_LARGEFILE = 0o100000;

/** What the mappings of all processes are mapped from. */
export interface SpacePlan {
  readonly recipes: readonly DescriptionRecipe[];
  /** Index in `recipes` by `sourceKey`. */
  readonly sources: ReadonlyMap<string, number>;
  readonly obstacles: readonly LaunchObstacle[];
}

/** Decides what each mapping is mapped from: a file, opened once for all, or memory that processes share. */
export function planSpace(processes: readonly LaunchSource[]): SpacePlan {
  const recipes: DescriptionRecipe[] = [];
  const sources = new Map<string, number>();
  const obstacles: LaunchObstacle[] = [];
  const memoryBytes = sizesOfSharedMemory(processes);
  for (const { state, vmas } of processes) {
    for (const vma of vmas) {
      if (isMovableSpecial(vma) || isFixedSpecial(vma)) continue;
      const problem = whyNotAgain(vma) ?? whyNotNew(vma);
      if (problem !== undefined) {
        const message = `${problem} (${formatPageAddress(vma.startPage)})`;
        obstacles.push({ pid: state.pid, message, forcible: false });
        continue;
      }
      const key = sourceKey(vma);
      if (key === undefined || sources.has(key)) continue;
      sources.set(key, recipes.length);
      recipes.push(
        isSharedMemory(vma)
          ? { kind: 'memory', bytes: memoryBytes.get(key) ?? 0 }
          : { kind: 'open', path: filePath(vma), flags: accessFor(vma) | O_LARGEFILE, position: 0n },
      );
    }
  }
  return { recipes, sources, obstacles };
}

/** Equal for mappings that can be mapped from one descriptor; undefined for anonymous memory. */
export function sourceKey(vma: Vma): string | undefined {
  if (vma.inode === 0) return undefined;
  const { deviceMajor, deviceMinor, inode } = vma;
  if (isSharedMemory(vma)) return `memory ${deviceMajor}:${deviceMinor} ${inode}`;
  return `file ${accessFor(vma)} ${filePath(vma)}`;
}

/** Shared anonymous memory, which the kernel calls a deleted /dev/zero. */
export function isSharedMemory({ pathname, shared }: Vma): boolean {
  return shared && (pathname === '/dev/zero (deleted)' || pathname.startsWith('[anon_shmem:'));
}

/** The path of a mapped file, without the kernel's escapes (fs/seq_file.c: only newlines are escaped in maps). */
export function filePath({ pathname }: Vma): string {
  return pathname.replaceAll('\\012', '\n');
}

function accessFor(vma: Vma): number {
  if (!vma.shared) return READ_ONLY;
  return vma.write || vma.flags.includes('mw') ? READ_WRITE : READ_ONLY;
}

function whyNotNew(vma: Vma): string | undefined {
  const { pathname, flags } = vma;
  if (flags.includes('sl')) return `sealed memory ${pathname} cannot be made ready before it is sealed`;
  if (pathname.startsWith('/memfd:')) return `the memory file ${pathname} is gone with the process`;
  if (vma.inode !== 0 && isDeleted(vma) && !isSharedMemory(vma)) {
    return `the mapped file ${pathname} has been deleted`;
  }
  return undefined;
}

function sizesOfSharedMemory(processes: readonly LaunchSource[]): Map<string, number> {
  const sizes = new Map<string, number>();
  for (const vma of processes.flatMap(({ vmas }) => vmas)) {
    const key = sourceKey(vma);
    if (key === undefined || !isSharedMemory(vma)) continue;
    const bytes = (vma.offsetPages + vma.endPage - vma.startPage) * PAGE_SIZE;
    sizes.set(key, Math.max(sizes.get(key) ?? 0, bytes));
  }
  return sizes;
}
