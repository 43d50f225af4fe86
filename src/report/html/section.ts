import { type Content, html, type Markup } from './markup.ts';

export interface LegendEntry {
  /** Classes of the sample beside the text. */
  readonly mark: string;
  readonly text: string;
}

export interface Section {
  readonly id: string;
  readonly title: string;
  /** What is to be seen, in a sentence or two. */
  readonly lead?: string;
  readonly content: Content;
}

/** A part of the page under a heading of its own. */
export function section({ id, title, lead, content }: Section): Markup {
  return html`<section id="${id}" aria-labelledby="${id}-title">
<h2 id="${id}-title">${title}</h2>
${lead !== undefined && html`<p class="lead">${lead}</p>`}
${content}
</section>
`;
}

/** A part of the page that is a chart with a legend. */
export function figure({ legend, ...rest }: Section & { readonly legend: readonly LegendEntry[] }): Markup {
  const key = html`<ul class="legend">${legend.map(
    ({ mark, text }) =>
      html`<li><svg width="22" height="12" aria-hidden="true">${sample(mark)}</svg>${text}</li>`,
  )}</ul>`;
  return section({ ...rest, content: [key, rest.content] });
}

function sample(mark: string): Markup {
  return mark.startsWith('line')
    ? html`<line class="${mark}" x1="0" x2="22" y1="6" y2="6"/>`
    : html`<rect class="${mark}" width="22" height="12"/>`;
}
