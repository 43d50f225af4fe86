import type { Vma } from './vma.ts';

/**
 * Identity of private memory for the reverse map (mm/rmap.c, struct anon_vma). Only what decides about sharing and
 * merging is kept: the tree of fork ancestors and who uses it.
 */
export class AnonVma {
  readonly id: number;
  parent: AnonVma;
  /** anon_vmas that have this one as parent; a root counts itself. */
  children = 0;
  /** Mappings whose own identity this is. */
  activeVmas = 0;
  /** Links from the chains of mappings. */
  links = 0;

  constructor(id: number, parent?: AnonVma) {
    this.id = id;
    this.parent = parent ?? this;
    this.parent.children++;
  }
}

/** Adds `anonVma` to the chain of a mapping. */
export function linkChain(vma: Vma, anonVma: AnonVma): void {
  vma.chain.push(anonVma);
  anonVma.links++;
}

/**
 * anon_vma_clone: gives `to` a copy of the chain of `from`. A fork child without identity may take over an ancestor
 * that no mapping uses any more and that has at most one child.
 */
export function cloneChain(to: Vma, from: Vma): void {
  for (const anonVma of from.chain) {
    linkChain(to, anonVma);
    if (to.anonVma === null && from.anonVma !== null && anonVma.children < 2 && anonVma.activeVmas === 0) {
      to.anonVma = anonVma;
    }
  }
  if (to.anonVma !== null) to.anonVma.activeVmas++;
}

/** unlink_anon_vmas: the mapping loses its identity. */
export function unlinkChain(vma: Vma): void {
  for (const anonVma of vma.chain) {
    anonVma.links--;
    if (anonVma.links === 0) anonVma.parent.children--;
  }
  vma.chain = [];
  if (vma.anonVma !== null) vma.anonVma.activeVmas--;
  vma.anonVma = null;
}

/** anon_vma_fork: the identity of a fork child's mapping is one link longer than its parent's. */
export function forkChain(child: Vma, parent: Vma, nextId: () => number): void {
  child.anonVma = null;
  child.chain = [];
  if (parent.anonVma === null) return;
  cloneChain(child, parent);
  if (child.anonVma !== null) return;
  const anonVma = new AnonVma(nextId(), parent.anonVma);
  anonVma.activeVmas++;
  child.anonVma = anonVma;
  linkChain(child, anonVma);
}

/** dup_anon_vma and the import in __vma_adjust: a mapping without identity that absorbs one with takes it over. */
export function importIdentity(to: Vma, from: Vma): void {
  if (from.anonVma === null || to.anonVma !== null) return;
  to.anonVma = from.anonVma;
  cloneChain(to, from);
}
