// How the results of the Anomaly tab look: in their shadow trees, and around them in the tab.
export const ANOMALY_STYLE = new CSSStyleSheet();
ANOMALY_STYLE.replaceSync(`
:host { display: grid; gap: 12px; scroll-margin-top: 108px; font-size: 14px; }
.lead { font-size: 16px; font-weight: 600; }
.warning { padding: 10px 14px; border-radius: 8px; color: var(--ss-warn-text); background: var(--ss-warn-soft);
  border: 1px solid var(--ss-warn); }
.warning b { display: block; }
.tools { display: flex; flex-wrap: wrap; gap: 8px 18px; align-items: center; }
.tools label { display: inline-flex; align-items: center; gap: 7px; }
input[type="range"] { width: 130px; accent-color: var(--color-accent); }
output { font-variant-numeric: tabular-nums; }
.tools .button[aria-pressed="true"] { background: var(--color-accent-soft); }
.scale { display: inline-flex; align-items: center; gap: 7px; font-variant-numeric: tabular-nums; margin-left: auto; }
.bar { position: relative; width: 150px; height: 11px; border-radius: 3px; border: 1px solid var(--border-color-primary);
  background: linear-gradient(90deg, #000004, #1c1044, #4f127b, #812581, #b5367a, #e55964, #fb8761, #fec287, #fcfdbf); }
.bar i { position: absolute; top: -3px; bottom: -3px; width: 0; border-left: 2px solid var(--body-text-color); }
.at-threshold { min-height: 32px; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.at-threshold .button { margin-left: 0; }
ss-volume { --volume-height: min(56vh, 460px); }
ss-volume[pictures] { --volume-height: min(52vh, 420px); }
.findings { max-height: 420px; overflow: auto; border: 1px solid var(--border-color-primary); border-radius: 10px;
  background: var(--background-fill-primary); }
.findings table { font-variant-numeric: tabular-nums; }
.findings th, .findings td { padding: 5px 10px; white-space: nowrap; vertical-align: middle; }
.findings thead th { position: sticky; top: 0; background: var(--background-fill-secondary); z-index: 1; }
.findings td.region { white-space: normal; min-width: 150px; }
.findings td.number, .findings th.number { text-align: right; }
.findings tbody tr { cursor: pointer; }
.findings tbody tr:hover { background: var(--background-fill-secondary); }
.findings tbody tr[aria-current="true"] { background: var(--color-accent-soft); box-shadow: inset 3px 0 var(--color-accent); }
.findings tbody tr[data-verdict="rejected"] td:not(.verdict) { opacity: .5; text-decoration: line-through; }
.go { all: unset; cursor: pointer; font-weight: 600; color: var(--link-text-color); text-decoration: underline;
  text-underline-offset: 2px; }
.go:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; border-radius: 3px; }
.choice { display: inline-flex; border: 1px solid var(--border-color-primary); border-radius: 6px; overflow: hidden; }
.choice button { border: 0; border-right: 1px solid var(--border-color-primary); padding: 2px 9px; font: inherit;
  font-size: 13px; cursor: pointer; color: var(--button-secondary-text-color);
  background: var(--button-secondary-background-fill); }
.choice button:last-child { border-right: 0; }
.choice button:hover { background: var(--button-secondary-background-fill-hover); }
.choice button:focus-visible { outline: 2px solid var(--color-accent); outline-offset: -2px; }
.choice button[aria-pressed="true"] { font-weight: 650; }
.choice button[data-word="accepted"][aria-pressed="true"] { color: var(--ss-good-text); background: var(--ss-good-soft); }
.choice button[data-word="rejected"][aria-pressed="true"] { color: var(--ss-bad-text); background: var(--ss-bad-soft); }
.head { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: baseline; }
.reason { margin-left: auto; display: inline-flex; align-items: center; gap: 7px; font-size: 13px; }
.reason input { font: inherit; padding: 3px 8px; width: 230px; color: inherit; border-radius: 6px;
  border: 1px solid var(--border-color-primary); background: var(--input-background-fill); }
.below { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 14px; align-items: start; }
.column { display: grid; gap: 14px; min-width: 0; }
.steps { margin: 0; padding: 0; list-style: none; display: grid; gap: 7px; font-size: 13.5px; line-height: 1.45;
  counter-reset: step; }
.steps li { display: grid; grid-template-columns: 9.6em minmax(0, 1fr); gap: 2px 10px; counter-increment: step; }
.steps b::before { content: counter(step) ". "; color: var(--body-text-color-subdued); font-weight: 400; }
details > summary { cursor: pointer; font-weight: 600; }
details img { display: block; max-width: 100%; margin-top: 8px; border-radius: 6px; background: #000; }
@media (max-width: 1000px) { ss-volume { --volume-height: min(46vh, 380px); } }
@media (max-width: 700px) { .steps li { grid-template-columns: minmax(0, 1fr); } .reason { margin-left: 0; } .scale { margin-left: 0; } }
`);

