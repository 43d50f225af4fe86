import { IntegrityError } from '../core/index.ts';

/** Reads the fields of parsed JSON strictly: an error names the file, the path of the field, and what was expected. */
export class JsonFields {
  readonly #what: string;
  readonly #path: string;
  readonly #fields: ReadonlyMap<string, unknown>;

  /** @throws IntegrityError if `value` is not an object. */
  constructor(value: unknown, what: string, path = '') {
    this.#what = what;
    this.#path = path;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.#mismatch(path === '' ? 'the document' : path, 'an object');
    }
    this.#fields = new Map(Object.entries(value));
  }

  text(name: string): string {
    const value = this.#fields.get(name);
    if (typeof value !== 'string') throw this.#mismatch(this.#pathOf(name), 'text');
    return value;
  }

  /** Text that `pattern` accepts. */
  matching(name: string, pattern: RegExp, expected: string): string {
    const text = this.text(name);
    if (!pattern.test(text)) throw this.#mismatch(this.#pathOf(name), expected);
    return text;
  }

  oneOf<Value extends string>(name: string, values: readonly Value[]): Value {
    const text = this.text(name);
    const value = values.find((candidate) => candidate === text);
    if (value === undefined) throw this.#mismatch(this.#pathOf(name), `one of ${values.join(', ')}`);
    return value;
  }

  flag(name: string): boolean {
    const value = this.#fields.get(name);
    if (typeof value !== 'boolean') throw this.#mismatch(this.#pathOf(name), 'true or false');
    return value;
  }

  /** A non-negative integer of at least `lowest`. */
  count(name: string, lowest = 0): number {
    return this.#asCount(this.#fields.get(name), this.#pathOf(name), lowest);
  }

  countOrNull(name: string, lowest = 0): number | null {
    return this.#fields.get(name) === null ? null : this.count(name, lowest);
  }

  /** Non-negative integers in ascending order. */
  ascendingCounts(name: string, lowest = 0): number[] {
    let previous = lowest - 1;
    return this.#asArray(name).map((value, index) => {
      previous = this.#asCount(value, `${this.#pathOf(name)}[${index}]`, previous + 1);
      return previous;
    });
  }

  object(name: string): JsonFields {
    return new JsonFields(this.#fields.get(name), this.#what, this.#pathOf(name));
  }

  objectOrNull(name: string): JsonFields | null {
    return this.#fields.get(name) === null ? null : this.object(name);
  }

  objects(name: string): JsonFields[] {
    return this.#asArray(name).map(
      (value, index) => new JsonFields(value, this.#what, `${this.#pathOf(name)}[${index}]`),
    );
  }

  /** The fields as they are, for content that is opaque here. */
  record(name: string): Record<string, unknown> {
    return Object.fromEntries(this.object(name).#fields);
  }

  /** The error for a field whose value is of the right type and still wrong. */
  wrong(name: string, expected: string): IntegrityError {
    return this.#mismatch(this.#pathOf(name), expected);
  }

  #asArray(name: string): readonly unknown[] {
    const value = this.#fields.get(name);
    if (!Array.isArray(value)) throw this.#mismatch(this.#pathOf(name), 'an array');
    return value;
  }

  #asCount(value: unknown, path: string, lowest: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < lowest) {
      throw this.#mismatch(path, `an integer of at least ${lowest}`);
    }
    return value;
  }

  #pathOf(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }

  #mismatch(path: string, expected: string): IntegrityError {
    return new IntegrityError(`${this.#what} is malformed: ${path} must be ${expected}`, {
      hint: "run 'ckpt verify' to list everything that is damaged",
      data: { file: this.#what, field: path },
    });
  }
}
