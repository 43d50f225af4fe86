import { ScenarioError } from '../../core/index.ts';
import type { ProcessNames } from './operation.ts';

/** The recording interpreter has room for as many. */
const PROCESS_LIMIT = 6;
const NAME_LENGTH = 15;

/** Follows who is alive through the text of a scenario: all of it is decided before anything runs. */
export class LifecycleNames implements ProcessNames {
  readonly #parents = new Map<string, string | undefined>();
  readonly #dead = new Set<string>();

  constructor(first: string) {
    this.#parents.set(first, undefined);
  }

  exists(name: string): boolean {
    return this.#parents.has(name);
  }

  /** @throws ScenarioError if the process has exited, or died with its parent. */
  requireAlive(name: string, place: string): void {
    if (!this.#dead.has(name)) return;
    throw new ScenarioError(`${place}: process ${name} has exited`, {
      hint: 'a process dies with its parent; only clear, snap, pmread, scan and outside accesses still know it',
    });
  }

  fork(parent: string, child: string, fail: (problem: string) => never): void {
    if (!/^[A-Za-z_][A-Za-z0-9_-]*$/.test(child) || child.length > NAME_LENGTH || child === 'heap') {
      fail(`${JSON.stringify(child)} is no name for a process`);
    }
    if (this.exists(child)) fail(`there is a process ${child} already`);
    if (this.#parents.size === PROCESS_LIMIT) fail(`there are ${PROCESS_LIMIT} processes already`);
    this.#parents.set(child, parent);
  }

  /** The process and all its descendants. */
  exit(name: string): void {
    this.#dead.add(name);
    for (const [child, parent] of this.#parents) {
      if (parent === name && !this.#dead.has(child)) this.exit(child);
    }
  }
}
