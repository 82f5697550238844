// How <ss-clip> looks; colours come from the page's theme, the pictures are dark in light and dark.
export const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
:host { font-size: 14px; }
.cv-panes { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 200px), 1fr)); gap: 10px;
  justify-content: center; }
figure { margin: 0; min-width: 0; display: flex; flex-direction: column; align-items: center; }
figcaption { align-self: stretch; display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; padding: 0 0 4px; font-weight: 600; }
.cv-stage { position: relative; width: 100%; max-width: var(--clip-size, min(56vh, 460px)); background: #000; border-radius: 6px;
  overflow: hidden; align-self: center; }
.cv-stage:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
canvas { display: block; width: 100%; height: auto; }
canvas.cv-labels { position: absolute; inset: 0; height: 100%; pointer-events: none; }
.cv-problem { padding: 20px; color: #ffc9c4; font-size: 13px; }
.cv-bar { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 12px; margin-top: 6px; }
.cv-buttons { display: inline-flex; gap: 4px; }
.cv-bar button { min-width: 34px; height: 30px; padding: 0 8px; font: inherit; line-height: 1; cursor: pointer; border-radius: 6px;
  color: var(--button-secondary-text-color); background: var(--button-secondary-background-fill);
  border: 1px solid var(--border-color-primary); }
.cv-bar svg { display: block; margin: auto; }
.cv-bar button:hover { background: var(--button-secondary-background-fill-hover); }
.cv-bar button[aria-pressed="true"] { background: var(--color-accent-soft); }
:is(.cv-bar button, select, input):focus-visible { outline: 2px solid var(--color-accent); outline-offset: 1px; }
.cv-bar select { height: 30px; font: inherit; color: inherit; border-radius: 6px; border: 1px solid var(--border-color-primary);
  background: var(--input-background-fill); }
.cv-bar label { display: inline-flex; align-items: center; gap: 6px; }
.cv-bar label input { width: 90px; accent-color: var(--color-accent); }
.cv-place { margin-left: auto; font-variant-numeric: tabular-nums; color: var(--body-text-color-subdued); white-space: nowrap; }
.cv-scrub { position: relative; padding-top: 15px; margin-top: 4px; }
.cv-scrub > input { display: block; width: 100%; height: 16px; margin: 0; accent-color: var(--color-accent); }
.cv-marks { position: absolute; inset: 0 8px auto 8px; height: 15px; }
.cv-marks button { position: absolute; bottom: 0; transform: translateX(-50%); padding: 0 2px; border: 0; background: none;
  font: 600 10.5px/13px var(--font); cursor: pointer; color: var(--link-text-color); }
.cv-marks button.cv-es { color: var(--ss-warn-text); }
.cv-marks button:focus-visible { outline: 2px solid var(--color-accent); }
.cv-legend { display: flex; flex-wrap: wrap; gap: 3px 14px; margin-top: 4px; font-size: 13px; color: var(--body-text-color-subdued); }
.cv-legend i { display: inline-block; width: 11px; height: 11px; margin-right: 5px; border-radius: 2px; vertical-align: -1px;
  border: 1px solid rgb(0 0 0 / 55%); }
`);
