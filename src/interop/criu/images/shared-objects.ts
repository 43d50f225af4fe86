import { FIRST_OBJECT_PID } from '../../../image/index.ts';

/** Numbers shared memory objects as if they were processes, in the order in which they are first asked for. */
export class SharedObjectNumbers {
  readonly #pids = new Map<string, number>();
  #next = FIRST_OBJECT_PID;

  /** Takes over the number that an object has already; the first one that is taken over counts. */
  keep(id: string, pid: number): void {
    if (!this.#pids.has(id)) this.#pids.set(id, pid);
    this.#next = Math.max(this.#next, pid + 1);
  }

  /** The number that stands for an object; the same whenever it is asked for. @param id in decimal */
  pidOf(id: string): number {
    const known = this.#pids.get(id);
    if (known !== undefined) return known;
    const pid = this.#next++;
    this.#pids.set(id, pid);
    return pid;
  }
}
