import type { Vma } from './vma.ts';

/** The mappings of an address space in address order. */
export class VmaList {
  readonly items: Vma[] = [];

  /** find_vma: index of the first mapping that ends above `page` (it may begin above it, too). */
  indexAbove(page: number): number {
    const items = this.items;
    let low = 0;
    let high = items.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (items[middle]!.end > page) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The first mapping that ends above `page`. */
  findAbove(page: number): Vma | undefined {
    return this.items[this.indexAbove(page)];
  }

  /** The mapping that covers `page`. */
  lookup(page: number): Vma | undefined {
    const found = this.findAbove(page);
    return found !== undefined && found.start <= page ? found : undefined;
  }

  /** Whether anything is mapped in [startPage, endPage). */
  intersects(startPage: number, endPage: number): boolean {
    const found = this.findAbove(startPage);
    return found !== undefined && found.start < endPage;
  }

  before(vma: Vma): Vma | undefined {
    return this.items[this.indexOf(vma) - 1];
  }

  after(vma: Vma): Vma | undefined {
    return this.items[this.indexOf(vma) + 1];
  }

  insert(vma: Vma): void {
    this.items.splice(this.indexAbove(vma.start), 0, vma);
  }

  remove(vma: Vma): void {
    this.items.splice(this.indexOf(vma), 1);
  }

  indexOf(vma: Vma): number {
    return this.indexAbove(vma.start);
  }
}
