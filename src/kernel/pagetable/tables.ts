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
  readonly flags: Uint16Array;
  readonly values: Uint32Array;
  /** One bit an entry: whether it is soft-dirty. Lets a scan pass 32 entries at a time. */
  readonly softMap: Int32Array;
  parent: Directory | undefined;
  slot = 0;
  /** Entries that are not empty. */
  used = 0;
  #soft = 0;
  #uffd = 0;
  #armed = 0;

  /** What the directory above is told (bits of SUMMARY). */
  summary: number = SUMMARY.unprotected;

  constructor() {
    const memory = new ArrayBuffer(TABLE_ENTRIES * 6 + TABLE_ENTRIES / 8);
    this.values = new Uint32Array(memory, 0, TABLE_ENTRIES);
    this.flags = new Uint16Array(memory, TABLE_ENTRIES * 4, TABLE_ENTRIES);
    this.softMap = new Int32Array(memory, TABLE_ENTRIES * 6, TABLE_ENTRIES / 32);
  }

  /** Replaces an entry. Everything that changes `soft`, `write` or `uffd` or emptiness goes through here. */
  set(index: number, flags: number, value: number): void {
    const old = this.flags[index]!;
    this.flags[index] = flags;
    this.values[index] = value;
    if (((old ^ flags) & COUNTED) !== 0 || (old === 0) !== (flags === 0)) this.#recount(index, old, flags);
  }

  /** Replaces the flags of an entry. */
  setFlags(index: number, flags: number): void {
    const old = this.flags[index]!;
    this.flags[index] = flags;
    if (((old ^ flags) & COUNTED) !== 0 || (old === 0) !== (flags === 0)) this.#recount(index, old, flags);
  }

  clear(index: number): void {
    this.set(index, 0, 0);
  }

  /** The first soft-dirty entry in [index, end); `end` if there is none. */
  nextSoft(index: number, end: number): number {
    for (let at = index; at < end; at = (at | 31) + 1) {
      const bits = this.softMap[at >> 5]! & (-1 << (at & 31));
      if (bits !== 0) return Math.min(end, (at & ~31) + 31 - Math.clz32(bits & -bits));
    }
    return end;
  }

  /** Rebuilds the counts after the arrays were filled in bulk. */
  recountAll(): void {
    this.used = this.#soft = this.#uffd = this.#armed = 0;
    this.softMap.fill(0);
    for (let index = 0; index < TABLE_ENTRIES; index++) {
      const flags = this.flags[index]!;
      if (flags === 0) continue;
      this.used++;
      if (flags & PTE.soft) {
        this.#soft++;
        this.softMap[index >> 5]! |= 1 << (index & 31);
      }
      if (flags & PTE.uffd) this.#uffd++;
      if (flags & ARMED) this.#armed++;
    }
    this.#report();
  }

  #recount(index: number, old: number, flags: number): void {
    if ((old ^ flags) & PTE.soft) this.softMap[index >> 5]! ^= 1 << (index & 31);
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
    this.parent?.childChanged(this.slot, old, summary);
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
    this.parent?.childChanged(this.slot, old, summary);
  }
}

/** What a slot of the lowest directory holds. */
export type Block = LeafTable | HugeEntry;

/** 32-bit words of a bitmap over the slots of a directory. */
const BITMAP_WORDS = TABLE_ENTRIES / 32;
/** The bitmap of slots that hold a child; those before it are of the SUMMARY bits. */
const EXISTS = 4;

/** An upper table. `level` 1 holds blocks of 2 MiB, 2 directories of 1 GiB, 3 of 512 GiB. */
export class Directory {
  readonly level: number;
  readonly children: (Directory | Block | undefined)[] = new Array(TABLE_ENTRIES).fill(undefined);
  parent: Directory | undefined;
  slot = 0;
  summary = 0;
  /** Bitmaps of slots: one for each SUMMARY bit, and one for the children that exist. */
  readonly #maps = new Int32Array((EXISTS + 1) * BITMAP_WORDS);
  /** Bits set in each bitmap. */
  readonly #counts = [0, 0, 0, 0, 0];

  constructor(level: number) {
    this.level = level;
  }

  attach(slot: number, child: Directory | Block): void {
    this.children[slot] = child;
    child.parent = this;
    child.slot = slot;
    this.childChanged(slot, 0, child.summary | (1 << EXISTS));
  }

  detach(slot: number): Directory | Block {
    const child = this.children[slot]!;
    this.children[slot] = undefined;
    child.parent = undefined;
    this.childChanged(slot, child.summary | (1 << EXISTS), 0);
    return child;
  }

  /** A child tells its new summary; what it means for the whole is told further up. */
  childChanged(slot: number, old: number, now: number): void {
    let summary = this.summary;
    for (let changed = old ^ now; changed !== 0; changed &= changed - 1) {
      const bit = 31 - Math.clz32(changed & -changed);
      const rises = (now >> bit) & 1;
      this.#maps[bit * BITMAP_WORDS + (slot >> 5)]! ^= 1 << (slot & 31);
      const count = this.#counts[bit]! + (rises ? 1 : -1);
      this.#counts[bit] = count;
      if (bit !== EXISTS) summary = count > 0 ? summary | (1 << bit) : summary & ~(1 << bit);
    }
    if (summary === this.summary) return;
    const before = this.summary;
    this.summary = summary;
    this.parent?.childChanged(this.slot, before, summary);
  }

  /**
   * Calls `visit` for each child in slots [first, end) that has all `needed` summary bits. Slots without are passed by
   * 32 at a time. A child may be taken out or put in during the visit.
   */
  forEachChild(
    first: number,
    end: number,
    needed: number,
    visit: (slot: number, child: Directory | Block) => void,
  ): void {
    for (let word = first >> 5; word < BITMAP_WORDS && word << 5 < end; word++) {
      let bits = this.#maps[EXISTS * BITMAP_WORDS + word]!;
      for (let rest = needed; rest !== 0; rest &= rest - 1) {
        bits &= this.#maps[(31 - Math.clz32(rest & -rest)) * BITMAP_WORDS + word]!;
      }
      for (; bits !== 0; bits &= bits - 1) {
        const slot = (word << 5) + 31 - Math.clz32(bits & -bits);
        const child = this.children[slot];
        if (slot >= first && slot < end && child !== undefined) visit(slot, child);
      }
    }
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
    if (firstBlock >= endBlock) return;
    this.root.forEachChild(firstBlock >> 18, ((endBlock - 1) >> 18) + 1, needed, (high, middle) => {
      if (!(middle instanceof Directory)) return;
      const middleBase = high * 262144;
      const firstLow = Math.max(0, (firstBlock - middleBase) >> 9);
      middle.forEachChild(firstLow, ((endBlock - 1 - middleBase) >> 9) + 1, needed, (low, lowest) => {
        if (!(lowest instanceof Directory)) return;
        const base = middleBase + low * 512;
        lowest.forEachChild(
          Math.max(0, firstBlock - base),
          Math.min(512, endBlock - base),
          needed,
          (slot, found) => {
            if (!(found instanceof Directory)) visit(base + slot, found);
          },
        );
      });
    });
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
