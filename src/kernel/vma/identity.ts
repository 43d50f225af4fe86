import type { AddressSpace } from '../address-space.ts';
import { AnonVma, linkChain } from './anon-vma.ts';
import { VM, VM_ACCESS } from './flags.ts';
import type { Vma } from './vma.ts';

/** anon_vma_compatible: two adjacent mappings that differ in nothing but access rights and VM_SOFTDIRTY. */
function compatible(lower: Vma, upper: Vma): boolean {
  return (
    lower.end === upper.start &&
    lower.file === upper.file &&
    lower.special === upper.special &&
    ((lower.flags ^ upper.flags) & ~(VM_ACCESS | VM.softDirty)) === 0 &&
    upper.offset === lower.offset + (lower.end - lower.start)
  );
}

function reusable(owner: Vma | undefined, lower: Vma | undefined, upper: Vma | undefined): AnonVma | null {
  if (owner === undefined || lower === undefined || upper === undefined) return null;
  return compatible(lower, upper) && owner.chain.length === 1 ? owner.anonVma : null;
}

/**
 * anon_vma_prepare: gives a mapping its identity before its first private page: that of a neighbour with which it might
 * merge later (the upper one is asked first), or a new one.
 */
export function prepareIdentity(space: AddressSpace, vma: Vma): void {
  if (vma.anonVma !== null) return;
  const { vmas } = space;
  const lower = vmas.before(vma);
  const upper = vmas.after(vma);
  const anonVma =
    reusable(upper, vma, upper) ?? reusable(lower, lower, vma) ?? new AnonVma(space.machine.nextId());
  vma.anonVma = anonVma;
  linkChain(vma, anonVma);
  anonVma.activeVmas++;
}
