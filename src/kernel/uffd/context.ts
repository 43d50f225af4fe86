import type { AddressSpace } from '../address-space.ts';

/** An open userfaultfd: the address space it was opened in and the features it asked for. */
export class UffdContext {
  readonly id: number;
  readonly space: AddressSpace;
  readonly features: number;
  open = true;

  constructor(id: number, space: AddressSpace, features: number) {
    this.id = id;
    this.space = space;
    this.features = features;
  }
}
