import type { SweepCell } from './result.ts';

/** Figures that differ by less than this share are as good as each other. */
const TELLING_SHARE = 0.02;

/** What is better the smaller it is, each with an amount below which nobody cares. */
const CRITERIA: readonly { readonly of: (cell: SweepCell) => number; readonly least: number }[] = [
  { of: (cell) => cell.downtimeMicroseconds, least: 1000 },
  { of: (cell) => cell.totalMicroseconds, least: 100_000 },
  { of: (cell) => cell.transferredBytes, least: 1e6 },
  { of: (cell) => cell.bandwidthBytesPerSecond, least: 1e5 },
  {
    of: ({ service }) => service.throttledMicroseconds + service.faultMicroseconds,
    least: 10_000,
  },
];

/**
 * Cells worth having: of those that converge within their downtime limit (if none does: of those that converge), the ones
 * of which no other is as good in every figure and better in one. Of cells that are as good as each other in all of them,
 * the first one is taken.
 * @returns indices, by downtime.
 */
export function frontierOf(cells: readonly SweepCell[]): number[] {
  const grades = cells.map((cell) =>
    CRITERIA.map((criterion) => gradeOf(criterion.of(cell), criterion.least)),
  );
  const converging = [...cells.keys()].filter((index) => cells[index]!.verdict === 'converges');
  const kept = converging.filter((index) => cells[index]!.meetsLimit);
  const candidates = kept.length > 0 ? kept : converging;
  return candidates
    .filter((index) => !candidates.some((other) => beats(grades, other, index)))
    .sort((left, right) => cells[left]!.downtimeMicroseconds - cells[right]!.downtimeMicroseconds);
}

/** Steps of the telling share: a grade makes "as good as" hold between any three cells or none. */
function gradeOf(amount: number, least: number): number {
  return Math.round(Math.log1p(amount / least) / Math.log1p(TELLING_SHARE));
}

function beats(grades: readonly (readonly number[])[], other: number, index: number): boolean {
  if (other === index) return false;
  const mine = grades[index]!;
  const theirs = grades[other]!;
  let isBetter = other < index;
  for (let criterion = 0; criterion < mine.length; criterion++) {
    if (theirs[criterion]! > mine[criterion]!) return false;
    if (theirs[criterion]! < mine[criterion]!) isBetter = true;
  }
  return isBetter;
}
