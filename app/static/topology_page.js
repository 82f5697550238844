// What the results of a picture and of a volume have in common: the page around what is drawn, numbers, legend, list of
// changes, table of repairs, threshold. A subclass draws: it gives `stage` and `tools` (markup), `bindStage()`,
// `fetchLayers(data)`, `showLayers(layers)`, `goTo(change)`, `recolour()` and `draw()`. The page lies in a shadow root,
// because Gradio patches the children of what it draws.
import { api, fill } from "/static/theme/common.js";
import { STYLE } from "./topology_style.js";

const LISTED = 400; // rows of the list drawn at once; the table download has them all

export class TopologyPage extends HTMLElement {
  static observedAttributes = ["job"];
  words = {
    b0: ["pieces", "β₀ counts the separate pieces"],
    b1: ["holes", "β₁ counts the closed loops, that is, the holes"],
  };

  connectedCallback() {
    if (!this.built) this.buildPage();
    this.load();
  }

  attributeChangedCallback() {
    if (this.built && this.isConnected) this.load();
  }

  // ---- page ---------------------------------------------------------------------------------------------------

  buildPage() {
    this.built = true;
    this.hidden_kinds = new Set();
    this.selected = null;
    this.root = this.attachShadow({ mode: "open" });
    this.root.innerHTML = `<style>${STYLE}</style>
      <div class="tr-summary" role="status" aria-live="polite"></div>
      <div class="tr-problem" role="alert"></div>
      <div class="tr-tools">
        <label class="tr-slider">Threshold
          <input type="range" class="tr-threshold" min="0.02" max="0.98" step="0.01" value="0.5"
                 aria-label="Threshold on the refined probability">
          <output class="tr-threshold-value">0.50</output></label>
        <button type="button" class="tr-button tr-keep" hidden>Keep this threshold</button>
        <label class="tr-slider">Changes
          <input type="range" class="tr-opacity" min="0" max="1" step="0.05" value="0.9" aria-label="Opacity of the changes">
        </label>
        <button type="button" class="tr-button tr-toggle" aria-pressed="true" title="Key C">Hide changes (C)</button>
        ${this.tools}
      </div>
      <div class="tr-legend" role="group" aria-label="Kinds of change"></div>
      <div class="tr-stage">${this.stage}
        <div class="tr-side"><div class="tr-list-title"></div><ol class="tr-list"></ol></div>
      </div>
      <div class="tr-note"></div>
      <div class="tr-table"></div>`;
    this.find(".tr-threshold").addEventListener("input", (event) => this.changeThreshold(Number(event.target.value)));
    this.find(".tr-keep").addEventListener("click", () => {
      fill(this.getAttribute("keep"), `${this.job} ${this.data.threshold} ${Date.now()}`);
    });
    this.find(".tr-opacity").addEventListener("input", () => this.draw());
    this.find(".tr-toggle").addEventListener("click", () => this.toggleChanges());
    this.bindStage();
    this.root.addEventListener("keydown", (event) => this.key(event, true));
    this.root.addEventListener("keyup", (event) => this.key(event, false));
  }

  find(name) {
    return this.root.querySelector(name);
  }

  // Returns whether the key was one of ours.
  press(name) {
    if (name === "c") this.toggleChanges();
    else if (name === "n" || name === "p") this.step(name === "n" ? 1 : -1);
    else return false;
    return true;
  }

