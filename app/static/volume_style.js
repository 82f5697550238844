// How <ss-volume> looks; colours come from the page's theme, the pictures are dark in light and dark.
export const STYLE = `
[hidden] { display: none !important; }
:host { display: block; color: var(--body-text-color); font-size: 14px; }
.sv-tools { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; margin-bottom: 6px; }
.sv-views { display: inline-flex; border: 1px solid var(--border-color-primary); border-radius: 6px; overflow: hidden; }
.sv-views button { border: 0; border-right: 1px solid var(--border-color-primary); padding: 3px 10px; cursor: pointer;
  font: inherit; background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); }
.sv-views button:last-child { border-right: 0; }
.sv-views button:hover { background: var(--button-secondary-background-fill-hover); }
.sv-views button[aria-pressed="true"] { background: var(--color-accent-soft); font-weight: 600; }
.sv-views button:focus-visible, canvas:focus-visible { outline: 2px solid var(--color-accent); outline-offset: -2px; }
.sv-overlays { display: inline-flex; flex-wrap: wrap; gap: 4px 14px; }
.sv-overlays label { display: inline-flex; align-items: center; gap: 6px; }
.sv-overlays input { width: 110px; accent-color: var(--color-accent); }
.sv-place { margin-left: auto; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
.sv-problem { margin: 2px 0 8px; color: var(--ss-warn-text, var(--body-text-color)); }
.sv-panes { display: grid; grid-template-columns: repeat(auto-fit, minmax(280px, 1fr)); gap: 10px; }
figure { margin: 0; display: flex; flex-direction: column; min-width: 0; }
figcaption { padding: 2px 0 4px; font-variant-numeric: tabular-nums; }
figcaption b { font-weight: 600; text-decoration: underline dotted; text-underline-offset: 3px; cursor: help; }
figure > div { position: relative; height: var(--volume-height, min(58vh, 480px)); background: #0b0d0f; border-radius: 6px;
  overflow: hidden; }
canvas { display: block; width: 100%; height: 100%; }
img { width: 100%; height: 100%; object-fit: contain; image-rendering: pixelated; }
.sv-slice { width: 100%; margin-top: 8px; accent-color: var(--color-accent); }
:host([pictures]) :is(.sv-views, .sv-slice) { display: none; }
:host([flat]) .sv-views button:is([data-view="planes"], [data-view="render"]) { display: none; }
`;
