import type { Machine } from '../machine.ts';
import { forgetNode } from '../memory/page-cache.ts';
import { unlinkChain } from './anon-vma.ts';
import type { Vma } from './vma.ts';

/** remove_vma: a mapping that is in no list any more lets go of its identity and its file. */
export function releaseMapping(machine: Machine, vma: Vma): void {
  unlinkChain(vma);
  const node = vma.file?.node;
  if (node === undefined) return;
  node.mappings--;
  if (node.mappings === 0 && node.unnamed) forgetNode(machine, node);
}
