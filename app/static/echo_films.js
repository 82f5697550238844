// The gallery of a batch: a film plays while the pointer or the focus is on it.
const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
gradio-app .ss-films { display: grid; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); gap: 10px; }
gradio-app .ss-plain .ss-film { display: grid; gap: 4px; padding: 6px; font: inherit; font-size: 13px; text-align: center; cursor: pointer;
  color: inherit; background: var(--background-fill-primary); border: 1px solid var(--border-color-primary); border-radius: 8px; }
gradio-app .ss-plain .ss-film:is(:hover, [data-chosen]) { border-color: var(--color-accent); }
gradio-app .ss-plain .ss-film:focus-visible { outline: 2px solid var(--color-accent); outline-offset: 2px; }
gradio-app .ss-film video { display: block; width: 100%; height: auto; aspect-ratio: 1; border-radius: 4px; background: #000; }
gradio-app .ss-echo-scatter { max-width: 460px; }
`);
document.adoptedStyleSheets.push(STYLE);

function film(event) {
  return event.target.closest?.(".ss-film")?.querySelector("video");
}

for (const name of ["pointerover", "focusin"]) document.addEventListener(name, (event) => film(event)?.play().catch(() => {}));
for (const name of ["pointerout", "focusout"]) {
  document.addEventListener(name, (event) => {
    if (!event.target.closest?.(".ss-film")?.contains(event.relatedTarget)) film(event)?.pause();
  });
}
