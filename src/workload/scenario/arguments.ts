import { ScenarioError } from '../../core/index.ts';

/** A page as a scenario names it: counted from the arena's start, or (`Hn`) from the initial break. */
export interface PageName {
  readonly heap: boolean;
  readonly index: number;
}

/** No scenario needs more: 1 TiB. It keeps every sum of pages far from where numbers lose precision. */
const PAGE_LIMIT = 2 ** 28;
/** What may be touched page by page in one call: as much as the arena has. */
const ACCESS_LIMIT = 2 ** 20;

/** The words of one line behind its operation, taken one after the other. */
export class LineArguments {
  readonly operation: string;
  readonly #place: string;
  readonly #words: readonly string[];
  #next = 0;

  /** `place` is what error messages begin with: `NAME:LINE`. */
  constructor(place: string, operation: string, words: readonly string[]) {
    this.#place = place;
    this.operation = operation;
    this.#words = words;
  }

  fail(problem: string, hint?: string): never {
    throw new ScenarioError(
      `${this.#place}: ${this.operation}: ${problem}`,
      hint === undefined ? {} : { hint },
    );
  }

  get exhausted(): boolean {
    return this.#next >= this.#words.length;
  }

  /** The next word; `what` names it in the message if it is missing. */
  word(what: string): string {
    const word = this.#words[this.#next++];
    return word ?? this.fail(`${what} is missing`);
  }

  optionalWord(): string | undefined {
    return this.#words[this.#next++];
  }

  rest(): string[] {
    const words = this.#words.slice(this.#next);
    this.#next = this.#words.length;
    return words;
  }

  /** Must come last: nothing may be left over. */
  end(): void {
    const surplus = this.#words[this.#next];
    if (surplus !== undefined) this.fail(`does not know what ${JSON.stringify(surplus)} is for`);
  }

  /** One of the keys of `table`, giving its value. */
  choice<Value>(what: string, table: Readonly<Record<string, Value>>, word = this.word(what)): Value {
    if (!Object.hasOwn(table, word)) {
      this.fail(`unknown ${what} ${JSON.stringify(word)}`, `one of: ${Object.keys(table).join(' ')}`);
    }
    return table[word]!;
  }

  page(what = 'the page'): PageName {
    return this.pageOf(this.word(what));
  }

  pageOf(word: string): PageName {
    const heap = word.startsWith('H');
    return { heap, index: this.#ranged(heap ? word.slice(1) : word, 0, PAGE_LIMIT) };
  }

  /** A count of pages, 1 if it is left out. */
  count(): number {
    return this.exhausted ? 1 : this.#ranged(this.word('the count'), 0, PAGE_LIMIT);
  }

  /** A count of pages that will all be touched. */
  accessCount(): number {
    return this.exhausted ? 1 : this.#ranged(this.word('the count'), 0, ACCESS_LIMIT);
  }

  /** Refuses to touch more than the arena has; `pages` is only known when the line is executed, or with its options. */
  limitAccess(pages: number): void {
    if (pages > ACCESS_LIMIT) this.fail(`touches ${pages} pages, more than the ${ACCESS_LIMIT} of the arena`);
  }

  integer(what: string, from: number, to: number): number {
    return this.#ranged(this.word(what), from, to);
  }

  /** The number behind `key=` in a word that starts with it. */
  integerAfter(word: string, key: string, from: number, to: number): number {
    return this.#ranged(word.slice(key.length), from, to);
  }

  /** A number in C's notation (decimal, 0x, or octal after a 0), between two bounds, inclusive. */
  #ranged(word: string, from: number, to: number): number {
    if (!/^[+-]?(0[xX][0-9a-fA-F]+|[0-9]+)$/.test(word)) this.fail(`${JSON.stringify(word)} is no number`);
    const digits = word.replace(/^[+-]/, '');
    if (/^0[0-9]/.test(digits) && /[89]/.test(digits))
      this.fail(`${JSON.stringify(word)} is no octal number`);
    const size = /^0[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number(digits);
    const value = word.startsWith('-') ? 0 - size : size;
    if (value < from || value > to) this.fail(`${word} is not between ${from} and ${to}`);
    return value;
  }
}
