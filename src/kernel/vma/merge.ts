import type { AddressSpace } from '../address-space.ts';
import type { OpenFile } from '../memory/files.ts';
import { splitHugeAt } from '../pagetable/unmap.ts';
import type { UffdContext } from '../uffd/context.ts';
import { type AnonVma, cloneChain, importIdentity } from './anon-vma.ts';
import { VM, VM_SPECIAL } from './flags.ts';
import { releaseMapping } from './remove.ts';
import type { Vma } from './vma.ts';

/** A range that wants to become part of a neighbour: what the neighbour must agree with. */
export interface MergeCandidate {
  readonly start: number;
  readonly end: number;
  readonly flags: number;
  readonly offset: number;
  readonly file: OpenFile | null;
  readonly anonVma: AnonVma | null;
  readonly uffd: UffdContext | null;
  /** The mapping that the range is a part of now; undefined for a new range. */
  readonly within: Vma | undefined;
  /** The mapping whose pages mremap is about to move into the (new) range. */
  readonly movedFrom?: Vma;
}

/** Whether flags, file and registration agree; VM_SOFTDIRTY does not matter (is_mergeable_vma). */
function sameKind(vma: Vma, range: MergeCandidate): boolean {
  return (
    ((vma.flags ^ range.flags) & ~VM.softDirty) === 0 &&
    vma.file === range.file &&
    vma.uffd === range.uffd &&
    vma.special === ''
  );
}

/** is_mergeable_anon_vma: whether the neighbour's identity and the range's can be one. */
function identityFits(space: AddressSpace, neighbour: Vma, range: MergeCandidate): boolean {
  const theirs = neighbour.anonVma;
  const ours = range.anonVma;
  if (space.machine.features.mergeUnpopulatedBothWays) {
    if (theirs === null && ours !== null) {
      return [range.within, range.movedFrom].every((vma) => vma === undefined || vma.chain.length === 1);
    }
    if (theirs !== null && ours === null) return neighbour.chain.length === 1;
    return theirs === ours;
  }
  // A neighbour without identity has no links at all, so it fails this test: a quirk that recordings confirm.
  if ((theirs === null || ours === null) && neighbour.chain.length === 1) return true;
  return theirs === ours;
}

/** Two neighbours of a range can be one mapping: at most one of them is populated, or both alike. */
function identitiesCompatible(lower: Vma, upper: Vma): boolean {
  return lower.anonVma === null || upper.anonVma === null || lower.anonVma === upper.anonVma;
}

function fitsBehind(space: AddressSpace, lower: Vma | undefined, range: MergeCandidate): lower is Vma {
  return (
    lower !== undefined &&
    lower.end === range.start &&
    sameKind(lower, range) &&
    identityFits(space, lower, range) &&
    lower.offset + (lower.end - lower.start) === range.offset
  );
}

function fitsBefore(space: AddressSpace, upper: Vma | undefined, range: MergeCandidate): upper is Vma {
  return (
    upper !== undefined &&
    upper.start === range.end &&
    sameKind(upper, range) &&
    identityFits(space, upper, range) &&
    upper.offset === range.offset + (range.end - range.start)
  );
}

/** Removes a mapping that has been absorbed. */
function absorb(space: AddressSpace, gone: Vma): void {
  space.vmas.remove(gone);
  releaseMapping(space.machine, gone);
}

/** Where VM_SOFTDIRTY is sticky, the mapping that grows keeps it if any part had it. */
function inheritSoftDirty(space: AddressSpace, grown: Vma, ...parts: readonly (number | undefined)[]): void {
  if (!space.machine.features.softDirtySticky) return;
  for (const flags of parts) if (flags !== undefined) grown.flags |= flags & VM.softDirty;
}

/**
 * vma_merge for a part of an existing mapping whose flags are about to change: joins it to its neighbours where they
 * agree with the new flags. The caller then sets the flags of the mapping that is returned.
 */
export function mergeExisting(space: AddressSpace, vma: Vma, range: MergeCandidate): Vma | undefined {
  if (range.flags & VM_SPECIAL) return undefined;
  const { vmas } = space;
  const wholeStart = range.start === vma.start;
  const wholeEnd = range.end === vma.end;
  const lower = wholeStart ? vmas.before(vma) : undefined;
  const upper = wholeEnd ? vmas.after(vma) : undefined;
  const joinLower = fitsBehind(space, lower, range);
  const joinUpper = fitsBefore(space, upper, range);
  if (joinLower && joinUpper && identitiesCompatible(lower, upper)) {
    importIdentity(lower, vma.anonVma === null ? upper : vma);
    inheritSoftDirty(space, lower, vma.flags, upper.flags);
    absorb(space, upper);
    absorb(space, vma);
    lower.end = upper.end;
    return lower;
  }
  if (joinLower) {
    importIdentity(lower, vma);
    inheritSoftDirty(space, lower, vma.flags);
    if (wholeEnd) absorb(space, vma);
    else {
      splitHugeAt(space, vma, range.end);
      moveStart(vma, range.end);
    }
    lower.end = range.end;
    return lower;
  }
  if (joinUpper) {
    importIdentity(upper, vma);
    inheritSoftDirty(space, upper, vma.flags);
    if (wholeStart) absorb(space, vma);
    else {
      splitHugeAt(space, vma, range.start);
      vma.end = range.start;
    }
    moveStart(upper, range.start);
    return upper;
  }
  return undefined;
}

