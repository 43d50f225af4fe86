import { pageCountOf } from '../core/index.ts';
import type { Manifest, StoredProcess, StoredVma } from '../image/index.ts';

/** A mapping, and what became of it between two checkpoints. */
export interface ListedMapping {
  readonly vma: StoredVma;
  readonly state: 'same' | 'new' | 'gone' | 'altered';
}

/** Whether the mappings are those of the processes: CRIU's pre-dumps have pages alone, around which some are made up. */
export function knowsMappings({ target, preDump, notRestorable }: Manifest): boolean {
  return target.kind !== 'criu' || (!preDump && notRestorable !== 'pages-only');
}

/**
 * The mappings of both checkpoints in address order, those that overlap once.
 * @param isKnown whether mappings of the checkpoints can be compared; else the known ones are listed, as the same
 */
export function listMappings(
  a: StoredProcess | undefined,
  b: StoredProcess | undefined,
  isKnown: { readonly a: boolean; readonly b: boolean },
): ListedMapping[] {
  const [older, newer] = [a?.vmas ?? [], b?.vmas ?? []];
  const areComparable = a === undefined || b === undefined || (isKnown.a && isKnown.b);
  const isNewerListed = areComparable || !isKnown.a || isKnown.b;
  const [listed, others] = isNewerListed ? [newer, older] : [older, newer];
  const mappings = listed.map(
    (vma): ListedMapping => ({ vma, state: areComparable ? stateOf(vma, older) : 'same' }),
  );
  for (const vma of others) {
    if (listed.some((other) => overlaps(vma, other))) continue;
    mappings.push({ vma, state: isNewerListed ? 'gone' : 'new' });
  }
  return mappings.sort((left, right) => left.vma.startPage - right.vma.startPage);
}

function stateOf(vma: StoredVma, older: readonly StoredVma[]): 'same' | 'new' | 'altered' {
  const before = older.find((other) => overlaps(vma, other));
  if (before === undefined) return 'new';
  const alike =
    before.startPage === vma.startPage &&
    pageCountOf(before) === pageCountOf(vma) &&
    before.pathname === vma.pathname &&
    before.read === vma.read &&
    before.write === vma.write &&
    before.execute === vma.execute &&
    before.shared === vma.shared;
  return alike ? 'same' : 'altered';
}

function overlaps(a: StoredVma, b: StoredVma): boolean {
  return a.startPage < b.endPage && b.startPage < a.endPage;
}
