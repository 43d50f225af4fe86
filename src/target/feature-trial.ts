import type { Native } from './native/calls.ts';
import type { Specimen } from './specimen.ts';

/** What trials work with. */
export interface Trial {
  /** A process to try things on. @throws UntriedError if none could be started */
  specimen(): Specimen;
  /** @throws UntriedError if there are no native calls */
  native(): Native;
}
