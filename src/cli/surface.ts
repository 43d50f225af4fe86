import { ASCII_INK, BLOCK_INK, type Ink, PLAIN_SURFACE, type TextSurface } from '../report/index.ts';
import type { CliEnvironment } from './context.ts';

/** Block characters where the locale says that the terminal knows them. */
export function inkOf({ variables }: CliEnvironment): Ink {
  const locale = variables['LC_ALL'] || variables['LC_CTYPE'] || variables['LANG'] || '';
  return /utf-?8/i.test(locale) ? BLOCK_INK : ASCII_INK;
}

/** What standard output is to draw on; always the same if it is no terminal. */
export function surfaceOf(environment: CliEnvironment): TextSurface {
  const { isTTY, columns = PLAIN_SURFACE.columns } = environment.stdout;
  return isTTY === true ? { columns, ink: inkOf(environment) } : PLAIN_SURFACE;
}
