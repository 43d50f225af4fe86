import type { AddressSpace } from '../address-space.ts';
import { VM, VM_ACCESS } from './flags.ts';
import { prepareIdentity } from './identity.ts';
import type { Vma } from './vma.ts';

/** stack_guard_gap: pages that stay free below a stack, unless another stack is there. */
const GUARD_GAP_PAGES = 256;
/** RLIMIT_STACK of 8 MiB. */
const STACK_LIMIT_PAGES = 2048;
/** mmap_min_addr of 64 KiB. */
const LOWEST_PAGE = 16;

/** expand_downwards: extends a mapping that grows down to `page`; whether it could. V does not change. */
export function growStack(space: AddressSpace, vma: Vma, page: number): boolean {
  if (page < LOWEST_PAGE) return false;
  const below = space.vmas.before(vma);
  if (
    below !== undefined &&
    !below.has(VM.growsDown) &&
    (below.flags & VM_ACCESS) !== 0 &&
    page - below.end < GUARD_GAP_PAGES
  ) {
    return false;
  }
  prepareIdentity(space, vma);
  const grown = vma.start - page;
  if (vma.end - page > STACK_LIMIT_PAGES || grown > vma.offset) return false;
  vma.start = page;
  vma.offset -= grown;
  return true;
}
