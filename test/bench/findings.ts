import { type Column, formatTable } from '../../src/report/index.ts';

/** What a value should be at least or at most. */
export interface Aim {
  readonly direction: 'at most' | 'at least';
  readonly value: number;
}

/** One measured value. */
export interface Finding {
  readonly section: string;
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly aim: Aim | null;
}

/** Something that could not be measured here, and why. */
export interface Skip {
  readonly section: string;
  readonly what: string;
  readonly reason: string;
}

/** Collects what the sections of one run measure. */
export class Findings {
  readonly found: Finding[] = [];
  readonly skipped: Skip[] = [];
  #section = '';
  readonly #log: (line: string) => void;

  /** `log` gets a line for every value as it is measured. */
  constructor(log: (line: string) => void) {
    this.#log = log;
  }

  begin(section: string): void {
    this.#section = section;
    this.#log(`== ${section}`);
  }

  add(what: string, value: number, unit: string, aim: Aim | null = null): void {
    this.found.push({ section: this.#section, what, value, unit, aim });
    this.#log(`${what}: ${formatValue(value)} ${unit}`);
  }

  skip(what: string, reason: string): void {
    this.skipped.push({ section: this.#section, what, reason });
    this.#log(`${what}: skipped, ${reason}`);
  }

  /** The table for people. */
  toText(): string {
    const columns: Column[] = [
      { heading: 'section' },
      { heading: 'what' },
      { heading: 'value', align: 'right' },
      { heading: 'unit' },
      { heading: 'aim' },
      { heading: '' },
    ];
    const rows = this.found.map(({ section, what, value, unit, aim }) => [
      section,
      what,
      formatValue(value),
      unit,
      aim === null ? '' : `${aim.direction} ${formatValue(aim.value)}`,
      aim === null ? '' : isMet(value, aim) ? 'met' : 'missed',
    ]);
    const skips = this.skipped.map(
      ({ section, what, reason }) => `skipped: ${section}, ${what}: ${reason}\n`,
    );
    return formatTable(columns, rows) + skips.join('');
  }

  /** The same as one JSON document. */
  toJson(machine: Readonly<Record<string, string | number>>): string {
    const findings = this.found.map((finding) => ({
      ...finding,
      met: finding.aim === null ? null : isMet(finding.value, finding.aim),
    }));
    return `${JSON.stringify({ machine, findings, skipped: this.skipped }, null, 2)}\n`;
  }
}

export const atMost = (value: number): Aim => ({ direction: 'at most', value });
export const atLeast = (value: number): Aim => ({ direction: 'at least', value });

function isMet(value: number, aim: Aim): boolean {
  return aim.direction === 'at most' ? value <= aim.value : value >= aim.value;
}

function formatValue(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toPrecision(3);
}

/** The middle one of an odd number of values. */
export function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}