export const LABORATORY_STYLE = new CSSStyleSheet();
LABORATORY_STYLE.replaceSync(`
.lab { display: grid; grid-template-columns: 290px minmax(0, 1fr); gap: 18px; align-items: start; font-size: 14px; }
.controls { display: grid; gap: 11px; padding: 14px; border: 1px solid var(--border-color-primary); border-radius: 10px;
  background: var(--background-fill-primary); }
.controls label { display: grid; gap: 3px; font-size: 13px; font-weight: 600; }
.controls label.tick { display: flex; gap: 7px; align-items: center; font-weight: 400; }
fieldset { border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 6px 10px 9px; margin: 0; display: grid;
  gap: 5px; }
legend { font-size: 13px; font-weight: 600; padding: 0 4px; }
select, input[type="number"] { font: inherit; font-weight: 400; padding: 5px 8px; color: inherit; border-radius: 6px;
  border: 1px solid var(--border-color-primary); background: var(--input-background-fill); min-width: 0; width: 100%; }
input[type="number"] { width: 6.5em; }
input[type="range"] { width: 100%; margin: 0; accent-color: var(--color-accent); }
input[type="checkbox"] { accent-color: var(--color-accent); }
:is(select, input):focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.buttons { display: flex; gap: 10px; align-items: end; justify-content: space-between; }
.shown { display: grid; gap: 12px; min-width: 0; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: 13px; font-weight: 600; padding-bottom: 4px; min-height: 2.7em; display: flex; align-items: end; }
.pictures img { display: block; width: 100%; aspect-ratio: 5 / 6; object-fit: contain; background: #0b0d0f; border-radius: 6px;
  image-rendering: pixelated; }
.facts { display: flex; flex-wrap: wrap; gap: 4px 22px; }
.facts div { display: flex; gap: 7px; }
.facts dd { font-weight: 600; font-variant-numeric: tabular-nums; }
.working { opacity: .55; }
@media (max-width: 900px) { .lab { grid-template-columns: minmax(0, 1fr); }
  .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
`);

const PAGE_STYLE = new CSSStyleSheet();
PAGE_STYLE.replaceSync(`
gradio-app .ss-scan-input { display: grid; grid-template-columns: auto minmax(0, 1fr); gap: 14px; align-items: start; }
gradio-app .ss-scan-input img { width: 96px; height: 96px; object-fit: contain; border-radius: 6px; background: #000; }
gradio-app .ss-scan-input ul { margin: 4px 0 0; padding-left: 18px; list-style: disc; font-size: 13.5px;
  color: var(--body-text-color-subdued); }
gradio-app .ss-scans { overflow-x: auto; }
gradio-app .ss-scans table { width: 100%; border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
gradio-app .ss-scans :is(th, td) { padding: 6px 10px; text-align: left; vertical-align: middle;
  border-bottom: 1px solid var(--border-color-primary); }
gradio-app .ss-scans th { font-weight: 600; color: var(--body-text-color-subdued); white-space: nowrap; }
gradio-app .ss-scans td img { height: 84px; max-width: 380px; object-fit: cover; object-position: top left; border-radius: 4px;
  background: #000; display: block; }
gradio-app .ss-scans .ss-bad-row { color: var(--ss-bad-text); }
gradio-app .ss-scans td a { white-space: nowrap; margin-right: 8px; }
`);
document.adoptedStyleSheets.push(PAGE_STYLE);
