/** Kinds of page faults that are counted and priced. */
export const FAULT_KINDS = [
  /** A load mapped the zero page. */
  'anonymousZero',
  /** A store to an empty slot of private memory. */
  'anonymousNew',
  /** A store copied a page: from the zero page, a file, a fork relative or KSM. */
  'copyOnWrite',
  /** A store to a page that was write-protected only to be noticed: the price of soft-dirty. */
  'writeProtect',
  /** A load mapped file pages. */
  'fileRead',
  /** A store to an empty slot of a private file mapping. */
  'fileCopy',
  /** A store to a shared mapping that was empty or write-protected. */
  'fileShared',
  /** A page came back from swap. */
  'swapIn',
  /** A huge page was allocated, or the huge zero page mapped. */
  'huge',
  /** A fault that userfaultfd write protection caused and the kernel resolved. */
  'userfault',
  /** The access ended in a signal. */
  'signal',
] as const;

export type FaultKind = (typeof FAULT_KINDS)[number];

/** Prices in virtual nanoseconds: of each kind of fault, and of the work of tracking. */
export type KernelCosts = Readonly<
  Record<
    | FaultKind
    | 'clearCall'
    | 'clearMapping'
    | 'clearTable'
    | 'clearEntry'
    | 'pagemapWord'
    | 'scanCall'
    | 'scanTable'
    | 'scanRegion',
    number
  >
>;

/**
 * Orders of magnitude of a current x86-64 machine. The prices of a clear are measured (5 us for an almost empty process,
 * 0.7 us for a page table with one page, 2.7 us for a full one, 0.15 us per mapping); those of faults are typical
 * published figures: about half a microsecond for a minor fault, plus the clearing or copying of a page.
 */
export const DEFAULT_COSTS: KernelCosts = {
  anonymousZero: 500,
  anonymousNew: 900,
  copyOnWrite: 1100,
  writeProtect: 500,
  fileRead: 900,
  fileCopy: 1200,
  fileShared: 800,
  swapIn: 8000,
  huge: 90000,
  userfault: 900,
  signal: 1500,
  clearCall: 5000,
  clearMapping: 150,
  clearTable: 700,
  clearEntry: 4,
  pagemapWord: 10,
  scanCall: 1000,
  scanTable: 100,
  scanRegion: 50,
};

/** Counts faults by kind and adds up what the kernel's work costs. */
export class Ledger {
  readonly costs: KernelCosts;
  readonly faults: Record<FaultKind, number>;
  nanoseconds = 0;

  constructor(costs: KernelCosts) {
    this.costs = costs;
    this.faults = Object.fromEntries(FAULT_KINDS.map((kind) => [kind, 0])) as Record<FaultKind, number>;
  }

  fault(kind: FaultKind): void {
    this.faults[kind]++;
    this.nanoseconds += this.costs[kind];
  }

  charge(kind: keyof KernelCosts, count = 1): void {
    this.nanoseconds += this.costs[kind] * count;
  }
}
