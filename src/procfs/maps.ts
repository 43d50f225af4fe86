import { TargetError } from '../core/index.ts';

/** One line of /proc/PID/maps. `pathname` is empty for anonymous memory and keeps the kernel's own escapes. */
export interface MapsEntry {
  readonly startPage: number;
  /** Exclusive. */
  readonly endPage: number;
  readonly read: boolean;
  readonly write: boolean;
  readonly execute: boolean;
  readonly shared: boolean;
  /** Offset in the file, in pages. */
  readonly offsetPages: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly inode: number;
  readonly pathname: string;
}

const LINE =
  /^([0-9a-f]+)000-([0-9a-f]+)000 ([r-])([w-])([x-])([ps]) ([0-9a-f]+)000 ([0-9a-f]+):([0-9a-f]+) (\d+)(?: +(.*))?$/;
const PATH_COLUMN = 73;

/** Parses one line of maps; `undefined` if it is not one (smaps has other lines in between). */
export function parseMapsLine(line: string): MapsEntry | undefined {
  // Offset 0 and page 0 print as 00000000, which the pattern reads as 00000 followed by three zeros.
  const match = LINE.exec(line);
  if (match === null) return undefined;
  return {
    startPage: Number.parseInt(match[1]!, 16),
    endPage: Number.parseInt(match[2]!, 16),
    read: match[3] === 'r',
    write: match[4] === 'w',
    execute: match[5] === 'x',
    shared: match[6] === 's',
    offsetPages: Number.parseInt(match[7]!, 16),
    deviceMajor: Number.parseInt(match[8]!, 16),
    deviceMinor: Number.parseInt(match[9]!, 16),
    inode: Number(match[10]),
    pathname: match[11] ?? '',
  };
}

/**
 * Parses the whole of /proc/PID/maps.
 * @throws TargetError for a line that no kernel prints.
 */
export function parseMaps(text: string): MapsEntry[] {
  const entries: MapsEntry[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const entry = parseMapsLine(line);
    if (entry === undefined) throw new TargetError(`cannot parse this line of maps: ${JSON.stringify(line)}`);
    entries.push(entry);
  }
  return entries;
}

/** Prints a line as show_map_vma does (fs/proc/task_mmu.c): padded to column 73 before a name, no newline. */
export function formatMapsLine(entry: MapsEntry): string {
  const address = (page: number) => `${page.toString(16)}000`.padStart(8, '0');
  const flags =
    (entry.read ? 'r' : '-') +
    (entry.write ? 'w' : '-') +
    (entry.execute ? 'x' : '-') +
    (entry.shared ? 's' : 'p');
  const device = `${hexPair(entry.deviceMajor)}:${hexPair(entry.deviceMinor)}`;
  const head = `${address(entry.startPage)}-${address(entry.endPage)} ${flags} ${address(entry.offsetPages)} ${device} ${entry.inode} `;
  return entry.pathname === '' ? head : head.padEnd(PATH_COLUMN, ' ') + entry.pathname;
}

function hexPair(value: number): string {
  return value.toString(16).padStart(2, '0');
}
