import type { Column } from '../table.ts';
import { type Content, html, type Markup } from './markup.ts';

/** A table behind a chart, or one of its own. */
export interface DataTable {
  readonly caption: string;
  readonly columns: readonly Column[];
  /** One cell a column; the first names the row. */
  readonly rows: readonly (readonly Content[])[];
}

export function renderTable(id: string, { caption, columns, rows }: DataTable): Markup {
  return html`<table id="${id}"><caption>${caption}</caption>
<thead><tr>${columns.map(
    ({ heading, align }) => html`<th scope="col"${sideOf(align)}>${heading}</th>`,
  )}</tr></thead>
<tbody>${rows.map((cells) => html`<tr>${cells.map((cell, index) => renderCell(cell, index, columns))}</tr>\n`)}</tbody></table>`;
}

/** The table in a box that can be scrolled, also by keys. */
export function scrollingTable(id: string, table: DataTable): Markup {
  return html`<div class="scroll" tabindex="0" role="group" aria-label="${table.caption}">${renderTable(id, table)}</div>`;
}

/** The table behind a chart, folded. */
export function tableDetails(id: string, table: DataTable): Markup {
  return html`<details class="data"><summary>${table.caption}</summary>${scrollingTable(id, table)}</details>`;
}

function renderCell(cell: Content, index: number, columns: readonly Column[]): Markup {
  const side = sideOf(columns[index]?.align);
  return index === 0 ? html`<th scope="row"${side}>${cell}</th>` : html`<td${side}>${cell}</td>`;
}

function sideOf(align: Column['align']): Markup {
  return align === 'right' ? html` class="n"` : html``;
}
