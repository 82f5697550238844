// <ss-plot>: a Plotly figure in the colours of the page, with a line that follows the player.
//
//   figure = { traces: [Plotly trace, …], x: "title", y: "title", label: "what it shows", range?: { x: [a, b], y: [a, b] },
//              shapes?, annotations?, height?, log? }                                            as JSON, or draw(figure)
//
// cursor(x) moves the line; a click in the plot fires "ss-plot-pick" with { x }. Plotly is fetched from this server when
// the first plot is drawn. Colours of traces are their own; axes, text and grid follow light and dark.
import { Part, element, errorBox } from "/static/theme/common.js";

const LIBRARY = "/static/vendor/plotly/plotly.js";
const MARGIN = { l: 56, r: 16, t: 12, b: 44 };
const LOG = { type: "log", exponentformat: "none", dtick: 1 };
const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
.pl-box { position: relative; min-width: 0; }
.pl-cursor { position: absolute; top: ${MARGIN.t}px; bottom: ${MARGIN.b}px; width: 0; border-left: 2px solid var(--color-accent);
  pointer-events: none; }
`);
// The colour-blind can tell these apart (Okabe and Ito).
export const COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"];

let library = null;
export function plotly() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = LIBRARY;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      library = null;
      reject({ what: "The plot cannot be drawn.", why: "The program for plots is not installed.", what_to_do: "Run `make setup`." });
    };
    document.head.append(script);
  });
  return library;
}

// Plotly writes its rules into the document, where they end at our shadow tree: they are handed on.
const RULES = new CSSStyleSheet();
function handOnRules() {
  const written = document.getElementById("plotly.js-style-global")?.sheet?.cssRules ?? [];
  for (const rule of [...written].slice(RULES.cssRules.length)) RULES.insertRule(rule.cssText, RULES.cssRules.length);
}

class Plot extends Part {
  static observedAttributes = ["figure"];

  constructor() {
    super();
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, RULES, STYLE];
  }

  connectedCallback() {
    this.themes = new MutationObserver(() => this.figure && this.draw(this.figure));
    this.themes.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(this);
    if (this.hasAttribute("figure")) this.draw(JSON.parse(this.getAttribute("figure")));
    else if (this.figure) this.draw(this.figure);
  }

  disconnectedCallback() {
    this.themes.disconnect();
    this.sizes.disconnect();
    if (this.place && window.Plotly) window.Plotly.purge(this.place);
    this.place = null;
  }

  attributeChangedCallback(name, before, now) {
    if (this.isConnected && now && now !== before) this.draw(JSON.parse(now));
  }

  async draw(figure) {
    this.figure = figure;
    if (!this.isConnected) return;
    let Plotly;
    try { Plotly = await plotly(); } catch (error) { this.show(errorBox(error)); return; }
    if (figure !== this.figure || !this.isConnected) return;
    handOnRules();
    if (!this.place) {
      this.place = element("div", { role: "img" });
      this.line = element("div", { class: "pl-cursor", hidden: true });
      this.show(element("div", { class: "pl-box" }, this.place, this.line));
      this.place.addEventListener("pointerdown", (event) => this.press(event), { capture: true });
    }
    this.place.setAttribute("aria-label", figure.label ?? "");
    await Plotly.react(this.place, figure.traces, this.layout(figure), {
      displaylogo: false, displayModeBar: false, responsive: false, doubleClick: "reset",
    });
    handOnRules();
    if (!this.place) return;
    this.place.removeAllListeners?.("plotly_relayout");
    this.place.on("plotly_relayout", () => this.cursor(this.at));
    this.cursor(this.at);
    this.dataset.ready = "true";
  }

  layout({ x, y, range = {}, shapes = [], annotations = [], height = 240, legend = true, log = false }) {
    const colour = (name) => getComputedStyle(this).getPropertyValue(name).trim();
    const axis = (title, between) => ({
      title: { text: title, standoff: 8 }, gridcolor: colour("--border-color-primary"), linecolor: colour("--border-color-primary"),
      zeroline: false, automargin: false, ...(between ? { range: between, autorange: false } : {}),
    });
    return {
      height, margin: MARGIN, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", colorway: COLOURS,
      width: Math.max(200, Math.floor(this.clientWidth)), hovermode: "closest", shapes, annotations,
      font: { family: getComputedStyle(this).fontFamily, size: 12.5, color: colour("--body-text-color") },
      xaxis: axis(x, range.x), yaxis: { ...axis(y, range.y), ...(log ? LOG : {}) }, showlegend: legend,
      legend: { orientation: "h", x: 1, xanchor: "right", y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
      hoverlabel: { bgcolor: colour("--background-fill-primary"), font: { color: colour("--body-text-color") } },
    };
  }

  fit() {
    const width = Math.max(200, Math.floor(this.clientWidth));
    if (!this.place?.layout || this.place.layout.width === width) return;
    window.Plotly.relayout(this.place, { width });
  }

  // Pixels of a place on the horizontal axis, from the axis' own ends.
  span() {
    const { width, xaxis } = this.place.layout;
    return { low: xaxis.range[0], high: xaxis.range[1], left: MARGIN.l, wide: width - MARGIN.l - MARGIN.r };
  }

  cursor(x) {
    this.at = x;
    if (!this.place?.layout?.xaxis?.range) return;
    const { low, high, left, wide } = this.span();
    const share = (x - low) / (high - low);
    this.line.hidden = !(share >= 0 && share <= 1);
    this.line.style.left = `${left + share * wide - 1}px`;
  }

  // While a button is down Plotly lays a sheet over the page, so the release is waited for everywhere; a drag zooms.
  press(down) {
    addEventListener("pointerup", (up) => {
      if (Math.hypot(up.clientX - down.clientX, up.clientY - down.clientY) < 4) this.pick(up);
    }, { capture: true, once: true });
  }

  pick(event) {
    const { low, high, left, wide } = this.span();
    const share = (event.clientX - this.place.getBoundingClientRect().left - left) / wide;
    if (share < 0 || share > 1) return;
    this.dispatchEvent(new CustomEvent("ss-plot-pick", { detail: { x: low + share * (high - low) }, bubbles: true, composed: true }));
  }
}

if (!customElements.get("ss-plot")) customElements.define("ss-plot", Plot);
