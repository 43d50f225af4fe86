/** What a test asks of a page, without a browser. */

const UNESCAPED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };

/** Text of a piece of HTML. */
export function textOf(piece: string): string {
  return piece
    .replaceAll(/<[^>]*>/g, '')
    .replaceAll(/&(amp|lt|gt|quot|#39);/g, (_, name: string) => UNESCAPED[name]!)
    .trim();
}

/** The cells of the rows of the table with this id, those of its head left out. */
export function tableRows(page: string, id: string): string[][] {
  const table = new RegExp(`<table id="${id}">.*?<tbody>(.*?)</tbody>`, 's').exec(page);
  if (table === null) throw new Error(`there is no table ${id}`);
  return [...table[1]!.matchAll(/<tr>(.*?)<\/tr>/gs)].map((row) =>
    [...row[1]!.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map((cell) => textOf(cell[1]!)),
  );
}

/** The places of a chart's data, as shares of its width and of its height from above. */
export function chartPoints(page: string, id: string): [number, number][] {
  const points = new RegExp(`data-table="${id}-data"[^>]* data-points="([^"]*)"`).exec(page);
  if (points === null) throw new Error(`there is no chart ${id}`);
  return points[1]!
    .split(' ')
    .filter((pair) => pair !== '')
    .map((pair) => {
      const [x, y] = pair.split(',').map((part) => Number(part) / 1000);
      return [x!, y!];
    });
}

/** How often each element begins. */
export function elementCounts(page: string): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [, name] of page.matchAll(/<([a-z][a-z0-9-]*)/gi)) counts[name!] = (counts[name!] ?? 0) + 1;
  return counts;
}
