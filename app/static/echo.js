// <ss-echo shown>: an echo clip in the player with what was measured in it: numbers beside it, volume curve under it.
// The curve's line follows the player, and a click in the curve shows that moment.
//
//   shown = { panes, facts: [[name, value, meaning], …], notes: [text, …], figure: see plot.js, fps, labelled }
import "./clip.js";
import "./plot.js";
import { Part, element } from "/static/theme/common.js";

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
.ec-top { display: grid; grid-template-columns: minmax(0, 1fr) minmax(240px, 330px); gap: 18px; align-items: start; }
.ec-top.ec-wide { grid-template-columns: minmax(0, 1fr); }
.ec-facts { display: grid; gap: 8px; }
.ec-facts dl { grid-template-columns: minmax(0, 1fr) max-content; }
.ec-facts dd { font-variant-numeric: tabular-nums; text-align: right; font-weight: 600; }
.ec-facts dt[title] { text-decoration: underline dotted; text-underline-offset: 3px; cursor: help; }
.ec-main { font-size: 30px; font-weight: 680; letter-spacing: -.02em; line-height: 1.1; }
.ec-main small { display: block; font-size: 13px; font-weight: 400; letter-spacing: 0; line-height: 1.35; margin-top: 3px; }
.notes { line-height: 1.45; }
.notes b { color: var(--body-text-color); }
.ec-plot { margin-top: 8px; }
@media (max-width: 820px) { .ec-top { grid-template-columns: minmax(0, 1fr); } }
`);

const PAGE_STYLE = new CSSStyleSheet();
PAGE_STYLE.replaceSync(`
gradio-app .ss-echo-input { display: grid; grid-template-columns: minmax(0, 340px) minmax(0, 1fr); gap: 8px 24px; align-items: start; }
gradio-app .ss-echo-input ss-clip { --clip-size: 340px; }
gradio-app .ss-echo-notes { margin: 0; padding-left: 18px; list-style: disc; font-size: 13.5px; line-height: 1.5;
  color: var(--body-text-color-subdued); }
@media (max-width: 820px) { gradio-app .ss-echo-input { grid-template-columns: minmax(0, 1fr); } }
`);
document.adoptedStyleSheets.push(PAGE_STYLE);

class Echo extends Part {
  static observedAttributes = ["shown"];

  constructor() {
    super();
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, STYLE];
    this.addEventListener("ss-frame", (event) => this.plot?.cursor(event.detail.time));
    this.shadowRoot.addEventListener("ss-plot-pick", (event) => {
      this.player.pause();
      this.player.goTo(event.detail.x * this.fps);
    });
  }

  connectedCallback() { if (this.hasAttribute("shown")) this.draw(JSON.parse(this.getAttribute("shown"))); }

  attributeChangedCallback(name, before, now) {
    if (this.isConnected && now && now !== before) this.draw(JSON.parse(now));
  }

  draw({ panes, main, facts = [], notes = [], figure, fps, labelled = true }) {
    this.fps = fps;
    this.player = element("ss-clip", {});
    this.player.labelled = labelled;
    const side = main || facts.length || notes.length ? element("div", { class: "card ec-facts" },
      main ? element("div", { class: "ec-main" }, main.value, element("small", {}, main.words)) : null,
      facts.length ? element("dl", {}, ...facts.flatMap(([name, value, meaning]) => [
        element("dt", { title: meaning || null }, name), element("dd", {}, value)])) : null,
      notes.length ? element("ul", { class: "notes" }, ...notes.map((note) => element("li", {}, note))) : null) : null;
    this.plot = figure ? element("ss-plot", { class: "ec-plot" }) : null;
    this.show(element("div", { class: side && panes.length < 2 ? "ec-top" : "ec-top ec-wide" }, this.player, side), this.plot);
    this.player.load(panes);
    this.plot?.draw(figure);
  }
}

if (!customElements.get("ss-echo")) customElements.define("ss-echo", Echo);
