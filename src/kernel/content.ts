/**
 * What the bytes of simulated pages are, when nobody has to look at them.
 *
 * A frame whose bytes were never needed is described by three numbers instead of 4096 bytes: which *source* made
 * it, which *key* (page of the region) it was made for, and how many *stores* have hit it. That keeps a simulated
 * process of any size in memory proportional to the pages touched, a handful of bytes each, and a store costs no
 * memory traffic. Frames that the description cannot express are kept as real bytes.
 */
export interface ContentProvider {
  /**
   * The source that describes a page after `stream` stores to it, given that `source` described it before; -1 if no
   * source can, so that the frame must be rendered and kept as bytes. Source 0 is the page of zeros.
   */
  sourceAfterStore(source: number, stream: number): number;
  /** Writes the 4096 bytes of the page that `source` describes as (`key`, `storeCount`) into `out`. */
  render(source: number, key: number, storeCount: number, out: Uint8Array): void;
  /**
   * Applies store number `storeNumber` (counting from 1) of `stream` to real bytes. For every source s that stays
   * describable: render(sourceAfterStore(s, stream), key, n) equals apply(stream, key, n) on render(s, key, n - 1).
   */
  apply(stream: number, key: number, storeNumber: number, bytes: Uint8Array): void;
}
