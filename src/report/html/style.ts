import { DARK, HEAT_LEVELS, LIGHT, paletteStyle } from './palette.ts';
import { SWEEP_MEASURES } from './sweep-map.ts';

const levels = Array.from({ length: HEAT_LEVELS }, (_, index) => index + 1);

const shades = levels
  .map(
    (level) =>
      `.h${level}{fill:var(--heat${level - 1})}` +
      SWEEP_MEASURES.map(({ name }) => `[data-measure=${name}] .ends[data-${name}="${level}"]`).join() +
      `{background:var(--heat${level - 1});color:var(--ink${level - 1})}`,
  )
  .join('\n');

const measures = SWEEP_MEASURES.map(
  ({ name }) => `[data-measure=${name}] .ends .${name}{display:inline}`,
).join('');

/** The style of the page: one column of calm parts, two where charts are small enough. */
export const STYLE = `
:root{color-scheme:light;${paletteStyle(LIGHT)}}
@media screen and (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;${paletteStyle(DARK)}}}
@media screen{:root[data-theme=dark]{color-scheme:dark;${paletteStyle(DARK)}}}
*{box-sizing:border-box}
[hidden]{display:none!important}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--background);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums}
.page{max-width:1120px;margin:0 auto;padding:20px 32px 48px}
.bar{display:flex;justify-content:space-between;align-items:center;gap:16px;min-height:34px;color:var(--muted);font-size:13px}
.bar p{margin:0}
.bar strong{color:var(--text);font-weight:650;letter-spacing:.01em}
button,select{font:inherit;font-size:13px;color:var(--text);background:var(--surface);border:1px solid var(--rule);border-radius:6px;padding:5px 11px}
button{cursor:pointer}
button:hover,select:hover{border-color:var(--muted)}
:focus-visible{outline:2px solid var(--focus);outline-offset:3px;border-radius:4px}
.verdict{margin:26px 0 8px;padding-bottom:26px;border-bottom:1px solid var(--rule)}
.over{margin:0 0 10px;color:var(--muted);overflow-wrap:anywhere}
.over strong{color:var(--text);font-weight:600}
h1{display:flex;gap:14px;margin:0;max-width:52rem;font-size:25px;line-height:1.35;font-weight:600;letter-spacing:-.012em;text-wrap:pretty}
h1 svg{flex:none;margin-top:2px;fill:none;stroke:currentColor;stroke-width:2.6;stroke-linecap:round;stroke-linejoin:round}
h1 small{font-size:.8em;font-weight:400;color:var(--muted);letter-spacing:0}
.remedy{display:block;margin-top:6px;font-size:16px;font-weight:400;letter-spacing:0}
.remedy code{font-size:14.5px;white-space:nowrap}
.good h1 svg{color:var(--good)}
.bad h1 svg{color:var(--bad)}
dl{margin:0}
dd{margin:0}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:20px 24px;margin-top:28px}
.figures dt{color:var(--muted);font-size:13px}
.figures b{display:block;font-size:24px;line-height:1.3;font-weight:600;letter-spacing:-.01em}
.figures svg{display:block;margin:4px 0 3px}
.figures span{color:var(--muted);font-size:13px}
.notes{margin:20px 0 0;padding:0;list-style:none;max-width:50rem;color:var(--muted);font-size:13px;overflow-wrap:anywhere}
.track{fill:var(--remaining);fill-opacity:.18}
.bounds{fill:var(--remaining)}
section{margin-top:38px;min-width:0}
h2{margin:0;font-size:18px;line-height:1.4;font-weight:620;letter-spacing:-.005em}
h3{margin:18px 0 6px;font-size:13px;font-weight:600;color:var(--muted)}
.lead{margin:2px 0 0;max-width:50rem;color:var(--muted);font-size:14px;text-wrap:pretty}
.pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:0 48px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:10px 0 8px;padding:0;list-style:none;color:var(--muted);font-size:13px}
.legend li{display:flex;align-items:center;gap:7px}
.chart{display:flex;margin-top:4px}
.chart svg{display:block;overflow:visible}
.up{flex:none}
.plot{position:relative;flex:1;min-width:0;cursor:crosshair}
.plot:focus-visible{outline-offset:6px}
.plot text,.up text{fill:var(--muted);font-size:12px}
.grid{stroke:var(--rule)}
.tick{stroke:var(--muted)}
.line{fill:none;stroke-width:2;stroke-linejoin:round;vector-effect:non-scaling-stroke}
.line.remaining{stroke:var(--remaining)}
.line.sent{stroke:var(--remaining);stroke-dasharray:5 4}
.line.measured{stroke:var(--text);stroke-width:1.5;stroke-dasharray:2 3}
.line.dirtied{stroke:var(--dirtied)}
.line.workingSet{stroke:var(--workingSet)}
.area.remaining{fill:var(--remaining);fill-opacity:.13}
.area.dirtied{fill:var(--dirtied);fill-opacity:.16}
.area.workingSet{fill:var(--workingSet);fill-opacity:.2}
.throttle{fill:var(--throttle);fill-opacity:.55}
.band.stop{fill:var(--stop);fill-opacity:.2}
line.stop{stroke:var(--stop);stroke-width:1.5}
.plot text.stop{fill:var(--stop);font-weight:600}
.round{stroke:var(--muted);stroke-opacity:.45;stroke-dasharray:1 3}
.lane{margin-top:2px}
.cursor line{stroke:var(--text)}
.cursor circle{fill:var(--surface);stroke:var(--text);stroke-width:2}
.cursor rect{fill:none;stroke:var(--text);stroke-width:2}
.tip{position:absolute;z-index:2;top:0;left:0;width:max-content;max-width:min(260px,80vw);padding:6px 10px;background:var(--surface);border:1px solid var(--rule);border-radius:6px;box-shadow:0 2px 10px rgb(0 0 0/.14);font-size:13px;line-height:1.4;pointer-events:none;white-space:pre-line;overflow-wrap:anywhere}
.heat .rows{flex:0 0 248px;min-width:0;margin:0;padding:0 14px 0 0;list-style:none;color:var(--muted);font-size:12px;text-align:right}
.heat .rows li{height:18px;line-height:18px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.heat .many{font-size:11px}
.heat .many li{height:13px;line-height:13px}
.h0{fill:var(--rule);fill-opacity:.4}
.gap{stroke:var(--background)}
${shades}
.data{margin-top:10px;font-size:13px}
.data>summary{width:fit-content;color:var(--muted);cursor:pointer}
.data>summary:hover{color:var(--text)}
.scroll{position:relative;max-height:31rem;margin-top:8px;overflow:auto;background:linear-gradient(transparent,var(--background) 70%) bottom/100% 36px no-repeat local,linear-gradient(to top,rgb(0 0 0/.16),transparent) bottom/100% 9px no-repeat scroll}
table{border-collapse:collapse;font-size:13px}
section>.scroll>table{min-width:100%}
section>.scroll>table>caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.prose{min-width:15rem;white-space:normal}
caption{padding:0 0 6px;color:var(--muted);text-align:left}
th,td{padding:4px 14px;border-bottom:1px solid var(--rule);text-align:left;vertical-align:baseline;font-weight:400;white-space:nowrap}
th:first-child,td:first-child{padding-left:2px}
thead th{position:sticky;top:0;background:var(--background);color:var(--muted);font-weight:500;box-shadow:0 1px var(--rule);border-bottom:0}
.n{text-align:right}
code,pre{font:12.5px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
.fields{columns:2;column-gap:48px;margin-top:8px;font-size:13px}
.fields>div{display:flex;justify-content:space-between;gap:18px;padding:3px 2px;border-bottom:1px solid var(--rule);break-inside:avoid}
.fields dt{color:var(--muted)}
.fields small{color:var(--muted);font-size:12px}
.fields b{font-weight:600}
.fields dd{min-width:0;text-align:right;overflow-wrap:anywhere}
.sweep{display:flex;flex-wrap:wrap;gap:4px 36px}
.sweep .scroll{max-height:none;max-width:100%}
.sweep td{min-width:6.4rem;border:2px solid var(--background);border-radius:4px;text-align:right}
.sweep thead th{text-align:right;box-shadow:none;vertical-align:bottom}
.corner span{display:block}
.sweep thead th:first-child{text-align:left}
.sweep tbody th{border:0}
.ends>span:not(.hint){display:none}
${measures}
.never{background:repeating-linear-gradient(135deg,var(--rule) 0 2px,var(--background) 2px 8px);color:var(--bad)}
.never .hint{color:var(--text);background:var(--background)}
.hint{font-size:12px}
.mark{font-weight:700}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.controls{display:flex;flex-wrap:wrap;align-items:center;gap:8px 14px;margin-top:12px;font-size:13px}
.controls label{display:flex;align-items:center;gap:7px;color:var(--muted)}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--rule);color:var(--muted);font-size:13px}
@media (max-width:760px){
.page{padding:12px 16px 32px}
.verdict{margin-top:16px}
h1{font-size:20px;gap:10px}
h1 svg{width:24px;height:24px}
.figures{grid-template-columns:repeat(2,minmax(0,1fr));gap:18px 24px}
.figures b{font-size:21px}
.pair{grid-template-columns:minmax(0,1fr)}
.fields{columns:1}
.minor{display:none}
.heat .rows{flex-basis:112px;padding-right:8px}
th,td{padding:4px 9px}
.sweep td{min-width:5.2rem}
}
@media (prefers-reduced-motion:no-preference){button{transition:border-color .15s}}
@media print{
body{background:#fff;font-size:11pt}
.page{max-width:none;padding:0}
.bar button,.controls,.data{display:none!important}
section{break-inside:avoid;margin-top:22pt}
#rounds,#sweep{break-inside:auto}
#raw{display:none}
.pair{grid-template-columns:repeat(2,minmax(0,1fr));gap:0 24px}
.fields{columns:2;column-gap:28px;font-size:8.5pt}
.heat .rows{flex-basis:200px}
.figures{grid-template-columns:repeat(5,1fr);gap:14px}
.figures b{font-size:15pt}
.figures span,.figures dt{font-size:8pt}
.scroll{max-height:none;overflow:visible;background:none}
thead th{position:static}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
`;
