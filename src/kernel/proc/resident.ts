import type { AddressSpace } from '../address-space.ts';
import { PTE, TABLE_ENTRIES } from '../pagetable/entry.ts';

/** Pages of the address space that are in memory: VmRSS. Zero pages do not count. */
export function residentPages(space: AddressSpace): number {
  let count = 0;
  space.tables.forEachBlock(0, 2 ** 26, (_, found) => {
    if (found.huge) {
      if (!(found.flags & PTE.special)) count += TABLE_ENTRIES;
      return;
    }
    for (let index = 0; index < TABLE_ENTRIES; index++) {
      if ((found.flags[index]! & (PTE.present | PTE.special)) === PTE.present) count++;
    }
  });
  return count;
}
