import type { RehearsalReportInput } from './input.ts';
import { html, Markup } from './markup.ts';
import { section } from './section.ts';

/** What is written on one line is no longer than this. */
const LINE = 110;
/**
 * Of longer lists only the beginning and the end are kept, of shorter ones the more there is, so that the page stays
 * small.
 */
const MOST_ITEMS = [1000, 240, 60] as const;
const ENOUGH_CHARACTERS = 600_000;

/** The input as JSON, to copy and to download. */
export function rawData(input: RehearsalReportInput): Markup {
  const { text, longest } = rawJson(input);
  const left = longest === undefined ? '' : `; of lists longer than ${longest} only both ends`;
  return section({
    id: 'raw',
    title: 'Raw data',
    lead: `Everything above as JSON${left}. Times are microseconds, memory is bytes or pages of 4096.`,
    content: html`<div class="controls" hidden><button type="button" id="copy">Copy</button> <button type="button" id="download">Download</button> <span id="copied" role="status"></span></div>
<details class="data"><summary>Show the JSON</summary><div class="scroll" tabindex="0" role="group" aria-label="Raw data"><pre id="json">${new Markup(text)}</pre></div></details>`,
  });
}

/**
 * JSON that is safe as content of HTML, without any entity: what would be markup is written as an escape of JSON.
 * `longest` says what the lists were shortened to, if any was.
 */
function rawJson(input: RehearsalReportInput): { text: string; longest: number | undefined } {
  const attempt = (most: number) => {
    const { data, shortened } = shortenedData(input, most);
    return { most, shortened, text: written(data, '') };
  };
  let chosen = attempt(MOST_ITEMS[0]);
  for (const most of MOST_ITEMS.slice(1)) {
    if (chosen.text.length <= ENOUGH_CHARACTERS) break;
    chosen = attempt(most);
  }
  const text = chosen.text.replaceAll(/[<>&\p{Cf}\u2028\u2029]/gu, (character) =>
    Array.from({ length: character.length }, (_, unit) => escaped(character, unit)).join(''),
  );
  return { text, longest: chosen.shortened ? chosen.most : undefined };
}

function shortenedData(
  { generatedAt, ...input }: RehearsalReportInput,
  most: number,
): { data: Json; shortened: boolean } {
  let shortened = false;
  const text = JSON.stringify({ generatedAt: generatedAt.toISOString(), ...input }, (_, value: unknown) => {
    if (!Array.isArray(value) || value.length <= most) return value;
    shortened = true;
    return [...value.slice(0, most / 2), ...value.slice(-most / 2)];
  });
  return { data: JSON.parse(text) as Json, shortened };
}

const escaped = (text: string, unit: number): string =>
  `\\u${text.charCodeAt(unit).toString(16).padStart(4, '0')}`;

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** JSON with a line for each value that fits on one. */
function written(value: Json, indent: string): string {
  const flat = JSON.stringify(value);
  if (typeof value !== 'object' || value === null || flat.length + indent.length <= LINE) return flat;
  const inner = `${indent} `;
  if (isList(value)) {
    if (value.every((item) => typeof item === 'number')) return flat;
    return `[\n${value.map((item) => inner + written(item, inner)).join(',\n')}\n${indent}]`;
  }
  const fields = Object.entries(value).map(
    ([name, field]) => `${inner}${JSON.stringify(name)}: ${written(field, inner)}`,
  );
  return `{\n${fields.join(',\n')}\n${indent}}`;
}

function isList(value: object): value is readonly Json[] {
  return Array.isArray(value);
}
