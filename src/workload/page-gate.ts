/** Knows which pages of simulated processes are there, while others are still on their way. */
export interface PageGate {
  /** Whether a page that a program is about to touch is there; also asked of pages that do not exist. */
  isThere(pid: number, page: number): boolean;
  /** Whether all pages of a process are there: it is about to change its mappings, fork or exit. */
  isWhole(pid: number): boolean;
}

/** What a simulation needs before it can go on. */
export interface PageFault {
  readonly pid: number;
  /** The page that a program touches; undefined if it needs all of its process. */
  readonly page: number | undefined;
}
