// How a topology result looks: in its shadow tree (STYLE), and around it in the tab.
// Colours come from the page's theme, so that light and dark need nothing here; the pictures are dark in both.
export const STYLE = `
[hidden] { display: none !important; }
:host { display: block; scroll-margin-top: 108px; color: var(--body-text-color); font-size: 14px; }
p { margin: 2px 0; }
.tr-summary { font-size: 15px; margin-bottom: 8px; }
.tr-summary p:first-child { font-weight: 600; font-size: 16px; }
.tr-tools { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin-bottom: 6px; }
.tr-space { flex: 1; }
.tr-slider { display: inline-flex; align-items: center; gap: 6px; }
.tr-slider input { width: 130px; accent-color: var(--color-accent); }
.tr-slider output { min-width: 2.4em; font-variant-numeric: tabular-nums; }
.tr-button { border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 3px 10px; cursor: pointer;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); }
.tr-button:hover { background: var(--button-secondary-background-fill-hover); }
.tr-button:focus-visible, .tr-list button:focus-visible, canvas:focus-visible {
  outline: 2px solid var(--color-accent); outline-offset: 1px; }
.tr-legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-bottom: 8px; }
.tr-legend label { display: inline-flex; align-items: center; gap: 5px; cursor: pointer; }
.tr-swatch { display: inline-block; width: 12px; height: 12px; border-radius: 2px; flex: none;
  border: 1px solid rgba(0, 0, 0, .55); }
.tr-stage { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) 232px; gap: 10px; height: min(62vh, 520px); }
.tr-stage figure { margin: 0; display: flex; flex-direction: column; min-height: 0; }
.tr-stage figcaption { padding: 2px 0 4px; font-variant-numeric: tabular-nums; }
.tr-stage figcaption b { font-weight: 600; text-decoration: underline dotted; text-underline-offset: 3px; cursor: help; }
.tr-stage canvas { flex: 1; width: 100%; min-height: 0; background: #0b0d0f; border-radius: 6px; cursor: grab;
  touch-action: none; display: block; }
.tr-stage canvas:active { cursor: grabbing; }
.tr-side { display: flex; flex-direction: column; min-height: 0; }
.tr-list-title { padding: 2px 0 4px; color: var(--body-text-color-subdued); }
.tr-list { list-style: none; margin: 0; padding: 0; overflow-y: auto; flex: 1; border: 1px solid var(--border-color-primary);
  border-radius: 6px; background: var(--background-fill-primary); }
.tr-list button { display: flex; width: 100%; gap: 7px; align-items: center; padding: 4px 8px; text-align: left; border: 0;
  background: none; color: inherit; cursor: pointer; font-size: 13px; }
.tr-list button:hover { background: var(--background-fill-secondary); }
.tr-list button[aria-current="true"] { background: var(--color-accent-soft); font-weight: 600; }
.tr-size { margin-left: auto; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; white-space: nowrap; }
.tr-note { margin: 8px 0; color: var(--body-text-color-subdued); }
.tr-scroll { overflow-x: auto; }
.tr-table h4 { margin: 10px 0 4px; font-size: 15px; }
.tr-table table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.tr-table th, .tr-table td { padding: 4px 10px; border-bottom: 1px solid var(--border-color-primary); text-align: right; }
.tr-table th:first-child, .tr-table th:nth-child(2), .tr-table td:nth-child(2) { text-align: left; }
.tr-table thead th { font-weight: 600; color: var(--body-text-color-subdued); }
.tr-table tbody th { font-weight: 400; }
.tr-table label { white-space: nowrap; }
.tr-table .tr-ours > * { font-weight: 600; background: var(--background-fill-secondary); }
.tr-table input { width: 5.2em; font: inherit; padding: 1px 4px; color: inherit; border-radius: 4px;
  border: 1px solid var(--border-color-primary); background: var(--background-fill-primary); }
.tr-problem { color: var(--ss-bad-text); }
.tr-table .tr-ours > td:nth-child(2) { font-weight: 400; }
.tr-table p { color: var(--body-text-color-subdued); }
.tr-stage.tr-solid { grid-template-columns: minmax(0, 1fr) 232px; height: auto; }
.tr-solid .tr-side { max-height: min(66vh, 560px); }
.tr-solid .tr-list button { flex-wrap: wrap; row-gap: 0; }
.tr-solid .tr-size { width: 100%; margin: 0 0 0 19px; }
@media (max-width: 900px) { .tr-stage { grid-template-columns: 1fr 1fr; height: auto; }
  .tr-stage canvas { aspect-ratio: 1; } .tr-side { grid-column: 1 / -1; max-height: 200px; }
  .tr-stage.tr-solid { grid-template-columns: minmax(0, 1fr); } }
`;

const PAGE_STYLE = new CSSStyleSheet();
PAGE_STYLE.replaceSync(`
gradio-app .ss-topology-input { grid-template-columns: auto 1fr; gap: 14px; align-items: start; }
gradio-app .ss-topology-input img { width: 72px; height: 72px; object-fit: contain; border-radius: 6px; background: #000; }
gradio-app .ss-topology-input ul { margin: 4px 0 0; padding-left: 18px; list-style: disc; font-size: 13.5px;
  color: var(--body-text-color-subdued); }
gradio-app .ss-topology-help { display: block; }
gradio-app .ss-topology-help summary { cursor: pointer; font-weight: 600; }
gradio-app .ss-topology-help dl { display: grid; grid-template-columns: max-content minmax(0, 80ch); gap: 6px 18px;
  margin-top: 8px; line-height: 1.5; }
gradio-app .ss-topology-help dt { font-weight: 600; }
`);
document.adoptedStyleSheets.push(PAGE_STYLE);
