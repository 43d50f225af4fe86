import { Random } from '../../src/core/index.ts';

/** What a random scenario is made of. */
export type FuzzFlavour =
  | 'anon'
  | 'files'
  | 'forks'
  | 'all'
  | 'moves'
  | 'swap'
  | 'huge'
  | 'locks'
  | 'uffd'
  | 'mixed'
  | 'wild';
export const FUZZ_FLAVOURS: readonly FuzzFlavour[] = [
  'anon',
  'files',
  'forks',
  'all',
  'moves',
  'swap',
  'huge',
  'locks',
  'uffd',
  'mixed',
  'wild',
];

const ARENA = 48;
const HUGE_ARENA = 2048;
const FILE = 'f1';
const PROCESS_LIMIT = 4;

type Kind = 'rw' | 'r' | 'none';
interface Page {
  kind: Kind;
  shared: boolean;
}

/** One process as the generator believes it to be; only used to aim operations at memory that is there. */
class Model {
  readonly name: string;
  readonly pages = new Map<number, Page>();

  constructor(name: string) {
    this.name = name;
  }
}

/** Writes a random scenario: valid operations, mostly aimed at mapped memory. Same arguments, same text. */
export function randomScenario(seed: number, flavour: FuzzFlavour, steps = 60): string {
  return new Generator(seed, flavour).write(steps);
}

class Generator {
  readonly #random: Random;
  readonly #flavour: FuzzFlavour;
  readonly #seed: number;
  readonly #lines: string[] = [];
  readonly #models = [new Model('p0')];
  /** Huge pages: operations work in units of an eighth of one. */
  readonly #unit: number;

  constructor(seed: number, flavour: FuzzFlavour) {
    this.#random = new Random(seed);
    this.#flavour = flavour;
    this.#seed = seed;
    this.#unit = this.#usesHuge ? 128 : 1;
  }

  write(steps: number): string {
    this.#lines.push(`# random program, seed ${this.#seed}, flavour ${this.#flavour}`);
    if (this.#hasFiles) this.#lines.push(`mkfile ${FILE} ${ARENA}`);
    if (this.#usesHuge) {
      this.#lines.push(`thp ${this.#pick(['always', 'madvise', 'always'])}`);
      if (this.#chance(0.2)) this.#lines.push('thpzero 0');
    }
    if (this.#flavour === 'wild') {
      this.#lines.push(`shmemthp ${this.#pick(['always', 'never', 'advise'])}`);
      if (this.#chance(0.4)) this.#lines.push('uffd wpasync wpshmem');
    }
    // Asynchronous write protection never blocks; from 6.7 on. Older kernels refuse it, and all that follows.
    if (this.#flavour === 'uffd') this.#lines.push(`uffd wpasync${this.#pick(['', ' unpop', ' wpshmem'])}`);
    for (let step = 0; step < steps; step++) this.#step();
    this.#lines.push('snap');
    return `${this.#lines.join('\n')}\n`;
  }

  get #usesHuge(): boolean {
    return this.#flavour === 'huge' || this.#flavour === 'wild';
  }

  get #hasFiles(): boolean {
    return ['files', 'all', 'locks', 'swap', 'uffd', 'mixed'].includes(this.#flavour);
  }

  get #hasForks(): boolean {
    return !['anon', 'files', 'moves'].includes(this.#flavour);
  }

  get #arena(): number {
    return this.#usesHuge ? HUGE_ARENA : ARENA;
  }

  #below(limit: number): number {
    return this.#random.nextBelow(limit);
  }

  #chance(probability: number): boolean {
    return this.#random.nextFraction() < probability;
  }

  #pick<Item>(items: readonly Item[]): Item {
    return items[this.#below(items.length)]!;
  }

