/** Characters that lines, bars and charts are drawn with in text. */
export interface Ink {
  /** From nothing to a full cell. */
  readonly levels: string;
  readonly bar: string;
  /** The upper edge of an area within a cell, from its bottom to its top, and a cell below the edge. */
  readonly edge: string;
  readonly body: string;
  /** Of an axis: beside a labelled row, beside another one, the corner, and below. */
  readonly axis: readonly [tick: string, line: string, corner: string, across: string];
}

export const BLOCK_INK: Ink = {
  levels: ' ▁▂▃▄▅▆▇█',
  bar: '█',
  edge: ' ▁▂▃▄▅▆▇█',
  body: '█',
  axis: ['┤', '│', '└', '─'],
};
export const ASCII_INK: Ink = {
  levels: ' .:-=+*#@',
  bar: '#',
  edge: ' _-"',
  body: ':',
  axis: ['+', '|', '+', '-'],
};
