import { IntegrityError } from './errors.ts';

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

  /** Whether the field is there at all. */
  has(name: string): boolean {
    return this.#fields.has(name);
  }

  text(name: string): string {
    return this.#asText(this.#fields.get(name), this.#pathOf(name));
  }

  textOrNull(name: string): string | null {
    return this.orNull(name, () => this.text(name));
  }

  texts(name: string): string[] {
    return this.#asArray(name).map((value, index) => this.#asText(value, `${this.#pathOf(name)}[${index}]`));
  }

  /** Text that `pattern` accepts. */
  matching(name: string, pattern: RegExp, expected: string): string {
    return this.checked(name, (text): text is string => pattern.test(text), expected);
  }

  /** Text that `isRight` accepts. */
  checked<Value extends string>(
    name: string,
    isRight: (text: string) => text is Value,
    expected: string,
  ): Value {
    const text = this.text(name);
    if (!isRight(text)) throw this.wrong(name, expected);
    return text;
  }

  oneOf<Value extends string>(name: string, values: readonly Value[]): Value {
    const text = this.text(name);
    const value = values.find((candidate) => candidate === text);
    if (value === undefined) throw this.wrong(name, `one of ${values.join(', ')}`);
    return value;
  }

  flag(name: string): boolean {
    const value = this.#fields.get(name);
    if (typeof value !== 'boolean') throw this.wrong(name, 'true or false');
    return value;
  }

  /** A non-negative integer of at least `lowest`. */
  count(name: string, lowest = 0): number {
    return this.#asInteger(this.#fields.get(name), this.#pathOf(name), lowest);
  }

  countOrNull(name: string, lowest = 0): number | null {
    return this.orNull(name, () => this.count(name, lowest));
  }

  counts(name: string): number[] {
    return this.#asArray(name).map((value, index) =>
      this.#asInteger(value, `${this.#pathOf(name)}[${index}]`, 0),
    );
  }

  /** An integer that may be negative. */
  integer(name: string): number {
    return this.#asInteger(this.#fields.get(name), this.#pathOf(name), Number.NEGATIVE_INFINITY);
  }

  /** Non-negative integers in ascending order. */
  ascendingCounts(name: string, lowest = 0): number[] {
    let previous = lowest - 1;
    return this.#asArray(name).map((value, index) => {
      previous = this.#asInteger(value, `${this.#pathOf(name)}[${index}]`, previous + 1);
      return previous;
    });
  }

  object(name: string): JsonFields {
    return new JsonFields(this.#fields.get(name), this.#what, this.#pathOf(name));
  }

  objectOrNull(name: string): JsonFields | null {
    return this.orNull(name, () => this.object(name));
  }

  objects(name: string): JsonFields[] {
    return this.#asArray(name).map(
      (value, index) => new JsonFields(value, this.#what, `${this.#pathOf(name)}[${index}]`),
    );
  }

  /** What `read` makes of the field, or null if it is null. */
  orNull<Value>(name: string, read: () => Value): Value | null {
    return this.#fields.get(name) === null ? null : read();
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
    if (!Array.isArray(value)) throw this.wrong(name, 'an array');
    return value;
  }

  #asText(value: unknown, path: string): string {
    if (typeof value !== 'string') throw this.#mismatch(path, 'text');
    return value;
  }

  #asInteger(value: unknown, path: string, lowest: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < lowest) {
      throw this.#mismatch(path, lowest < 0 ? 'an integer' : `an integer of at least ${lowest}`);
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
