/** Colours of one theme as #rrggbb. */
export interface Palette {
  readonly background: string;
  readonly surface: string;
  readonly text: string;
  readonly muted: string;
  readonly rule: string;
  readonly focus: string;
  readonly good: string;
  readonly bad: string;
  /** Remaining memory and what is sent; what is written; the working set; the stop; throttling. */
  readonly remaining: string;
  readonly dirtied: string;
  readonly workingSet: string;
  readonly stop: string;
  readonly throttle: string;
  /** From little to much: one hue whose lightness alone tells the order, so that no kind of colour vision is needed. */
  readonly heat: readonly string[];
}

/** How many shades a heat map has, that of nothing at all not counted. */
export const HEAT_LEVELS = 7;

/** Blue, orange and teal are told apart with every kind of colour blindness; the lines differ in their dashes too. */
export const LIGHT: Palette = {
  background: '#fbfbfa',
  surface: '#ffffff',
  text: '#1a1e23',
  muted: '#566070',
  rule: '#e2e5e9',
  focus: '#0a5cb8',
  good: '#0b7048',
  bad: '#b02a1a',
  remaining: '#0a5cb8',
  dirtied: '#a84a06',
  workingSet: '#0b6e66',
  stop: '#b02a1a',
  throttle: '#6d4aa3',
  heat: ['#dfebf7', '#bdd7ee', '#92bfe3', '#5f9fd3', '#2c73b3', '#14589c', '#08306b'],
};

export const DARK: Palette = {
  background: '#14171b',
  surface: '#1a1e23',
  text: '#e7e9ec',
  muted: '#a3acb8',
  rule: '#2d343c',
  focus: '#79b8ff',
  good: '#63cb9b',
  bad: '#ff9184',
  remaining: '#6fb1ff',
  dirtied: '#f2a561',
  workingSet: '#5ecabb',
  stop: '#ff9184',
  throttle: '#c3a6f2',
  heat: ['#1d3048', '#234469', '#2c5c90', '#3973b0', '#649fd6', '#97c3ec', '#d3e8fd'],
};

const INK = ['#0b0d10', '#ffffff'] as const;

/** Black or white, whichever is read better on a colour. */
export function inkOn(colour: string): string {
  return contrast(INK[0], colour) > contrast(INK[1], colour) ? INK[0] : INK[1];
}

/** WCAG 2's contrast ratio of two colours, 1 to 21. */
export function contrast(one: string, other: string): number {
  const [low, high] = [luminance(one), luminance(other)].sort((left, right) => left - right);
  return (high! + 0.05) / (low! + 0.05);
}

function luminance(colour: string): number {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const share = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
}

/** A palette as CSS custom properties. */
export function paletteStyle({ heat, ...colours }: Palette): string {
  const named = Object.entries(colours).map(([name, colour]) => `--${name}:${colour}`);
  const shades = heat.map((colour, level) => `--heat${level}:${colour};--ink${level}:${inkOn(colour)}`);
  return [...named, ...shades].join(';');
}
