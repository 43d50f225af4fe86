import { closeSync, constants, fstatSync, openSync, readdirSync } from 'node:fs';
import { parseMaps } from '../../procfs/index.ts';
import { readProcText } from '../live-files.ts';
import type { OpenFile } from '../live-state-format.ts';
import type { Native } from '../native/calls.ts';
import type { Vma } from '../view.ts';
import { isDeleted, pathOf } from './mapping-kinds.ts';
import { zeroTerminated } from './words.ts';

const PAGE_BYTES = 4096;
const MFD_CLOEXEC = 1;
/** Memory without a file system that people see: it is gone when nobody has it. */
const MEMORY_OBJECT = /^\/(?:dev\/zero|memfd:)/;

/** Where the object behind a mapping may be found. */
export interface ObjectPlaces {
  readonly pid: number;
  /** What the process maps now. */
  readonly mappings: readonly Vma[];
  readonly files: readonly OpenFile[];
}

/**
 * Files and memory objects behind mappings that have to be made again, opened by us before anything is touched. An
 * object that is mapped or open somewhere is opened there, whatever became of its name.
 */
export class ObjectFiles {
  readonly #native: Native;
  readonly #descriptors = new Map<string, number>();
  readonly #replaced = new Set<string>();

  constructor(native: Native) {
    this.#native = native;
  }

  /**
   * Opens what is behind a mapping.
   * @returns why that is not possible, as a clause; undefined if it is
   */
  secure(vma: Vma, places: ObjectPlaces): string | undefined {
    if (vma.inode === 0 || this.#descriptors.has(keyOf(vma))) return undefined;
    const descriptor =
      firstOpen(vma, mappedAt(vma, places.pid, places.mappings)) ??
      firstOpen(vma, openAt(vma, places)) ??
      this.#byName(vma, places.pid) ??
      this.#ofMemory(vma);
    if (descriptor === undefined) {
      return isDeleted(vma)
        ? `the deleted file ${pathOf(vma)} is not to be had any more`
        : `${pathOf(vma)} is not the file any more that was mapped, or cannot be opened`;
    }
    this.#descriptors.set(keyOf(vma), descriptor);
    return undefined;
  }

  /** Our descriptor for a mapping that was secured. */
  descriptor(vma: Vma): number | undefined {
    return this.#descriptors.get(keyOf(vma));
  }

  /** Whether new memory stands for the object of this mapping, the old one being gone. */
  isReplaced(vma: Vma): boolean {
    return this.#replaced.has(objectOf(vma));
  }

  close(): void {
    for (const descriptor of this.#descriptors.values()) closeSync(descriptor);
    this.#descriptors.clear();
  }

  /** Its path, if the same inode is there. Devices are not compared: stacked file systems show others in maps. */
  #byName(vma: Vma, pid: number): number | undefined {
    if (MEMORY_OBJECT.test(vma.pathname) && isDeleted(vma)) return undefined;
    const descriptor = open(`/proc/${pid}/root${unescaped(pathOf(vma))}`, vma);
    if (descriptor === undefined) return undefined;
    if (fstatSync(descriptor).ino === vma.inode) return descriptor;
    closeSync(descriptor);
    return undefined;
  }

  /** Memory that another process still has, or new memory in its place if nobody can have seen it since. */
  #ofMemory(vma: Vma): number | undefined {
    if (!MEMORY_OBJECT.test(vma.pathname) || !isDeleted(vma)) return undefined;
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const found = firstOpen(vma, mappedAt(vma, Number(name), mappingsOf(Number(name))));
      if (found !== undefined) return found;
    }
    const name = zeroTerminated(/^\/memfd:(.*)$/.exec(pathOf(vma))?.[1] ?? 'shared');
    this.#replaced.add(objectOf(vma));
    return Number(
      this.#native.call('memfd_create', 'memfd_create', this.#native.addressOf(name), MFD_CLOEXEC),
    );
  }

  /** Sees to it that new memory is large enough for a mapping. */
  extend(vma: Vma): void {
    const descriptor = this.descriptor(vma);
    if (descriptor === undefined || !this.isReplaced(vma)) return;
    const needed = (vma.offsetPages + vma.endPage - vma.startPage) * PAGE_BYTES;
    if (fstatSync(descriptor).size >= needed) return;
    this.#native.call('ftruncate', 'ftruncate', descriptor, needed);
  }
}

function objectOf({ deviceMajor, deviceMinor, inode }: Vma): string {
  return `${deviceMajor}:${deviceMinor}:${inode}`;
}

function keyOf(vma: Vma): string {
  return `${objectOf(vma)} ${wantsWriting(vma)}`;
}

/** Whether the mapping needs a file that is open for writing. */
function wantsWriting(vma: Vma): boolean {
  return vma.shared && (vma.write || vma.flags.includes('mw'));
}

function mappedAt(vma: Vma, pid: number, mappings: readonly Pick<Vma, MapsFields>[]): string[] {
  const address = (page: number) => `${page.toString(16)}000`;
  return mappings
    .filter(
      ({ inode, deviceMajor, deviceMinor }) =>
        inode === vma.inode && deviceMajor === vma.deviceMajor && deviceMinor === vma.deviceMinor,
    )
    .map(({ startPage, endPage }) => `/proc/${pid}/map_files/${address(startPage)}-${address(endPage)}`);
}

type MapsFields = 'inode' | 'deviceMajor' | 'deviceMinor' | 'startPage' | 'endPage';

function openAt(vma: Vma, { pid, files }: ObjectPlaces): string[] {
  const device = `${vma.deviceMajor}:${vma.deviceMinor}`;
  return files
    .filter((file) => file.inode === String(vma.inode) && file.device === device)
    .map(({ descriptor }) => `/proc/${pid}/fd/${descriptor}`);
}

function mappingsOf(pid: number) {
  try {
    return parseMaps(readProcText(pid, 'maps'));
  } catch {
    return []; // It has ended, or is none of ours.
  }
}

function firstOpen(vma: Vma, paths: readonly string[]): number | undefined {
  for (const path of paths) {
    const descriptor = open(path, vma);
    if (descriptor !== undefined) return descriptor;
  }
  return undefined;
}

function open(path: string, vma: Vma): number | undefined {
  const modes = wantsWriting(vma) ? [constants.O_RDWR] : [constants.O_RDONLY];
  if (wantsWriting(vma) && !vma.write) modes.push(constants.O_RDONLY);
  for (const mode of modes) {
    try {
      return openSync(path, mode);
    } catch {
      // The next way, or the obstacle that the caller reports.
    }
  }
  return undefined;
}

/** maps prints a newline in a name as \012 (fs/seq_file.c). */
function unescaped(path: string): string {
  return path.replaceAll('\\012', '\n');
}
