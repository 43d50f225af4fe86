import { PTE, TABLE_ENTRIES } from './entry.ts';

/**
 * Summary bits that a table hands up to its directory: whether anything in it is soft-dirty, written (not empty and
 * not uffd write-protected), would be changed by a clear (writable or soft-dirty), or is not uffd write-protected.
 */
export const SUMMARY = { soft: 1, written: 2, armed: 4, unprotected: 8 } as const;

const ARMED = PTE.soft | PTE.write;
const COUNTED = PTE.soft | PTE.write | PTE.uffd;

/** A table of 512 entries: 2 MiB of address space. */
export class LeafTable {
  readonly huge = false;
  readonly flags = new Uint16Array(TABLE_ENTRIES);
  readonly values = new Uint32Array(TABLE_ENTRIES);
  parent: Directory | undefined;
  slot = 0;
  /** Entries that are not empty. */
  used = 0;
  #soft = 0;
  #uffd = 0;
  #armed = 0;

  /** What the directory above is told (bits of SUMMARY). */
  summary: number = SUMMARY.unprotected;

  /** Replaces an entry. Everything that changes `soft`, `write` or `uffd` or emptiness goes through here. */
  set(index: number, flags: number, value: number): void {
    const old = this.flags[index]!;
    this.flags[index] = flags;
    this.values[index] = value;
    if (((old ^ flags) & COUNTED) !== 0 || (old === 0) !== (flags === 0)) this.#recount(old, flags);
  }

  /** Replaces the flags of an entry. */
  setFlags(index: number, flags: number): void {
    const old = this.flags[index]!;
    this.flags[index] = flags;
    if (((old ^ flags) & COUNTED) !== 0 || (old === 0) !== (flags === 0)) this.#recount(old, flags);
  }

  clear(index: number): void {
    this.set(index, 0, 0);
  }

  /** Entries with the soft-dirty bit. */
  get softCount(): number {
    return this.#soft;
  }

  get uffdCount(): number {
    return this.#uffd;
  }

  /** Rebuilds the counts after the arrays were filled in bulk. */
  recountAll(): void {
    this.used = this.#soft = this.#uffd = this.#armed = 0;
    for (let index = 0; index < TABLE_ENTRIES; index++) {
      const flags = this.flags[index]!;
      if (flags === 0) continue;
      this.used++;
      if (flags & PTE.soft) this.#soft++;
      if (flags & PTE.uffd) this.#uffd++;
      if (flags & ARMED) this.#armed++;
    }
    this.#report();
  }

