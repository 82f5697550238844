// <ss-anomaly job>: the result of a detection. Input with the heat-map over it | restored | heat-map in three planes with
// linked crosshairs, findings to go to and to judge, what was done with the scan, scores beside healthy ones.
// It asks /api/anomaly/JOB, nothing else.
import "./plot.js";
import "./volume.js";
import { Part, api, element, errorBox, fill } from "/static/theme/common.js";
import { aboveFigure, healthyAbove, histogramFigure, scoreFor, shareAbove } from "./anomaly_plots.js";
import { findingsTable, markChosen, markVerdict, volume } from "./anomaly_findings.js";
import { ANOMALY_STYLE } from "./anomaly_style.js";

const STEPS = 200; // places of the threshold slider
const KEYS = { a: "accepted", r: "rejected", x: "" };

class Anomaly extends Part {
  static observedAttributes = ["job"];

  constructor() {
    super();
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, ANOMALY_STYLE];
    this.shadowRoot.addEventListener("keydown", (event) => this.key(event));
  }

  connectedCallback() { this.load(); }

  attributeChangedCallback() { if (this.isConnected) this.load(); }

  async load() {
    const job = this.getAttribute("job");
    delete this.dataset.ready;
    if (!job) { this.show(); return; }
    let data;
    try {
      data = await api(`/api/anomaly/${encodeURIComponent(job)}`);
    } catch (error) {
      this.show(errorBox(error));
      return;
    }
    if (job !== this.getAttribute("job")) return;
    this.data = data;
    this.threshold = data.threshold;
    this.opacity = 0.8;
    this.off = false;
    this.chosen = null;
    this.build();
    this.scrollIntoView({ block: "start" });
    await this.loadVolumes();
    if (data.findings.length) this.choose(data.findings[0].label);
    else this.goTo(data.shape.map((side, axis) => (axis === 2 ? data.slice : Math.floor(side / 2))));
    this.dataset.ready = job;
  }

  // ---- page ---------------------------------------------------------------------------------------------------

  build() {
    const { data } = this;
    this.volume = element("ss-volume", { smooth: true, pictures: data.flat, "no-mm": !data.spacing_mm });
    this.problem = element("div", {});
    this.told = element("span", { role: "status" });
    this.again = element("button", { type: "button", class: "button", hidden: true,
      onclick: () => fill(this.getAttribute("again"), `${data.job} ${this.threshold.toPrecision(4)} ${Date.now()}`) },
    "Detect again with this threshold");
    const [lead, ...rest] = data.summary;
    this.show(
      element("div", { role: "status" }, element("p", { class: "lead" }, lead), ...rest.map((line) => element("p", { class: "hint" }, line))),
      data.unlike ? element("div", { class: "warning", role: "alert" }, element("b", {}, data.unlike),
        "The result is shown all the same; do not read anything into it.") : null,
      this.tools(), element("div", { class: "row at-threshold" }, this.told, this.again), this.volume, this.problem, ...this.findings(), this.below());
    this.tell();
  }

  tools() {
    const { data } = this;
    const top = Math.max(data.top, data.threshold);
    this.button = element("button", { type: "button", class: "button", "aria-pressed": "true", title: "Key O",
      onclick: () => this.toggle() }, "Hide heat-map (O)");
    const opacity = element("input", { type: "range", min: 0, max: 1, step: 0.05, value: this.opacity,
      "aria-label": "Opacity of the heat-map",
      oninput: (event) => { this.opacity = Number(event.target.value); this.overlay(); } });
    this.slider = element("input", { type: "range", min: 0, max: STEPS, step: 1, value: STEPS * this.threshold / top,
      "aria-label": "Threshold on the score",
      oninput: (event) => this.cut(Number(event.target.value) / STEPS * top) });
    this.output = element("output", {});
    this.back = element("button", { type: "button", class: "button", onclick: () => this.cut(data.threshold) },
      "Back to that of the findings");
    const rates = data.healthy.length ? element("label", {}, "False positives", element("select", {
      "aria-label": "Threshold by the false-positive rate in healthy brains",
      onchange: (event) => { if (event.target.value) this.cut(scoreFor(data, Number(event.target.value))); },
    }, element("option", { value: "" }, "choose a rate"), ...data.healthy.map(([, rate]) => (
      element("option", { value: rate }, `${Number((100 * rate).toPrecision(3))} %`))))) : null;
    this.rates = rates?.querySelector("select");
    this.mark = element("i", {});
    return element("div", { class: "tools" }, this.button, element("label", {}, "Opacity", opacity),
      element("label", {}, "Threshold", this.slider, this.output), rates, this.back,
      element("span", { class: "scale", title: `Score: ${data.score}, in grey values that were scaled to 0…1` },
        "0", element("span", { class: "bar" }, this.mark), data.top.toFixed(2)));
  }

  findings() {
    const { data } = this;
    if (!data.findings.length) return [];
    this.table = findingsTable(data.findings, {
      choose: (label) => this.choose(label), judge: (label, word) => this.judge(label, word),
    });
    this.reason = element("input", { type: "text", maxlength: 500, placeholder: "optional, kept in the audit log", "aria-label": "Reason" });
    return [
      element("div", { class: "head" }, element("h2", {}, `Findings (${data.count})`),
        element("span", { class: "hint" }, "Click a row to go there. Keys: N and P step, A accepts, R rejects, X takes back."),
        element("label", { class: "reason" }, "Reason for the next verdict", this.reason)),
      element("div", { class: "findings", tabindex: "0", role: "region", "aria-label": "Findings" }, this.table),
    ];
  }

  below() {
    const { data } = this;
    this.plots = [element("ss-plot", {}), element("ss-plot", {})];
    const notes = data.notes.length ? element("ul", { class: "notes" }, ...data.notes.map((note) => element("li", {}, note))) : null;
    return element("div", { class: "below" },
      element("div", { class: "column" },
        element("section", { class: "card" }, element("h2", {}, "What was done with the scan"),
          element("ol", { class: "steps" }, ...data.steps.map(({ title, text }) => (
            element("li", {}, element("b", {}, title), element("span", {}, text))))), notes),
        this.panel()),
      element("section", { class: "card" }, element("h2", {}, "Scores of this scan and of healthy brains"),
        ...this.plots, element("p", { class: "hint" }, data.healthy.length
          ? "Healthy validation brains as the weights' training measured them; they tell of scores that at most a fifth of voxels exceed."
          : "The weights come without scores of healthy brains, so this scan stands alone.")));
  }

  panel() {
    return element("details", { class: "card", open: true },
      element("summary", {}, "Most remarkable slice, and the heat-map of every severity"),
      element("img", { src: this.data.panel, alt: "Input, restored, heat-map and what is above the threshold; below, one heat-map a severity", loading: "lazy" }));
  }

  // ---- viewer -------------------------------------------------------------------------------------------------

  async loadVolumes() {
    const { data } = this;
    const [low, high] = data.window;
    const slices = (layer) => ({ count: data.shape, url: (axis, index) => this.sliceUrl(layer, axis, index) });
    const grey = (name) => ({ id: name, url: data.layers[name], colormap: "gray", min: low, max: high });
    const heat = { url: data.layers.heat, colormap: "magma", max: data.top };
    await this.volume.load([
      { title: "Input, heat-map above the threshold", base: grey("input"), slices: slices("input"),
        overlays: [{ ...heat, id: "heat", min: this.threshold, opacity: this.opacity, fromZero: true }] },
      { title: "Restored as healthy", base: grey("restored"), slices: slices("restored") },
      { title: `Heat-map: ${data.score}`, base: { ...heat, id: "alone", min: 0 }, slices: slices("heat") },
    ]);
  }

  sliceUrl(layer, axis, index) {
    const query = new URLSearchParams({ layer, axis, index });
    const row = this.data.findings.find(({ label }) => label === this.chosen);
    if (row && row.voxel["xyz".indexOf(axis)] === index) query.set("at", row.voxel.join(","));
    if (layer === "input") {
      query.set("threshold", this.threshold);
      query.set("opacity", this.off ? 0 : this.opacity);
    }
    return `${this.data.slices}?${query}`;
  }

  overlay() {
    this.volume.overlay("heat", { opacity: this.off ? 0 : this.opacity, min: this.threshold });
  }

  toggle() {
    this.off = !this.off;
    this.button.setAttribute("aria-pressed", String(!this.off));
    this.button.textContent = this.off ? "Show heat-map (O)" : "Hide heat-map (O)";
    this.overlay();
  }

  cut(threshold) {
    this.threshold = threshold;
    this.slider.value = STEPS * threshold / Math.max(this.data.top, this.data.threshold);
    this.overlay();
    this.tell();
  }

  // What the threshold in view lets through: here, and in healthy brains.
  tell() {
    const { data, threshold } = this;
    this.output.textContent = threshold.toFixed(3);
    this.back.disabled = threshold === data.threshold;
    this.mark.style.left = `${Math.min(100, 100 * threshold / data.top)}%`;
    const share = shareAbove(data, threshold);
    const healthy = healthyAbove(data, threshold);
    const known = healthy === null ? "" : `; in healthy validation brains ${percent(healthy)} lie above`;
    const own = threshold === data.threshold ? "" : ` The findings below are those above ${data.threshold.toFixed(3)}.`;
    this.again.hidden = threshold === data.threshold || !threshold || !this.getAttribute("again");
    this.told.textContent = `${volume(share * data.brain_ml)} of this brain (${percent(share)}) lie above ${threshold.toFixed(3)}${known}.${own}`;
    if (this.rates && healthy !== null && Math.abs(scoreFor(data, Number(this.rates.value) || 1) - threshold) > 1e-9) this.rates.value = "";
    clearTimeout(this.plotting);
    this.plotting = setTimeout(() => {
      this.plots[0].draw(histogramFigure(data, threshold));
      this.plots[1].draw(aboveFigure(data, threshold));
    }, 60);
  }

  // ---- findings -----------------------------------------------------------------------------------------------

  choose(label) {
    const row = this.data.findings.find((finding) => finding.label === label);
    this.chosen = label;
    markChosen(this.table, label);
    this.goTo(row.voxel);
  }

  goTo(voxel) {
    this.volume.goTo(voxel);
  }

  step(by) {
    const { findings } = this.data;
    if (!findings.length) return;
    const at = findings.findIndex(({ label }) => label === this.chosen);
    this.choose(findings[(at + by + findings.length) % findings.length].label);
  }

  async judge(label, verdict) {
    const { job } = this.data;
    try {
      const { verdicts } = await api(`/api/anomaly/${encodeURIComponent(job)}/findings/${label}`, {
        method: "POST", headers: { "content-type": "application/json" },
        body: JSON.stringify({ verdict, reason: this.reason.value }),
      });
      if (job !== this.data.job) return;
      this.problem.replaceChildren();
      this.reason.value = "";
      for (const row of this.data.findings) {
        row.verdict = verdicts[row.label] ?? "";
        markVerdict(this.table, row.label, row.verdict);
      }
    } catch (error) {
      this.problem.replaceChildren(errorBox(error));
    }
  }

  key(event) {
    const inside = event.composedPath()[0];
    if (!this.data || inside.matches?.("input:not([type=range]), select") || event.ctrlKey || event.metaKey || event.altKey) return;
    const name = event.key.toLowerCase();
    if (name === "o") this.toggle();
    else if (name === "n" || name === "p") this.step(name === "n" ? 1 : -1);
    else if (name in KEYS && this.chosen) this.judge(this.chosen, KEYS[name]);
    else return;
    event.preventDefault();
  }
}

function percent(share) {
  return `${Number((100 * share).toPrecision(2))} %`;
}

if (!customElements.get("ss-anomaly")) customElements.define("ss-anomaly", Anomaly);