  #emit(model: Model, text: string): void {
    this.#lines.push(model.name === 'p0' && this.#chance(0.9) ? text : `${model.name}: ${text}`);
  }

  #step(): void {
    const model = this.#pick(this.#models);
    const mapped = [...model.pages.keys()];
    const roll = this.#random.nextFraction();
    const mayFork = this.#hasForks && this.#models.length < PROCESS_LIMIT;
    if (mapped.length === 0 || roll < 0.14) this.#mmap(model);
    else if (roll < 0.28) this.#lines.push('snap');
    else if (roll < 0.36) this.#lines.push(`clear ${this.#pick(this.#models).name}`);
    else if (roll < 0.39 && mayFork) this.#fork(model);
    else if (roll < 0.45 && this.#flavour === 'mixed') this.#machineOperation(model, mapped);
    else if (roll < 0.45 && this.#flavour === 'wild') this.#wildOperation(model, mapped);
    else if (roll < 0.52 && this.#flavour === 'uffd') this.#userfault(model, mapped);
    else if (roll < 0.62) this.#access(model, mapped);
    else if (roll < 0.72) this.#mprotect(model, mapped);
    else if (roll < 0.79) this.#munmap(model, mapped);
    else if (roll < 0.89) this.#mremap(model, mapped);
    else this.#madvise(model, mapped);
  }

  #align(page: number): number {
    return page - (page % this.#unit);
  }

  /** A run of mapped pages that begins somewhere in a mapping. */
  #run(model: Model, mapped: readonly number[], limit: number): { start: number; count: number } {
    const start = this.#align(this.#pick(mapped));
    const wanted = this.#unit * (1 + this.#below(limit));
    let count = 1;
    while (count < wanted && model.pages.has(start + count)) count++;
    return { start, count };
  }

  #mmap(model: Model): void {
    const start = this.#align(this.#below(this.#arena));
    const room = Math.min(this.#arena - start, this.#unit * (1 + this.#below(8)));
    let count = 0;
    while (count < room && !model.pages.has(start + count)) count++;
    if (count === 0) return;
    const kind: Kind = this.#chance(0.75) ? 'rw' : 'r';
    const file = this.#hasFiles && this.#chance(0.4);
    const shared = this.#chance(file ? 0.5 : this.#flavour === 'wild' ? 0.35 : 0.12);
    const source = file ? `${FILE} ${shared ? 'shared' : 'private'} off=${start % ARENA}` : '';
    const options = this.#mmapOptions(file);
    const anonymous = `anon ${shared ? 'shared' : 'private'}`;
    this.#emit(model, `mmap ${start} ${count} ${kind} ${file ? source : anonymous}${options}`);
    for (let index = 0; index < count; index++) model.pages.set(start + index, { kind, shared });
  }

  #mmapOptions(file: boolean): string {
    if (this.#flavour !== 'locks') return '';
    if (this.#chance(0.2)) return ' populate';
    if (this.#chance(0.15)) return ' locked';
    if (!file && this.#chance(0.1)) return ' noreserve';
    return '';
  }

  #fork(model: Model): void {
    const child = new Model(`p${this.#models.length}`);
    this.#emit(model, `fork ${child.name}`);
    for (const [page, state] of model.pages) child.pages.set(page, { ...state });
    this.#models.push(child);
  }

  #access(model: Model, mapped: readonly number[]): void {
    const start = this.#pick(mapped);
    const writable = model.pages.get(start)?.kind === 'rw';
    let count = 1;
    const same = () => (model.pages.get(start + count)?.kind === 'rw') === writable;
    while (count < 5 && this.#chance(0.45) && model.pages.has(start + count) && same()) count++;
    const outside = ['kwrite', 'procmem', 'vmwritev', 'selfmem'];
    const loads = ['kread', 'procmemread', 'vmreadv'];
    if (this.#chance(0.02)) this.#emit(model, `write ${this.#below(this.#arena)} 1`);
    else if (writable && this.#chance(0.12)) this.#emit(model, `${this.#pick(outside)} ${start} ${count}`);
    else if (writable && this.#chance(0.75)) this.#emit(model, `write ${start} ${count}`);
    else if (this.#chance(0.1)) this.#emit(model, `${this.#pick(loads)} ${start} ${count}`);
    else this.#emit(model, `read ${start} ${count}`);
  }

  /** What is not a call of the process itself, or rare. */
  #machineOperation(model: Model, mapped: readonly number[]): void {
    const page = this.#pick(mapped);
    const { start, count } = this.#run(model, mapped, 4);
    const operations: readonly (() => void)[] = [
      () => this.#lines.push(`clear ${model.name} ${this.#pick(['1', '2', '3', '5'])}`),
      () => this.#lines.push(`fwrite ${FILE} ${this.#below(ARENA)}`),
      () => this.#lines.push(`fpunch ${FILE} ${this.#below(ARENA)} 3`),
      () => this.#emit(model, `remapfile ${start} ${count} ${this.#below(ARENA - count)}`),
      () => this.#emit(model, `mlock ${start} ${count}`),
      () => this.#emit(model, `munlock ${start} ${count}`),
      () => this.#emit(model, `msync ${start} ${count}`),
      () => this.#emit(model, `brk ${this.#below(8)}`),
      () => this.#emit(model, `write H${this.#below(6)}`),
      () => this.#lines.push(`snap ${model.name} heap`),
      () => this.#emit(model, `fill ${page} 1 ${this.#below(2) * 65}`),
      () => this.#emit(model, `migrate ${start} ${count} ${this.#below(2)}`),
      () => this.#emit(model, `mlockall ${this.#pick(['', 'current', 'future', ''])}`.trim()),
      () => this.#lines.push('swapoff', 'swapon'),
      () =>
        this.#emit(
          model,
          `scan 0 ${ARENA} ret=present|swapped|file|pfnzero|softdirty|written mask=${this.#pick(['present', 'softdirty', 'swapped'])}`,
        ),
    ];
    this.#pick(operations)();
  }

  #wildOperation(model: Model, mapped: readonly number[]): void {
    const { start, count } = this.#run(model, mapped, 6);
    const page = this.#pick(mapped);
    const operations: readonly (() => void)[] = [
      () => this.#emit(model, `uffdreg ${start} ${count} wp`),
      () => this.#emit(model, `uffdwp ${start} ${count} on`),
      () => this.#emit(model, `uffdwp ${start} ${count} off`),
      () => this.#emit(model, `scan ${start} ${count} mask=present ret=present|huge|file|softdirty|pfnzero`),
      () => this.#emit(model, `scan ${start} ${count} mask=written ret=written|huge flags=wp`),
      () => this.#emit(model, `fill ${page} 3 ${this.#below(2) * 65}`),
      () => this.#emit(model, `mlock ${start} ${count}`),
      () => this.#emit(model, `munlock ${start} ${count}`),
      () => this.#emit(model, `vmreadv ${page}`),
      () => this.#emit(model, `procmem ${page}`),
      () => this.#lines.push('swapoff', 'swapon'),
      () => this.#emit(model, `madvise ${page} 1 ${this.#pick(['cold', 'pageout', 'free', 'dontneed'])}`),
      () => this.#emit(model, `mprotect ${page} 1 ${this.#pick(['r', 'rw'])}`),
      () => this.#emit(model, `munmap ${page} 1`),
    ];
    this.#pick(operations)();
  }

  #userfault(model: Model, mapped: readonly number[]): void {
    const { start, count } = this.#run(model, mapped, 6);
    const scan = `scan ${start} ${count} mask=written ret=written|present|wpallowed|pfnzero|file|softdirty`;
    const operations = [
      `uffdreg ${start} ${count} wp`,
      `uffdreg ${start} ${count} wp`,
      `uffdunreg ${start} ${count}`,
      `uffdwp ${start} ${count} on`,
      `uffdwp ${start} ${count} on`,
      `uffdwp ${start} ${count} off`,
      scan,
      `${scan} flags=wp`,
      `${scan} flags=wp|check`,
      `${scan} flags=wp max=${1 + this.#below(3)}`,
    ];
    this.#emit(model, this.#pick(operations));
  }

  #mprotect(model: Model, mapped: readonly number[]): void {
    const { start, count } = this.#run(model, mapped, 4);
    const kind: Kind = this.#chance(0.6) ? 'rw' : this.#chance(0.85) ? 'r' : 'none';
    this.#emit(model, `mprotect ${start} ${count} ${kind === 'none' ? '-' : kind}`);
    for (let index = 0; index < count; index++) {
      const page = model.pages.get(start + index);
      if (page !== undefined) page.kind = kind;
    }
  }

  #munmap(model: Model, mapped: readonly number[]): void {
    const { start, count } = this.#run(model, mapped, 4);
    this.#emit(model, `munmap ${start} ${count}`);
    for (let index = 0; index < count; index++) model.pages.delete(start + index);
  }

  #mremap(model: Model, mapped: readonly number[]): void {
    const { start, count } = this.#run(model, mapped, this.#flavour === 'moves' ? 5 : 2);
    const moves = this.#flavour === 'moves' || this.#usesHuge;
    if (moves && this.#chance(0.3)) {
      this.#resize(model, start, count);
      return;
    }
    const target = this.#align(this.#below(this.#arena - count + 1));
    const keeps = moves && this.#chance(0.15);
    const overlap = target < start + count && start < target + count;
    this.#emit(model, `mremap ${start} ${count} ${count}${keeps ? ' dontunmap' : ''} to=${target}`);
    if (overlap) return;
    const moved = Array.from({ length: count }, (_, index) => model.pages.get(start + index));
    moved.forEach((page, index) => {
      if (!keeps) model.pages.delete(start + index);
      if (page === undefined) model.pages.delete(target + index);
      else model.pages.set(target + index, { ...page });
    });
  }

  #resize(model: Model, start: number, count: number): void {
    const newCount = this.#unit * (1 + this.#below(6));
    this.#emit(model, `mremap ${start} ${count} ${newCount}`);
    const last = model.pages.get(start + count - 1);
    for (let index = newCount; index < count; index++) model.pages.delete(start + index);
    // A guess: growth may fail. Operations on memory that is not there are valid too.
    for (let index = count; last !== undefined && index < newCount; index++) {
      if (!model.pages.has(start + index) && start + index < this.#arena)
        model.pages.set(start + index, { ...last });
    }
  }

  #madvise(model: Model, mapped: readonly number[]): void {
    const { start, count } = this.#run(model, mapped, 4);
    if (this.#flavour === 'locks' && this.#chance(0.5)) {
      this.#emit(model, `${this.#pick(['mlock', 'munlock'])} ${start} ${count}`);
      return;
    }
    const advices: Readonly<Record<FuzzFlavour, readonly string[]>> = {
      anon: ['dontneed'],
      files: ['dontneed'],
      forks: ['dontneed'],
      all: ['dontneed', 'dontneed', 'populate_write', 'dontdump', 'dodump', 'free'],
      moves: ['dontneed', 'dontdump', 'dodump'],
      swap: ['pageout', 'pageout', 'pageout', 'dontneed', 'free', 'populate_read'],
      huge: ['dontneed', 'hugepage', 'nohugepage', 'collapse', 'free', 'populate_write'],
      uffd: ['dontneed', 'pageout', 'free', 'populate_write', 'populate_read'],
      mixed: [
        'dontneed',
        'pageout',
        'free',
        'cold',
        'wipeonfork',
        'dontfork',
        'mergeable',
        'unmergeable',
        'remove',
      ],
      wild: [
        'dontneed',
        'hugepage',
        'collapse',
        'free',
        'pageout',
        'pageout',
        'cold',
        'mergeable',
        'populate_write',
      ],
      locks: [
        'dontneed',
        'populate_read',
        'populate_write',
        'dontfork',
        'dofork',
        'wipeonfork',
        'keeponfork',
      ],
    };
    this.#emit(model, `madvise ${start} ${count} ${this.#pick(advices[this.#flavour])}`);
  }
}
