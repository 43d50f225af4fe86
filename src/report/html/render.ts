import { createHash } from 'node:crypto';
import { heatMap } from './heat-map.ts';
import type { RehearsalReportInput } from './input.ts';
import { html, Markup } from './markup.ts';
import { dirtyRateChart, roundRatesChart, workingSetChart } from './rate-charts.ts';
import { rawData } from './raw-data.ts';
import { remainingChart } from './remaining-chart.ts';
import { SCRIPT } from './script.ts';
import { advice, comparison, parameterLists, roundsTable, serviceCost, verdict } from './sections.ts';
import { STYLE } from './style.ts';
import { sweepMap } from './sweep-map.ts';

/**
 * The page of a rehearsal: one file that asks for nothing else and may run no script but its own, the same for the
 * same input. Charts are drawn here; the script only lets them be walked through.
 */
export function renderRehearsalReport(input: RehearsalReportInput): string {
  const { rehearsal, profile, sweep, shadow, parameters, target } = input;
  const ends = rehearsal.verdict === 'converges' ? 'converges' : 'does not converge';
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${target}: rehearsed migration ${ends}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<div class="page">
<header class="bar"><p><strong>ckpt</strong> rehearsal of a live migration</p><button type="button" id="theme" hidden></button></header>
<main>
${verdict(input)}
${remainingChart(rehearsal, shadow?.migration)}
${advice(rehearsal)}
${shadow !== undefined && comparison(rehearsal, shadow)}
${sweep !== undefined && sweepMap(sweep)}
${roundRatesChart(rehearsal)}
${roundsTable(rehearsal)}
${serviceCost(rehearsal)}
${profile !== undefined && [html`<div class="pair">${dirtyRateChart(profile)}${workingSetChart(profile)}</div>`, heatMap(profile)]}
${parameterLists(parameters)}
${rawData(input)}
</main>
<footer>Predicted by ckpt in virtual time from the pattern of writes.</footer>
</div>
<script>${new Markup(SCRIPT)}</script>
</body>
</html>
`.text;
}

/** Nothing may be loaded, sent or framed; of scripts and styles only those that stand in the page. */
const POLICY = [
  "default-src 'none'",
  `script-src ${hashOf(SCRIPT)}`,
  `style-src ${hashOf(STYLE)}`,
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
