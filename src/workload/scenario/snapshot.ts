import { type MapsEntry, PAGEMAP_HIGH } from '../../procfs/index.ts';
import { processOf, type ScenarioMachine } from './machine.ts';
import { ARENA_PAGES, ARENA_START_PAGE, type Subject } from './subject.ts';

const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [PAGEMAP_HIGH.present, 'P'],
  [PAGEMAP_HIGH.swapped, 'W'],
  [PAGEMAP_HIGH.file, 'F'],
  [PAGEMAP_HIGH.guard, 'G'],
  [PAGEMAP_HIGH.uffdWriteProtected, 'U'],
  [PAGEMAP_HIGH.exclusive, 'X'],
  [PAGEMAP_HIGH.softDirty, 'D'],
];
const SHOWN_FLAGS = FLAG_LETTERS.reduce((all, [bit]) => (all | bit) >>> 0, 0);
const CHUNK_PAGES = 4096;
const NAME_LENGTH = 40;

/** Prints the state of a subject's arena, or of its heap, as smaps and pagemap tell it. */
export function snapshot(machine: ScenarioMachine, subject: Subject, heap: boolean): void {
  const process = processOf(machine, subject);
  const pagemap = process?.openPagemap();
  if (process === undefined || pagemap === undefined || typeof pagemap === 'number') {
    machine.print(`${subject.name} ! gone`);
    return;
  }
  const shown = process.vmas().filter((vma) => (heap ? inHeap(subject, vma) : inArena(vma)));
  if (shown.length === 0) machine.print(`${subject.name} empty`);
  for (const vma of shown) {
    const origin = heap ? subject.heapPage : ARENA_START_PAGE;
    const from = Math.max(vma.startPage, heap ? origin : 0);
    const prefix = heap ? 'H' : '';
    const below = vma.startPage < from ? '<' : '';
    const range = `${prefix}${below}${from - origin}-${vma.endPage - origin - 1}`;
    const dirty = vma.flags.includes('sd') ? 'sd' : '--';
    const name = heap ? '[heap]' : mappingName(vma);
    machine.print(`${subject.name} vma ${range} ${permissions(vma)} ${dirty} ${name}`);
    printPages(machine, subject, from, vma.endPage, (first, last, letters) => {
      machine.print(`${subject.name} pg ${prefix}${first - origin}-${last - origin} ${letters}`);
    });
  }
}

function inArena(vma: MapsEntry): boolean {
  return vma.startPage >= ARENA_START_PAGE && vma.startPage < ARENA_START_PAGE + ARENA_PAGES;
}

function inHeap(subject: Subject, vma: MapsEntry): boolean {
  return vma.endPage > subject.heapPage && vma.pathname === '[heap]';
}

function permissions(vma: MapsEntry): string {
  const letter = (on: boolean, is: string) => (on ? is : '-');
  return `${letter(vma.read, 'r')}${letter(vma.write, 'w')}${letter(vma.execute, 'x')}${vma.shared ? 's' : 'p'}`;
}

/** The name, with the offset where one means something. */
function mappingName(vma: MapsEntry): string {
  const name = shortName(vma.pathname.replace(' (deleted)', ''));
  return name === 'anon' || name === 'hugetlb' ? name : `${name}+${vma.offsetPages}`;
}

function shortName(path: string): string {
  if (path === '') return 'anon';
  if (path === '/dev/zero') return 'shanon';
  if (path === '/anon_hugepage') return 'hugetlb';
  const relative = path.startsWith(TMPFS_FOLDER) ? path.slice(TMPFS_FOLDER.length) : path;
  return (relative.startsWith('/mnt/') ? relative.slice(1) : relative).slice(0, NAME_LENGTH);
}

/** Where files without a path of their own lie. */
export const TMPFS_FOLDER = '/tmp/sd/';

/** Calls `print` for every run of pages with equal flags. */
function printPages(
  machine: ScenarioMachine,
  subject: Subject,
  startPage: number,
  endPage: number,
  print: (first: number, last: number, letters: string) => void,
): void {
  const process = processOf(machine, subject);
  if (process === undefined) return;
  const words = new Uint32Array(2 * Math.min(CHUNK_PAGES, endPage - startPage));
  let runStart = startPage;
  let runFlags = -1;
  for (let page = startPage; page < endPage; ) {
    const count = Math.min(words.length / 2, endPage - page);
    process.readPagemapWords(page, count, words);
    for (let index = 0; index < count; index++) {
      const flags = (words[2 * index + 1]! & SHOWN_FLAGS) >>> 0;
      if (flags === runFlags) continue;
      if (runFlags >= 0) print(runStart, page + index - 1, letters(runFlags));
      runStart = page + index;
      runFlags = flags;
    }
    page += count;
  }
  if (runFlags >= 0) print(runStart, endPage - 1, letters(runFlags));
}

function letters(flags: number): string {
  return FLAG_LETTERS.map(([bit, letter]) => ((flags & bit) !== 0 ? letter : '.')).join('');
}
