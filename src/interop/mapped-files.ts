import type { BigIntStats } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { PAGE_SIZE } from '../core/index.ts';
import type { StoredVma } from '../image/index.ts';
import { decideMapping, type KnownFile } from '../target/index.ts';
import { readBuildId } from './build-id.ts';
import type { AbsentPages } from './core-layout.ts';

/**
 * How a mapped file on this disk relates to the one that was mapped. `touched`: same inode and no later contents by its
 * own account, but something about it has changed. `unknown`: another device number, which overlay file systems show.
 */
export type FileStanding = 'same' | 'touched' | 'changed' | 'missing' | 'unknown';

const ELF_MAGIC = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46);

/** Whether a name in maps is that of a file that could still be there. */
export function hasFile(vma: StoredVma): boolean {
  return vma.inode !== 0 && vma.pathname.startsWith('/') && !vma.pathname.endsWith(' (deleted)');
}

/** What the pages of a mapping are that a checkpoint does not hold. */
export function absentPagesOf(vma: StoredVma): AbsentPages {
  const { rule } = decideMapping(vma);
  if (rule === 'existing' || rule === 'object' || rule === 'untracked') return 'zeros';
  if (rule === 'every' || !hasFile(vma)) return 'nowhere';
  return rule === 'none' && isDevice(vma) ? 'nowhere' : 'file';
}

function isDevice({ pathname, flags }: StoredVma): boolean {
  return flags.includes('pf') || flags.includes('io') || /^\/dev\/(?!shm\/|hugepages\/)/.test(pathname);
}

/** Compares a file with what lies at its path now, by what CRIU has recorded of it. */
export async function standingOfKnown({ path, sizeBytes, buildId }: KnownFile): Promise<FileStanding> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return 'missing';
  if (buildId === null) return found.size === sizeBytes ? 'unknown' : 'changed';
  return (await readBuildId(path)) === buildId ? 'same' : 'changed';
}

/** Compares the file of a mapping with what lies at its path now. */
export async function standingOf(vma: StoredVma, takenMilliseconds: number): Promise<FileStanding> {
  let found: BigIntStats;
  try {
    found = await stat(vma.pathname, { bigint: true });
  } catch {
    return 'missing';
  }
  if (Number(found.mtimeNs / 1_000_000n) > takenMilliseconds) return 'changed';
  if (!sameDevice(vma, found.dev)) return 'unknown';
  if (Number(found.ino) !== vma.inode) return 'changed';
  // Nobody can set the time of an inode's last change, so this one proves that the contents are the same.
  return Number(found.ctimeNs / 1_000_000n) > takenMilliseconds ? 'touched' : 'same';
}

/** Splits a device number as the kernel does for stat (include/linux/kdev_t.h, new_encode_dev, and its wider form). */
function sameDevice(vma: StoredVma, device: bigint): boolean {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return Number(major) === vma.deviceMajor && Number(minor) === vma.deviceMinor;
}

/**
 * The first page of a program or library, which holds its headers and mostly its build ID: debuggers recognise the
 * file by them, so the kernel puts them into cores too. Undefined if the file is no ELF file.
 */
export async function readElfHeaderPage(path: string): Promise<Uint8Array | undefined> {
  const page = new Uint8Array(PAGE_SIZE);
  const file = await open(path).catch(() => undefined);
  if (file === undefined) return undefined;
  try {
    await file.read(page, 0, PAGE_SIZE, 0);
  } catch {
    return undefined;
  } finally {
    await file.close();
  }
  return ELF_MAGIC.every((byte, index) => page[index] === byte) ? page : undefined;
}
