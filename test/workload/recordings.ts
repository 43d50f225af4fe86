/** One executed line of a recording and what was printed below it, runs of pages taken apart. */
interface Step {
  readonly command: string;
  readonly items: readonly string[];
}

const PAGE_RUN = /^(\S+) pg (H?)(\d+)-(\d+) (\S+)$/;

/** Reads a recording. How pages are grouped into lines does not matter: each page becomes an item of its own. */
function parseRecording(text: string): Step[] {
  const steps: { command: string; items: string[] }[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('> ')) steps.push({ command: line.slice(2), items: [] });
    else if (line !== '') for (const item of expand(line)) steps.at(-1)?.items.push(item);
  }
  return steps;
}

function expand(line: string): string[] {
  const match = PAGE_RUN.exec(line);
  if (match === null) return [line];
  const [, process, prefix, first, last, flags] = match;
  const items: string[] = [];
  for (let page = Number(first); page <= Number(last); page++) {
    items.push(`${process} page ${prefix}${page} ${flags}`);
  }
  return items;
}

/** Compares two recordings page by page; says where they part first, in a few lines. */
export function firstDifference(expected: string, actual: string): string | undefined {
  if (expected === actual) return undefined;
  const wanted = parseRecording(expected);
  const got = parseRecording(actual);
  for (let index = 0; index < Math.max(wanted.length, got.length); index++) {
    const want = wanted[index];
    const have = got[index];
    if (want === undefined || have === undefined || want.command !== have.command) {
      return `step ${index + 1}: expected > ${want?.command ?? '(end)'}, got > ${have?.command ?? '(end)'}`;
    }
    const wantedItems = new Set(want.items);
    const gotItems = new Set(have.items);
    const missing = want.items.filter((item) => !gotItems.has(item));
    const surplus = have.items.filter((item) => !wantedItems.has(item));
    if (missing.length + surplus.length === 0 && want.items.length === have.items.length) continue;
    const lines = [
      ...missing.slice(0, 8).map((item) => `- ${item}`),
      ...surplus.slice(0, 8).map((item) => `+ ${item}`),
    ];
    return [`step ${index + 1}: > ${want.command}`, ...lines].join('\n');
  }
  return undefined;
}
