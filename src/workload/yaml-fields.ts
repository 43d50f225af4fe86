import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import { CkptError, parseBytes, parseDurationMicroseconds, WorkloadError } from '../core/index.ts';
import { parseRate, parseShare } from './quantities.ts';

/** Workload files are short; anything larger is not one, and need not be parsed to be refused. */
const LARGEST_FILE_CHARACTERS = 1 << 20;

/** What all fields of one file share. */
interface Source {
  readonly file: string;
  readonly lines: LineCounter;
  readonly resolve: (node: unknown) => unknown;
}

/**
 * One value of a YAML file together with its place, so that every complaint can name file, line and field. A field
 * that is absent is represented too: its line is that of the mapping which lacks it.
 */
export class YamlField {
  readonly path: string;
  readonly line: number;
  readonly #node: unknown;
  readonly #source: Source;

  constructor(source: Source, node: unknown, path: string, fallbackLine: number) {
    this.#source = source;
    this.#node = source.resolve(node);
    this.path = path;
    const offset = (this.#node as Partial<Node> | undefined)?.range?.[0];
    this.line = offset === undefined ? fallbackLine : source.lines.linePos(offset).line;
  }

  /** Whether the file has this field at all (an empty value counts as absent). */
  get present(): boolean {
    return this.#node !== undefined && !(isScalar(this.#node) && this.#node.value === null);
  }

  /** The error for this field: `FILE:LINE: FIELD: PROBLEM`. */
  error(problem: string, hint?: string): WorkloadError {
    const where = `${this.#source.file}:${this.line}`;
    const field = this.path === '' ? '' : `${this.path}: `;
    return new WorkloadError(`${where}: ${field}${problem}`, {
      ...(hint === undefined ? {} : { hint }),
      data: { file: this.#source.file, line: this.line, field: this.path },
    });
  }

  /**
   * The fields of a mapping. Every name that is not in `names` is refused.
   * @throws WorkloadError with the nearest known name.
   */
  fields<Name extends string>(names: readonly Name[]): Record<Name, YamlField> {
    const entries = new Map(this.entries().map((entry) => [entry.key, entry]));
    for (const entry of entries.values()) {
      if ((names as readonly string[]).includes(entry.key)) continue;
      const near = nearest(entry.key, names);
      throw entry.value.error(
        'unknown field',
        near === undefined ? `known here: ${names.join(', ')}` : `did you mean '${near}'?`,
      );
    }
    const absent = (name: Name) => new YamlField(this.#source, undefined, this.#child(name), this.line);
    const picked = names.map((name) => [name, entries.get(name)?.value ?? absent(name)] as const);
    return Object.fromEntries(picked) as Record<Name, YamlField>;
  }

  /** The names and values of a mapping, in the order of the file. */
  entries(): { readonly key: string; readonly value: YamlField }[] {
    this.#require();
    if (!isMap(this.#node)) throw this.error(`must be a mapping, not ${this.#describe()}`);
    return this.#node.items.map((pair) => {
      const key = isScalar(pair.key) ? String(pair.key.value) : '';
      const offset = (pair.key as Partial<Node> | null)?.range?.[0] ?? 0;
      const line = this.#source.lines.linePos(offset).line;
      return { key, value: new YamlField(this.#source, pair.value ?? undefined, this.#child(key), line) };
    });
  }

  /** One field of a mapping, whatever else it has. */
  child(name: string): YamlField {
    const found = this.entries().find((entry) => entry.key === name);
    return found?.value ?? new YamlField(this.#source, undefined, this.#child(name), this.line);
  }

  /** The elements of a list; none if the field is absent. */
  items(): YamlField[] {
    if (!this.present) return [];
    if (!isSeq(this.#node)) throw this.error(`must be a list, not ${this.#describe()}`);
    return this.#node.items.map(
      (item, index) => new YamlField(this.#source, item, `${this.path}[${index}]`, this.line),
    );
  }

  /** Text that names something: letters, digits, `-`, `_`, `.`. */
  name(): string {
    const value = this.#scalar();
    const text = String(value);
    if (/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/.test(text)) return text;
    throw this.error(
      `'${text}' is not a name`,
      'use letters, digits, dashes, dots and underscores, 63 at most',
    );
  }

  /** One of the given words. */
  choice<Word extends string>(words: readonly Word[], whenAbsent?: Word): Word {
    if (!this.present && whenAbsent !== undefined) return whenAbsent;
    const text = String(this.#scalar());
    const word = words.find((candidate) => candidate === text);
    if (word !== undefined) return word;
    const near = nearest(text, words);
    throw this.error(
      `'${text}' is not one of ${words.join(', ')}`,
      near === undefined ? undefined : `did you mean '${near}'?`,
    );
  }

  boolean(whenAbsent: boolean): boolean {
    if (!this.present) return whenAbsent;
    const value = this.#scalar();
    if (typeof value !== 'boolean') throw this.error(`must be true or false, not ${this.#describe()}`);
    return value;
  }

  /** A whole number between two bounds, both allowed. */
  integer(minimum: number, maximum: number, whenAbsent?: number): number {
    return this.#bounded(minimum, maximum, whenAbsent, 'a whole number', Number.isInteger);
  }

  /** Any number between two bounds, both allowed. */
  number(minimum: number, maximum: number, whenAbsent?: number): number {
    return this.#bounded(minimum, maximum, whenAbsent, 'a number', Number.isFinite);
  }

  /** Bytes from `256MiB` or a plain number. */
  bytes(whenAbsent?: number): number {
    return this.#quantity(whenAbsent, (text) => parseBytes(text));
  }

  /** Nanoseconds from `500ms`; microseconds are the finest unit. */
  nanoseconds(whenAbsent?: number): number {
    return this.#quantity(whenAbsent, (text) => parseDurationMicroseconds(text) * 1000);
  }

  /** Times per second from `5000/s`, `30/min`. */
  perSecond(): number {
    return this.#quantity(undefined, parseRate);
  }

  /** A share between 0 and 1 from `60%` or `0.6`. */
  share(whenAbsent?: number): number {
    return this.#quantity(whenAbsent, parseShare);
  }

  #quantity(whenAbsent: number | undefined, parse: (text: string) => number): number {
    if (!this.present && whenAbsent !== undefined) return whenAbsent;
    const text = String(this.#scalar());
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof CkptError)) throw error;
      throw this.error(error.message.replace(/^\w+ (?=')/, ''), error.hint);
    }
  }

  #bounded(
    minimum: number,
    maximum: number,
    whenAbsent: number | undefined,
    what: string,
    isOne: (value: unknown) => boolean,
  ): number {
    if (!this.present && whenAbsent !== undefined) return whenAbsent;
    const value = this.#scalar();
    if (typeof value !== 'number' || !isOne(value)) {
      throw this.error(`must be ${what}, not ${this.#describe()}`);
    }
    if (value < minimum || value > maximum) {
      throw this.error(`must be between ${minimum} and ${maximum}, not ${value}`);
    }
    return value;
  }

  #scalar(): unknown {
    this.#require();
    if (!isScalar(this.#node)) throw this.error(`must be a single value, not ${this.#describe()}`);
    return this.#node.value;
  }

  #require(): void {
    if (!this.present) throw this.error('is missing');
  }

  #describe(): string {
    if (isMap(this.#node)) return 'a mapping';
    if (isSeq(this.#node)) return 'a list';
    return isScalar(this.#node) ? quoted(String(this.#node.value)) : 'nothing';
  }

  #child(name: string): string {
    return this.path === '' ? name : `${this.path}.${name}`;
  }
}

/**
 * Parses YAML text into its root field.
 * @throws WorkloadError for text that is not YAML, naming the line.
 */
export function parseYamlFile(text: string, file: string): YamlField {
  if (text.length > LARGEST_FILE_CHARACTERS) {
    throw new WorkloadError(`${file}: larger than 1 MiB, which no workload file is`, { data: { file } });
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problem = document.errors[0] ?? document.warnings[0];
  if (problem !== undefined) {
    const line = lines.linePos(problem.pos[0]).line;
    throw new WorkloadError(`${file}:${line}: not valid YAML: ${problem.message}`, { data: { file, line } });
  }
  const resolve = (node: unknown) => (isAlias(node) ? node.resolve(document) : (node ?? undefined));
  return new YamlField({ file, lines, resolve }, document.contents, '', 1);
}

/** The word that a typing mistake most likely meant, or undefined if none is near. */
export function nearest<Word extends string>(text: string, words: readonly Word[]): Word | undefined {
  let best: Word | undefined;
  let bestDistance = Math.max(2, Math.ceil(text.length / 3)) + 1;
  for (const word of words) {
    const distance = editDistance(text.toLowerCase(), word.toLowerCase());
    if (distance < bestDistance) {
      best = word;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance by one row. */
function editDistance(left: string, right: string): number {
  const row = Array.from({ length: right.length + 1 }, (_, index) => index);
  for (let i = 1; i <= left.length; i++) {
    let diagonal = row[0]!;
    row[0] = i;
    for (let j = 1; j <= right.length; j++) {
      const above = row[j]!;
      const substituted = diagonal + (left[i - 1] === right[j - 1] ? 0 : 1);
      row[j] = Math.min(substituted, above + 1, row[j - 1]! + 1);
      diagonal = above;
    }
  }
  return row[right.length]!;
}

/** Longer values are cut in messages: a file that is no workload may be one long value. */
const LONGEST_QUOTE = 60;

function quoted(text: string): string {
  return text.length <= LONGEST_QUOTE ? `'${text}'` : `'${text.slice(0, LONGEST_QUOTE)}...'`;
}
