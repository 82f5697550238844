// Where networks of one's own are trained: how the lists look, and the buttons that hand weights to the part that uses
// them.
import { fill } from "/static/theme/common.js";

const USED_IN = { topology: "repair", echo: "generate" }; // part of each system with a box that takes the name

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-use-weights]") : null;
  if (!button) return;
  const system = button.dataset.useWeights.split("/")[0];
  document.getElementById(`ss-part-${system}-${USED_IN[system]}-button`)?.click();
  fill(`${system}-use-weights`, `${button.dataset.useWeights} ${Date.now()}`);
});

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
gradio-app .ss-plain .ss-mask-list { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 8px;
  margin: 8px 0; padding: 0; list-style: none; }
gradio-app .ss-mask-list li { display: flex; align-items: center; gap: 9px; padding: 6px; min-width: 0; border-radius: 8px;
  border: 1px solid var(--border-color-primary); background: var(--background-fill-primary); }
gradio-app .ss-mask-list li.ss-bad { border-color: var(--ss-bad); }
gradio-app .ss-mask-list img { flex: none; width: 44px; height: 44px; object-fit: cover; border-radius: 5px; background: #000; }
gradio-app .ss-mask-list span { display: grid; min-width: 0; flex: 1; font-size: 13px; line-height: 1.35; }
gradio-app .ss-mask-list .ss-icon { width: 26px; height: 26px; flex: none; }
gradio-app .ss-mask-list b.ss-bad { font-weight: 500; color: var(--ss-bad-text); }
gradio-app .ss-training-result { gap: 12px; }
gradio-app .ss-training-result figure { margin: 0; min-width: 0; }
gradio-app .ss-training-result figcaption { font-size: 13px; font-weight: 600; padding-bottom: 4px; }
gradio-app .ss-plain :is(.ss-training-result, .ss-refiners) details { min-width: 0; }
gradio-app .ss-plain :is(.ss-training-result, .ss-refiners) summary { cursor: pointer; font-size: 13px;
  color: var(--body-text-color-subdued); }
gradio-app .ss-plain :is(.ss-training-result, .ss-refiners) pre { max-height: 320px; margin: 8px 0 0; padding: 10px 12px;
  overflow: auto; white-space: pre-wrap; border-radius: 6px; background: var(--background-fill-secondary);
  border: 1px solid var(--border-color-primary); }
gradio-app .ss-table tbody th { font-weight: 500; color: inherit; background: none; }
gradio-app .ss-training-result tr[data-method="refiner"] > * { font-weight: 650; background: var(--background-fill-secondary); }
gradio-app .ss-training-result td small { font-weight: 400; white-space: nowrap; }
gradio-app .ss-refiners .ss-actions { white-space: nowrap; text-align: right; }
gradio-app .ss-loss { display: block; width: 100%; border-radius: 8px; border: 1px solid var(--border-color-primary);
  background: var(--background-fill-primary); }
gradio-app .ss-loss polyline { fill: none; stroke: var(--color-accent); stroke-width: 2.2; }
gradio-app .ss-loss polyline.ss-each { stroke-width: 1; opacity: .35; }
gradio-app .ss-loss text { font-size: 11px; fill: var(--body-text-color-subdued); }
`);
document.adoptedStyleSheets.push(STYLE);
