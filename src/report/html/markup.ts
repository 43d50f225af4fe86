/** Text that is HTML already; everything else that goes into a page is escaped. */
export class Markup {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What a template may hold. Nothing is shown of `undefined` and `false`. */
export type Content = Markup | string | number | undefined | false | readonly Content[];

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/**
 * Marks with which a text changes the direction of what stands around it, or hides parts of itself (Unicode's
 * bidirectional controls and characters without width); a target may have put them into its name.
 */
const DECEIVING = /[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/gu;

/** A text in HTML, as content or within a quoted attribute. Control characters are shown as escapes. */
export function escapeText(text: string): string {
  return text
    .replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!)
    .replaceAll(DECEIVING, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** A template of HTML in which every value is escaped that is not markup itself. */
export function html(parts: TemplateStringsArray, ...values: readonly Content[]): Markup {
  let text = parts[0]!;
  for (const [index, value] of values.entries()) text += contentText(value) + parts[index + 1];
  return new Markup(text);
}

function contentText(content: Content): string {
  if (content === undefined || content === false) return '';
  if (content instanceof Markup) return content.text;
  if (typeof content === 'string' || typeof content === 'number') return escapeText(String(content));
  return content.map(contentText).join('');
}