/**
 * vma_merge for a new range between two neighbours (growth by mremap, the target of a move; from 6.12 on mmap, too).
 * `lowerOnly` is for the heap, which never joins what lies above it.
 */
export function mergeNew(space: AddressSpace, range: MergeCandidate, lowerOnly = false): Vma | undefined {
  if (range.flags & VM_SPECIAL) return undefined;
  const index = space.vmas.indexAbove(range.start);
  const lower = space.vmas.items[index - 1];
  const upper = lowerOnly ? undefined : space.vmas.items[index];
  const joinLower = fitsBehind(space, lower, range);
  const joinUpper =
    fitsBefore(space, upper, range) && (!joinLower || identitiesCompatible(lower as Vma, upper as Vma));
  return expand(space, range, joinLower ? lower : undefined, joinUpper ? upper : undefined);
}

/**
 * The same for mmap up to 6.11 (mmap_region), which asks the upper neighbour first and then wants the lower one to
 * agree with the upper one's identity.
 */
export function mergeNewUpperFirst(space: AddressSpace, range: MergeCandidate): Vma | undefined {
  if (range.flags & VM_SPECIAL) return undefined;
  const index = space.vmas.indexAbove(range.start);
  const lower = space.vmas.items[index - 1];
  const upper = space.vmas.items[index];
  const joinUpper = fitsBefore(space, upper, range);
  const seenByLower = joinUpper ? { ...range, anonVma: upper.anonVma, uffd: upper.uffd } : range;
  const joinLower = fitsBehind(space, lower, seenByLower);
  return expand(space, range, joinLower ? lower : undefined, joinUpper ? upper : undefined);
}

/** vma_expand: grows one neighbour over the new range, and over the other neighbour if both fit. */
function expand(
  space: AddressSpace,
  range: MergeCandidate,
  lower: Vma | undefined,
  upper: Vma | undefined,
): Vma | undefined {
  const grown = lower ?? upper;
  if (grown === undefined) return undefined;
  if (range.movedFrom !== undefined) importIdentity(grown, range.movedFrom);
  if (lower !== undefined) {
    if (upper !== undefined) {
      importIdentity(lower, upper);
      inheritSoftDirty(space, lower, upper.flags);
      absorb(space, upper);
    }
    lower.end = upper?.end ?? range.end;
    inheritSoftDirty(space, lower, range.flags);
    return lower;
  }
  moveStart(grown, range.start);
  inheritSoftDirty(space, grown, range.flags);
  return grown;
}

function moveStart(vma: Vma, start: number): void {
  vma.offset += start - vma.start;
  vma.start = start;
}

/** split_vma: cuts a mapping at `page`; returns the upper half. Both keep flags and identity. */
export function splitMapping(space: AddressSpace, vma: Vma, page: number): Vma {
  splitHugeAt(space, vma, page);
  const upper = vma.duplicate();
  cloneChain(upper, vma);
  moveStart(upper, page);
  vma.end = page;
  space.vmas.insert(upper);
  return upper;
}

/**
 * Changes the flags (and registration) of a part of a mapping: joins it to neighbours if it now agrees with them, or
 * cuts it out. Returns the mapping that holds the range, with the new flags on all of it.
 */
export function modifyRange(
  space: AddressSpace,
  vma: Vma,
  start: number,
  end: number,
  flags: number,
  uffd: UffdContext | null = vma.uffd,
): Vma {
  const range: MergeCandidate = {
    start,
    end,
    flags,
    offset: vma.offsetOf(start),
    file: vma.file,
    anonVma: vma.anonVma,
    uffd,
    within: vma,
  };
  const merged = mergeExisting(space, vma, range);
  if (merged !== undefined) {
    merged.flags = space.machine.features.softDirtySticky ? flags | (merged.flags & VM.softDirty) : flags;
    return merged;
  }
  let part = vma;
  if (start !== vma.start) part = splitMapping(space, vma, start);
  if (end !== part.end) splitMapping(space, part, end);
  part.flags = flags;
  return part;
}
