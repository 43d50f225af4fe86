/** Something that keeps a process from being what a checkpoint says. */
export interface RewriteObstacle {
  readonly pid: number;
  /** A sentence without its full stop: `descriptor 7 (socket:[123]) was opened since`. */
  readonly problem: string;
  /** What becomes of it if the rest is done all the same: `it is closed`. Null if nothing can be done then. */
  readonly otherwise: string | null;
}