  #recount(old: number, flags: number): void {
    this.used += (flags === 0 ? 0 : 1) - (old === 0 ? 0 : 1);
    this.#soft += (flags & PTE.soft ? 1 : 0) - (old & PTE.soft ? 1 : 0);
    this.#uffd += (flags & PTE.uffd ? 1 : 0) - (old & PTE.uffd ? 1 : 0);
    this.#armed += (flags & ARMED ? 1 : 0) - (old & ARMED ? 1 : 0);
    this.#report();
  }

  #report(): void {
    const summary =
      (this.#soft > 0 ? SUMMARY.soft : 0) |
      (this.used > this.#uffd ? SUMMARY.written : 0) |
      (this.#armed > 0 ? SUMMARY.armed : 0) |
      (this.#uffd < TABLE_ENTRIES ? SUMMARY.unprotected : 0);
    if (summary === this.summary) return;
    const old = this.summary;
    this.summary = summary;
    this.parent?.childChanged(old, summary);
  }
}

/** A huge entry: one mapping of 2 MiB. Flags as in a table, value = first frame. */
export class HugeEntry {
  readonly huge = true;
  parent: Directory | undefined;
  slot = 0;
  summary = 0;
  frame: number;
  #flags = 0;

  constructor(flags: number, frame: number) {
    this.frame = frame;
    this.flags = flags;
  }

  get flags(): number {
    return this.#flags;
  }

  set flags(flags: number) {
    this.#flags = flags;
    const summary =
      (flags & PTE.soft ? SUMMARY.soft : 0) |
      (flags & PTE.uffd ? 0 : SUMMARY.written | SUMMARY.unprotected) |
      (flags & ARMED ? SUMMARY.armed : 0);
    if (summary === this.summary) return;
    const old = this.summary;
    this.summary = summary;
    this.parent?.childChanged(old, summary);
  }
}

/** What a slot of the lowest directory holds. */
export type Block = LeafTable | HugeEntry;

/** An upper table. `level` 1 holds blocks of 2 MiB, 2 directories of 1 GiB, 3 of 512 GiB. */
export class Directory {
  readonly level: number;
  readonly children: (Directory | Block | undefined)[] = new Array(TABLE_ENTRIES).fill(undefined);
  parent: Directory | undefined;
  slot = 0;
  used = 0;
  summary = 0;
  /** Children with each summary bit. */
  readonly #counts = [0, 0, 0, 0];

  constructor(level: number) {
    this.level = level;
  }

  attach(slot: number, child: Directory | Block): void {
    this.children[slot] = child;
    child.parent = this;
    child.slot = slot;
    this.used++;
    this.childChanged(0, child.summary);
  }

  detach(slot: number): Directory | Block {
    const child = this.children[slot]!;
    this.children[slot] = undefined;
    child.parent = undefined;
    this.used--;
    this.childChanged(child.summary, 0);
    return child;
  }

  childChanged(old: number, now: number): void {
    let summary = 0;
    for (let bit = 0; bit < 4; bit++) {
      const count = this.#counts[bit]! + ((now >> bit) & 1) - ((old >> bit) & 1);
      this.#counts[bit] = count;
      if (count > 0) summary |= 1 << bit;
    }
    if (summary === this.summary) return;
    const before = this.summary;
    this.summary = summary;
    this.parent?.childChanged(before, summary);
  }
}

const TLB_SIZE = 1024;

/**
 * The page tables of one address space: four levels, allocated where something is mapped. A block is a 2 MiB stretch,
 * numbered page / 512. Looking a block up goes through a small direct-mapped cache, like a processor's.
 */
export class PageTables {
  root = new Directory(3);
  readonly #cachedBlocks = new Int32Array(TLB_SIZE).fill(-1);
  readonly #cached: (Block | undefined)[] = new Array(TLB_SIZE).fill(undefined);

  /** The table or huge entry of a block, if there is one. */
  find(block: number): Block | undefined {
    const line = block & (TLB_SIZE - 1);
    if (this.#cachedBlocks[line] === block) return this.#cached[line];
    const middle = this.root.children[block >> 18] as Directory | undefined;
    if (middle === undefined) return undefined;
    const lowest = middle.children[(block >> 9) & 511] as Directory | undefined;
    if (lowest === undefined) return undefined;
    const found = lowest.children[block & 511] as Block | undefined;
    if (found === undefined) return undefined;
    this.#cachedBlocks[line] = block;
    this.#cached[line] = found;
    return found;
  }

  /** The table of a block, made if the slot is empty; undefined if a huge entry is there. */
  makeTable(block: number): LeafTable | undefined {
    const found = this.find(block);
    if (found !== undefined) return found.huge ? undefined : found;
    const table = new LeafTable();
    this.lowestDirectory(block).attach(block & 511, table);
    return table;
  }

  /** Puts a table or huge entry into an empty slot. */
  attach(block: number, child: Block): void {
    this.lowestDirectory(block).attach(block & 511, child);
  }

  /** Takes a block out of the tree. */
  detach(block: number): Block {
    const directory = this.findDirectory(block);
    if (directory === undefined) throw new RangeError(`block ${block} has no directory`);
    this.#cachedBlocks[block & (TLB_SIZE - 1)] = -1;
    this.#cached[block & (TLB_SIZE - 1)] = undefined;
    return directory.detach(block & 511) as Block;
  }

  /** The lowest directory over a block, if it exists. */
  findDirectory(block: number): Directory | undefined {
    const middle = this.root.children[block >> 18] as Directory | undefined;
    return middle?.children[(block >> 9) & 511] as Directory | undefined;
  }

  /** The lowest directory over a block, made if missing. */
  lowestDirectory(block: number): Directory {
    let middle = this.root.children[block >> 18] as Directory | undefined;
    if (middle === undefined) {
      middle = new Directory(2);
      this.root.attach(block >> 18, middle);
    }
    let lowest = middle.children[(block >> 9) & 511] as Directory | undefined;
    if (lowest === undefined) {
      lowest = new Directory(1);
      middle.attach((block >> 9) & 511, lowest);
    }
    return lowest;
  }

  /** Moves a whole lowest directory (1 GiB); false unless the source exists and the target does not. */
  moveDirectory(fromBlock: number, toBlock: number): boolean {
    const directory = this.findDirectory(fromBlock);
    if (directory === undefined || this.findDirectory(toBlock) !== undefined) return false;
    this.forgetCached();
    directory.parent!.detach(directory.slot);
    let middle = this.root.children[toBlock >> 18] as Directory | undefined;
    if (middle === undefined) {
      middle = new Directory(2);
      this.root.attach(toBlock >> 18, middle);
    }
    middle.attach((toBlock >> 9) & 511, directory);
    return true;
  }

  /**
   * Frees the page tables of a range of which nothing is mapped any more, as far as no neighbour needs them
   * (mm/memory.c, free_pgd_range): a table goes if its whole 2 MiB lie between `floorPage` and `ceilingPage`.
   */
  freeRange(startPage: number, endPage: number, floorPage: number, ceilingPage: number): void {
    let first = Math.floor(startPage / TABLE_ENTRIES);
    if (first * TABLE_ENTRIES < floorPage) first++;
    let last = Math.ceil(endPage / TABLE_ENTRIES);
    if (last * TABLE_ENTRIES > ceilingPage) last--;
    this.forEachBlock(first, last, (block) => {
      this.detach(block);
    });
    for (let giga = Math.floor(first / 512); giga <= Math.floor((last - 1) / 512); giga++) {
      const pages = 512 * TABLE_ENTRIES;
      if (giga * pages < floorPage || (giga + 1) * pages > ceilingPage) continue;
      const directory = this.findDirectory(giga * 512);
      if (directory === undefined) {
        giga = this.#skipEmpty(giga);
        continue;
      }
      directory.parent!.detach(directory.slot);
    }
  }

  /** Calls `visit` with the first block of every lowest directory, in order. */
  forEachDirectory(visit: (firstBlock: number) => void): void {
    this.root.children.forEach((middle, high) => {
      if (!(middle instanceof Directory)) return;
      middle.children.forEach((lowest, low) => {
        if (lowest !== undefined) visit((high * 512 + low) * 512);
      });
    });
  }

  /** Calls `visit` for every block in [firstBlock, endBlock) that exists, in order; `visit` may detach the block. */
  forEachBlock(firstBlock: number, endBlock: number, visit: (block: number, found: Block) => void): void {
    this.forEachSummary(firstBlock, endBlock, 0, visit);
  }

  /** The same, only for blocks that have all of the given SUMMARY bits; the others cost next to nothing. */
  forEachSummary(
    firstBlock: number,
    endBlock: number,
    needed: number,
    visit: (block: number, found: Block) => void,
  ): void {
    let block = firstBlock;
    while (block < endBlock) {
      const middle = this.root.children[block >> 18] as Directory | undefined;
      if (middle === undefined || (middle.summary & needed) !== needed) {
        block = ((block >> 18) + 1) * 262144;
        continue;
      }
      const lowest = middle.children[(block >> 9) & 511] as Directory | undefined;
      if (lowest === undefined || (lowest.summary & needed) !== needed) {
        block = ((block >> 9) + 1) * 512;
        continue;
      }
      const end = Math.min(endBlock, ((block >> 9) + 1) * 512);
      const { children } = lowest;
      // In a sparse address space most directories hold one table: no need to look behind the last one.
      for (let left = lowest.used; left > 0 && block < end; block++) {
        const found = children[block & 511] as Block | undefined;
        if (found === undefined) continue;
        left--;
        if ((found.summary & needed) === needed) visit(block, found);
      }
      block = end;
    }
  }

  /** Drops all cached lookups. */
  forgetCached(): void {
    this.#cachedBlocks.fill(-1);
    this.#cached.fill(undefined);
  }

  #skipEmpty(giga: number): number {
    return this.root.children[giga >> 9] === undefined ? (giga >> 9) * 512 + 511 : giga;
  }
}
