/** What work costs the two machines. Defaults: one core of a server of about 2020, Linux, no encryption. */
export interface HostCosts {
  /** Sending one page: finding it, reading it, putting it into the stream. */
  readonly pageNanoseconds: number;
  /** Finding out that a page holds zeros only. */
  readonly zeroPageNanoseconds: number;
  /** Comparing a page with its cached copy and encoding the difference. */
  readonly differenceNanoseconds: number;
  /** Compressing at level 1, per byte of input, in one thread. */
  readonly compressNanosecondsPerByte: { readonly zstd: number; readonly zlib: number };
  /** Size of compressed pages, as a share of their plain size, where it is given instead of what is known of them. */
  readonly compressedShare?: number;
  /** Reading the dirty log, per GiB of memory. */
  readonly syncMicrosecondsPerGibibyte: number;
  /** How late the sender wakes when it has slept to keep to its limit. */
  readonly wakeMicroseconds: number;
  /** From the decision to stop until the program stands still. */
  readonly stopMicroseconds: number;
  /** Everything but memory: devices, registers. */
  readonly stateBytes: number;
  /** From the last byte's arrival until the program runs at the destination. */
  readonly resumeMicroseconds: number;
}

/** Measured on QEMU 10 with one vCPU and few devices, on hosts that were not always idle. */
export const USUAL_COSTS: HostCosts = {
  pageNanoseconds: 1000,
  zeroPageNanoseconds: 500,
  differenceNanoseconds: 3000,
  compressNanosecondsPerByte: { zstd: 1.3, zlib: 16 },
  syncMicrosecondsPerGibibyte: 400,
  wakeMicroseconds: 100,
  stopMicroseconds: 5000,
  stateBytes: 100_000,
  resumeMicroseconds: 12_000,
};