  key(event, down) {
    if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey || !down) return;
    if (this.press(event.key.toLowerCase(), event)) event.preventDefault();
  }

  get opacity() {
    return this.changes_off ? 0 : Number(this.find(".tr-opacity").value);
  }

  toggleChanges() {
    this.changes_off = !this.changes_off;
    const button = this.find(".tr-toggle");
    button.setAttribute("aria-pressed", String(!this.changes_off));
    button.textContent = this.changes_off ? "Show changes (C)" : "Hide changes (C)";
    this.draw();
  }

  step(by) {
    const changes = this.visibleChanges();
    if (!changes.length) return;
    const at = changes.findIndex((change) => change.n === this.selected);
    this.choose(changes[(at + by + changes.length) % changes.length]);
  }

  choose(change) {
    this.selected = change.n;
    this.markSelected();
    this.goTo(change);
  }

  markSelected() {
    for (const button of this.root.querySelectorAll(".tr-list button")) {
      const chosen = Number(button.dataset.change) === this.selected;
      button.setAttribute("aria-current", chosen ? "true" : "false");
      if (chosen) button.scrollIntoView({ block: "nearest" });
    }
  }

  // ---- data ---------------------------------------------------------------------------------------------------

  async load() {
    const job = this.getAttribute("job");
    if (!job) return;
    this.job = job;
    this.data = null;
    this.tuning = {};
    this.hidden_kinds.clear();
    this.forget();
    await this.fetchView("");
    if (this.data && job === this.job) {
      this.scrollIntoView({ block: "start" });
      this.find(".tr-threshold").value = this.data.threshold;
      this.find(".tr-threshold-value").textContent = this.data.threshold.toFixed(2);
    }
  }

  changeThreshold(value) {
    this.find(".tr-threshold-value").textContent = value.toFixed(2);
    this.wanted = value;
    if (!this.busy) this.followThreshold();
  }

  // One request at a time: while it runs the slider may move on, and only its last place is asked for next.
  async followThreshold() {
    this.busy = true;
    while (this.wanted !== undefined) {
      const value = this.wanted;
      this.wanted = undefined;
      await this.fetchView(value.toFixed(2));
    }
    this.busy = false;
  }

  async fetchView(threshold) {
    const job = this.job;
    const query = new URLSearchParams(this.tuning);
    if (threshold !== "") query.set("threshold", threshold);
    let layers;
    try {
      const data = await api(`/api/topology/${encodeURIComponent(job)}?${query}`);
      layers = await this.fetchLayers(data);
      if (job !== this.job) return;
      this.data = data;
    } catch (error) {
      const words = [error.what, error.why, error.what_to_do].filter(Boolean).join(" ");
      this.find(".tr-problem").textContent = words || "The result could not be loaded.";
      return;
    }
    this.find(".tr-problem").textContent = "";
    this.selected = null;
    this.fillText();
    await this.showLayers(layers);
  }

  // ---- text ---------------------------------------------------------------------------------------------------

  // Betti numbers in the order of their dimension, each with what it counts.
  betti(value) {
    return Object.entries(value).map(([name, number]) => {
      const [noun, meaning] = this.words[name];
      return `<b title="${meaning}">β${"₀₁₂"[name[1]]} ${number}</b> ${noun}`;
    }).join(" · ");
  }

  fillText() {
    const data = this.data;
    this.find(".tr-summary").innerHTML = data.summary.map((line) => `<p>${escape(line)}</p>`).join("");
    this.find(".tr-note").innerHTML = data.notes.map((line) => `<p>${escape(line)}</p>`).join("");
    this.find(".tr-keep").hidden = data.threshold === data.kept_threshold;
    this.fillLegend();
    this.fillList();
    this.fillTable();
  }

  fillLegend() {
    const legend = this.find(".tr-legend");
    legend.replaceChildren();
    for (const kind of this.data.kinds) {
      const label = document.createElement("label");
      label.title = kind.meaning;
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !this.hidden_kinds.has(kind.kind);
      box.addEventListener("change", () => {
        if (box.checked) this.hidden_kinds.delete(kind.kind);
        else this.hidden_kinds.add(kind.kind);
        this.recolour();
        this.fillList();
        this.draw();
      });
      const swatch = document.createElement("span");
      swatch.className = "tr-swatch";
      swatch.style.background = kind.colour;
      label.append(box, swatch, `${kind.title} (${kind.count})`);
      legend.append(label);
    }
  }

  // Places that only thicken or thin are drawn, but neither listed nor ringed: they would hide what matters.
  visibleChanges() {
    return this.data.changes.filter((change) => change.topological && !this.hidden_kinds.has(change.kind));
  }

  fillList() {
    const list = this.find(".tr-list");
    const changes = this.visibleChanges();
    const title = this.find(".tr-list-title");
    const shown = Math.min(changes.length, LISTED);
    title.textContent = !this.data.topological ? "No place changed the topology."
      : `${shown < this.data.topological ? `${shown} of ${this.data.topological}` : shown} places: click to go there`;
    list.replaceChildren();
    for (const change of changes.slice(0, LISTED)) {
      const kind = this.data.kinds.find((entry) => entry.kind === change.kind);
      const row = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.change = change.n;
      const swatch = document.createElement("span");
      swatch.className = "tr-swatch";
      swatch.style.background = kind.colour;
      const words = document.createElement("span");
      words.textContent = `${change.n}. ${change.title ?? kind.title}`;
      const size = document.createElement("span");
      size.className = "tr-size";
      size.textContent = this.sizeOf(change);
      button.append(swatch, words, size);
      button.addEventListener("click", () => this.choose(change));
      row.append(button);
      list.append(row);
    }
    this.markSelected();
  }

  fillTable() {
    const table = this.data.table;
    const head = table.columns.map((name) => `<th scope="col" title="${escape(name.meaning)}">${escape(name.title)}</th>`);
    const rows = table.rows.map((row) => {
      const fields = row.fields.map((field) => `<label>${escape(field.label)} <input type="number" name="${field.name}"
        value="${field.value}" min="${field.min}" max="${field.max}" step="${field.step}"> ${escape(field.unit)}</label>`);
      const cells = row.cells.map((cell) => `<td>${escape(cell)}</td>`);
      return `<tr class="${row.ours ? "tr-ours" : ""}" data-repair="${row.name}"><th scope="row"
        title="${escape(row.meaning)}">${escape(row.title)}</th><td>${fields.join(" ")}${escape(row.text)}</td>${cells.join("")}</tr>`;
    });
    const place = this.find(".tr-table");
    const focused = this.root.activeElement?.name;
    place.innerHTML = `<h4>${escape(table.title)}</h4><div class="tr-scroll"><table><thead><tr>${head.join("")}</tr></thead>
      <tbody>${rows.join("")}</tbody></table></div><p>${escape(table.caption)}</p>`;
    for (const input of place.querySelectorAll("input")) {
      input.addEventListener("change", () => this.tune(input.name, input.value));
      if (input.name === focused) input.focus();
    }
  }

  // A parameter may stand in two rows (the area of "remove small"); both then follow the one that was changed.
  tune(name, value) {
    this.tuning[name] = value;
    this.wanted = Number(this.find(".tr-threshold").value);
    if (!this.busy) this.followThreshold();
  }
}

export function escape(text) {
  const node = document.createElement("span");
  node.textContent = String(text);
  return node.innerHTML.replaceAll('"', "&quot;");
}
