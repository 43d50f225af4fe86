import { spawnSync } from 'node:child_process';

/** Addresses of the two ends: of a range that is for documentation and tests alone (RFC 2544). */
const HERE = '198.18.203.1';
const THERE = '198.18.203.2';

/**
 * A network namespace at the other end of a link with a limited rate, where network namespaces and traffic control are
 * to be had.
 */
export class LimitedLink {
  readonly address = THERE;
  readonly #name: string;

  private constructor(name: string) {
    this.#name = name;
  }

  /** @returns undefined where there can be none */
  static open(megabitsPerSecond: number): LimitedLink | undefined {
    const name = `ckpt${process.pid}`;
    const link = new LimitedLink(name);
    const [here, there] = [`${name}h`, `${name}t`];
    const rate = ['rate', `${megabitsPerSecond}mbit`, 'burst', '64kb', 'latency', '50ms'];
    const steps = [
      ['ip', 'netns', 'add', name],
      ['ip', 'link', 'add', here, 'type', 'veth', 'peer', 'name', there],
      ['ip', 'link', 'set', there, 'netns', name],
      ['ip', 'addr', 'add', `${HERE}/30`, 'dev', here],
      ['ip', 'link', 'set', here, 'up'],
      ['ip', '-n', name, 'addr', 'add', `${THERE}/30`, 'dev', there],
      ['ip', '-n', name, 'link', 'set', there, 'up'],
      ['tc', 'qdisc', 'add', 'dev', here, 'root', 'tbf', ...rate],
    ];
    if (steps.every(([command, ...args]) => succeeds(command!, args))) return link;
    link.close();
    return undefined;
  }

  /** How to run a command there. */
  get within(): readonly string[] {
    return ['ip', 'netns', 'exec', this.#name];
  }

  close(): void {
    succeeds('ip', ['link', 'del', `${this.#name}h`]);
    succeeds('ip', ['netns', 'del', this.#name]);
  }
}

function succeeds(command: string, args: readonly string[]): boolean {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}
