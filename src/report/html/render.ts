import { verdictSentence } from '../rehearsal-words.ts';
import type { RehearsalReportInput } from './input.ts';
import { html } from './markup.ts';

/** The page of a rehearsal: one file that asks for nothing else, the same for the same input. */
export function renderRehearsalReport(input: RehearsalReportInput): string {
  const sentence = verdictSentence(input.rehearsal);
  return html`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${sentence}</title></head>
<body><h1>${sentence}</h1></body>
</html>
`.text;
}
