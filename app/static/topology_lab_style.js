// How the perturbation laboratory looks, in its shadow tree. Colours come from the page's theme.
export const LAB_STYLE = new CSSStyleSheet();
LAB_STYLE.replaceSync(`
.lab { display: grid; grid-template-columns: 290px minmax(0, 1fr); gap: 18px; align-items: start; font-size: 14px; }
.controls { display: grid; gap: 10px; padding: 14px; border: 1px solid var(--border-color-primary); border-radius: 10px;
  background: var(--background-fill-primary); }
.controls > label { display: grid; gap: 3px; font-weight: 600; font-size: 13px; }
select, .seed { font: inherit; font-weight: 400; padding: 5px 8px; color: inherit; border-radius: 6px; min-width: 0;
  width: 100%; border: 1px solid var(--border-color-primary); background: var(--input-background-fill); }
.seed { width: 5.5em; }
.sliders { display: grid; gap: 9px; }
.slider { display: grid; grid-template-columns: 1fr auto; gap: 2px 8px; font-size: 13px; }
.slider input { grid-column: 1 / -1; width: 100%; margin: 0; accent-color: var(--color-accent); }
.slider output { font-variant-numeric: tabular-nums; color: var(--body-text-color-subdued); }
.buttons label { font-size: 13px; }
.buttons .button { margin-left: 0; }
.button.primary { color: var(--button-primary-text-color); background: var(--button-primary-background-fill);
  border-color: transparent; padding: 8px 12px; }
.button.primary:hover { background: var(--button-primary-background-fill-hover); }
:is(select, input):focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
.shown { display: grid; gap: 12px; min-width: 0; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 12px; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: 13px; font-weight: 600; padding-bottom: 4px; }
.pictures img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #0b0d0f; border-radius: 6px;
  image-rendering: pixelated; }
.scale { display: flex; align-items: center; gap: 6px; padding-top: 4px; font-size: 12px; white-space: nowrap;
  color: var(--body-text-color-subdued); }
.bar { flex: 1; min-width: 20px; height: 8px; border-radius: 4px; border: 1px solid var(--border-color-primary); }
.numbers { display: grid; gap: 8px; }
.numbers dl { display: flex; flex-wrap: wrap; gap: 4px 22px; }
.numbers dl div { display: flex; gap: 7px; }
.numbers dd { font-weight: 600; font-variant-numeric: tabular-nums; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0; padding: 0; list-style: none; font-size: 13px; }
.legend li { display: inline-flex; align-items: center; gap: 6px; font-variant-numeric: tabular-nums; }
.legend .none { opacity: .55; }
.swatch { width: 12px; height: 12px; border-radius: 2px; border: 1px solid rgba(0, 0, 0, .55); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 12px; max-width: 760px; }
.plots svg { display: block; width: 100%; background: var(--background-fill-primary); border-radius: 6px;
  border: 1px solid var(--border-color-primary); }
.function { fill: none; stroke-width: 1.6; }
.power { fill: var(--color-accent); }
.axis { stroke: var(--border-color-primary); }
.tick { font-size: 10.5px; fill: var(--body-text-color-subdued); }
@media (max-width: 900px) { .lab { grid-template-columns: minmax(0, 1fr); }
  .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
`);
