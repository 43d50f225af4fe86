/**
 * At most so many of the items, in their order, among them the first and the last, the smallest and the largest, and
 * the extremes of every stretch that is thinned out: a curve through them looks as one through all.
 */
export function thinned<T>(items: readonly T[], most: number, amountOf: (item: T) => number): readonly T[] {
  if (items.length <= most) return items;
  const inner = items.length - 2;
  const stretches = Math.max(1, Math.floor((most - 2) / 2));
  const kept: T[] = [items[0]!];
  for (let stretch = 0; stretch < stretches; stretch++) {
    const from = 1 + Math.floor((stretch * inner) / stretches);
    const to = 1 + Math.floor(((stretch + 1) * inner) / stretches);
    const [first, second] = extremes(items, from, to, amountOf);
    kept.push(items[first]!);
    if (second !== first) kept.push(items[second]!);
  }
  kept.push(items.at(-1)!);
  return kept;
}

/** Places of the smallest and the largest item from `from` to before `to`, in their order. */
function extremes<T>(
  items: readonly T[],
  from: number,
  to: number,
  amountOf: (item: T) => number,
): [number, number] {
  let [low, high] = [from, from];
  for (let index = from + 1; index < to; index++) {
    const value = amountOf(items[index]!);
    if (value < amountOf(items[low]!)) low = index;
    if (value > amountOf(items[high]!)) high = index;
  }
  return low < high ? [low, high] : [high, low];
}
