import { readFileSync } from 'node:fs';
import { type MapsEntry, parseMaps, parseSmapsFlags, type SmapsEntry } from '../procfs/index.ts';
import { goneError, readProcText } from './live-files.ts';
import type { Vma } from './view.ts';

/**
 * The mappings of a live process. smaps tells their flags but walks every page table to count what nobody asked for,
 * so it is read before the freeze; inside it maps is read anew and takes over the flags of what was there before.
 * That is sound because no flag that ckpt looks at can change on a mapping that stays, except for `mg`, which matters
 * only while KSM is running: then smaps is read inside the freeze too.
 */
export class LiveVmas {
  readonly #pid: number;
  #known: SmapsEntry[] = [];

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Reads the flags of all mappings: slow on large processes. */
  refreshFlags(): void {
    this.#known = parseSmapsFlags(readProcText(this.#pid, 'smaps'));
  }

  /** @throws TargetError if the process is gone */
  read(): Vma[] {
    if (isKsmRunning()) this.refreshFlags();
    const entries = parseMaps(readProcText(this.#pid, 'maps'));
    // A process that has ended and was not waited for has an empty file.
    if (entries.length === 0) throw goneError(this.#pid);
    let index = 0;
    return entries.map((entry) => {
      while (index < this.#known.length && this.#known[index]!.endPage <= entry.startPage) index++;
      const known = this.#known[index];
      return { ...entry, flags: known !== undefined && isSameMapping(known, entry) ? known.flags : [] };
    });
  }
}

/** Whether `now` is `before`, perhaps grown, shrunk, split or with other permissions. */
function isSameMapping(before: MapsEntry, now: MapsEntry): boolean {
  return (
    before.startPage < now.endPage &&
    now.startPage < before.endPage &&
    before.shared === now.shared &&
    before.inode === now.inode &&
    before.deviceMajor === now.deviceMajor &&
    before.deviceMinor === now.deviceMinor &&
    before.pathname === now.pathname
  );
}

function isKsmRunning(): boolean {
  try {
    return readFileSync('/sys/kernel/mm/ksm/run', 'latin1').trim() !== '0';
  } catch {
    return false; // A kernel without KSM.
  }
}
