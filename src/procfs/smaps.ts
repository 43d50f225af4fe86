import { type MapsEntry, parseMapsLine } from './maps.ts';

/** A mapping with the two-letter codes of its VmFlags line. */
export interface SmapsEntry extends MapsEntry {
  readonly flags: readonly string[];
}

const FLAGS_LINE = '\nVmFlags: ';

/**
 * Takes the mappings and their flags from /proc/PID/smaps and skips the twenty lines of counts between them
 * unparsed. VmFlags is the last line of each mapping (fs/proc/task_mmu.c, show_smap); kernels before 3.8 have none,
 * and then the result is empty.
 */
export function parseSmapsFlags(text: string): SmapsEntry[] {
  const entries: SmapsEntry[] = [];
  let position = 0;
  while (position < text.length) {
    const flagsAt = text.indexOf(FLAGS_LINE, position);
    if (flagsAt < 0) break;
    const entry = parseMapsLine(text.slice(position, text.indexOf('\n', position)));
    const end = text.indexOf('\n', flagsAt + FLAGS_LINE.length);
    const lineEnd = end < 0 ? text.length : end;
    const flags = text.slice(flagsAt + FLAGS_LINE.length, lineEnd).trim();
    if (entry !== undefined) entries.push({ ...entry, flags: flags === '' ? [] : flags.split(' ') });
    position = lineEnd + 1;
  }
  return entries;
}
