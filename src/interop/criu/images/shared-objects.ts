import { FIRST_OBJECT_PID } from '../../../image/index.ts';

/** Numbers shared memory objects as if they were processes, in the order in which they are first asked for. */
export class SharedObjectNumbers {
  readonly #pids = new Map<string, number>();

  /** The number that stands for an object; the same whenever it is asked for. @param id in decimal */
  pidOf(id: string): number {
    const known = this.#pids.get(id);
    if (known !== undefined) return known;
    const pid = FIRST_OBJECT_PID + this.#pids.size;
    this.#pids.set(id, pid);
    return pid;
  }
}
