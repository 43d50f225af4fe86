import { formatPageAddress } from '../../core/index.ts';
import type { Vma } from '../view.ts';
import { isFixedSpecial, isMovableSpecial, pathOf } from './mapping-kinds.ts';

/**
 * The first place where two layouts differ in what is mapped there or how it may be used; undefined if nowhere. Where
 * one has two adjoining mappings of the same kind and the other has one, that is no difference: it depends on the
 * order in which they came about.
 * @param isReplaced whether the object of a wanted mapping is another one by intention
 */
export function layoutDifference(
  present: readonly Vma[],
  wanted: readonly Vma[],
  isReplaced: (vma: Vma) => boolean,
): string | undefined {
  const replaced = wanted.filter(isReplaced);
  const now = joined(present, replaced);
  const then = joined(wanted, replaced);
  for (let index = 0; index < Math.max(now.length, then.length); index++) {
    const [here, there] = [now[index], then[index]];
    if (here !== undefined && there !== undefined && isSamePart(here, there)) continue;
    return `${describe(here)} instead of ${describe(there)}`;
  }
  return undefined;
}

interface Part {
  startPage: number;
  endPage: number;
  readonly kind: string;
}

/** Mappings as parts, adjoining ones of one kind made one. */
function joined(vmas: readonly Vma[], replaced: readonly Vma[]): Part[] {
  const parts: Part[] = [];
  for (const vma of vmas) {
    if (isFixedSpecial(vma)) continue;
    const kind = kindOf(vma, replaced);
    const last = parts.at(-1);
    if (last?.endPage === vma.startPage && last.kind === kind) last.endPage = vma.endPage;
    else parts.push({ startPage: vma.startPage, endPage: vma.endPage, kind });
  }
  return parts;
}

function kindOf(vma: Vma, replaced: readonly Vma[]): string {
  const rights = `${vma.read ? 'r' : '-'}${vma.write ? 'w' : '-'}${vma.execute ? 'x' : '-'}${vma.shared ? 's' : 'p'}`;
  if (isMovableSpecial(vma)) return `${rights} ${vma.pathname}`;
  const isNew = replaced.some((one) => one.startPage < vma.endPage && vma.startPage < one.endPage);
  if (vma.inode === 0 || isNew) return `${rights} memory`;
  const { deviceMajor, deviceMinor, inode, offsetPages, startPage } = vma;
  return `${rights} ${pathOf(vma)} ${deviceMajor}:${deviceMinor}:${inode} at ${offsetPages - startPage}`;
}

function isSamePart(left: Part, right: Part): boolean {
  return left.startPage === right.startPage && left.endPage === right.endPage && left.kind === right.kind;
}

function describe(part: Part | undefined): string {
  if (part === undefined) return 'nothing';
  return `${formatPageAddress(part.startPage)}-${formatPageAddress(part.endPage)} ${part.kind}`;
}
