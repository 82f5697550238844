// How the table of a batch looks; colours come from the page's theme, the pictures are dark in both modes.
export const BATCH_STYLE = new CSSStyleSheet();
BATCH_STYLE.replaceSync(`
  :host { display: grid; gap: 10px; scroll-margin-top: 108px; font-size: 14px; }
  .lead { font-size: 16px; font-weight: 600; }
  .table { border: 1px solid var(--border-color-primary); border-radius: 10px; background: var(--background-fill-primary);
    container-type: inline-size; }
  tr:last-child th { border-bottom: 0; }
  thead tr:last-child th { border-bottom: 1px solid var(--border-color-primary); }
  table { font-variant-numeric: tabular-nums; }
  th, td { padding: 5px 10px; white-space: nowrap; vertical-align: middle; }
  thead th { background: var(--background-fill-secondary); }
  thead button { all: unset; cursor: pointer; font-weight: 600; }
  thead button:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; border-radius: 3px; }
  .arrow { display: inline-block; width: 1.2em; font-size: 10px; text-align: center; }
  .file b { display: block; }
  .file small { display: block; max-width: 150px; overflow: hidden; text-overflow: ellipsis; }
  tr.line { cursor: pointer; }
  tr.line:hover, tr.line[aria-expanded="true"] { background: var(--background-fill-secondary); }
  tr.line:focus-visible { outline: 2px solid var(--color-accent); outline-offset: -2px; }
  .thumbs img { width: 56px; height: 56px; object-fit: contain; background: #0b0d0f; border-radius: 4px; margin-right: 4px;
    vertical-align: middle; image-rendering: pixelated; }
  tr.problem td { color: var(--ss-bad-text); white-space: normal; }
  tr.problem td.file { color: inherit; }
  tr.details > td { white-space: normal; padding: 10px; background: var(--background-fill-secondary); }
  .inside { position: sticky; left: 10px; width: calc(100cqw - 20px); }
  .pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 10px; max-width: 1200px; }
  figure { margin: 0; }
  figcaption { padding: 2px 0 4px; }
  .pane { height: min(52vh, 460px); overflow: hidden; border-radius: 6px; background: #0b0d0f; cursor: grab; touch-action: none; }
  .pane:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
  .pane:active { cursor: grabbing; }
  .pane img { display: block; width: 100%; height: 100%; object-fit: contain; image-rendering: pixelated;
    user-select: none; }
  .legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-bottom: 6px; }
  .legend span { display: inline-flex; align-items: center; gap: 5px; }
  .legend i { width: 12px; height: 12px; border-radius: 2px; border: 1px solid rgba(0, 0, 0, .55); }
  .row-links { display: flex; flex-wrap: wrap; gap: 8px; margin-top: 8px; }
  .row-links a { text-decoration: none; }
  .means { padding-bottom: 6px; }
  .means td, .means th { padding: 4px 12px; }
  .means .hint { padding: 4px 12px; }
  @media (max-width: 700px) { .pair { grid-template-columns: minmax(0, 1fr); } .pane { height: 70vw; } }
`);

// Around it in the tab: the pictures of a label map whose labels were refined one by one.
const PAGE_STYLE = new CSSStyleSheet();
PAGE_STYLE.replaceSync(`
  gradio-app .ss-classes-pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(220px, 1fr)); gap: 10px; }
  gradio-app .ss-classes-pictures figure { margin: 0; min-width: 0; }
  gradio-app .ss-classes-pictures .ss-image { width: 100%; max-height: 52vh; object-fit: contain; }
  gradio-app .ss-classes-swatch { display: inline-block; width: 12px; height: 12px; margin-right: 7px; border-radius: 2px;
    border: 1px solid rgba(0, 0, 0, .55); }
  gradio-app .ss-classes ul { margin: 0; padding-left: 18px; list-style: disc; font-size: 13.5px;
    color: var(--body-text-color-subdued); }
`);
document.adoptedStyleSheets.push(PAGE_STYLE);
