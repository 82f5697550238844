// The result of a topology repair: before | after at the same place and zoom, every change coloured, listed, clickable.
// <ss-topology job="JOB" keep="BOX"></ss-topology> asks /api/topology/JOB for numbers and layers, nothing else. Its page
// lies in a shadow root, because Gradio patches the children of what it draws. BOX is filled to keep a threshold.
import { api, fill } from "/static/theme/common.js";

const FOREGROUND = [154, 160, 166];
const BACKGROUND = [20, 23, 26];
const RING = 7; // screen pixels between a change and the ring around it, so that a one-pixel change is seen
const MOST_RINGS = 150; // more would hide the picture; the list is sorted, so the weightiest have theirs
const LARGEST_RING = 90; // screen pixels; what is that large needs no ring to be found
const LISTED = 400; // rows of the list drawn at once; the table download has them all

const STRINGS = {
  b0: "β₀ counts the separate pieces",
  b1: "β₁ counts the closed loops, that is, the holes",
};

// Colours come from the page's theme, so that light and dark need nothing here; the pictures are dark in both.
const STYLE = `
[hidden] { display: none !important; }
:host { display: block; scroll-margin-top: 108px; color: var(--body-text-color); font-size: 14px; }
p { margin: 2px 0; }
.tr-summary { font-size: 15px; margin-bottom: 8px; }
.tr-summary p:first-child { font-weight: 600; font-size: 16px; }
.tr-tools { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; margin-bottom: 6px; }
.tr-space { flex: 1; }
.tr-slider { display: inline-flex; align-items: center; gap: 6px; }
.tr-slider input { width: 130px; accent-color: var(--color-accent); }
.tr-slider output { min-width: 2.4em; font-variant-numeric: tabular-nums; }
.tr-button { border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 3px 10px; cursor: pointer;
  background: var(--button-secondary-background-fill); color: var(--button-secondary-text-color); }
.tr-button:hover { background: var(--button-secondary-background-fill-hover); }
.tr-button:focus-visible, .tr-list button:focus-visible, canvas:focus-visible {
  outline: 2px solid var(--color-accent); outline-offset: 1px; }
.tr-legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin-bottom: 8px; }
.tr-legend label { display: inline-flex; align-items: center; gap: 5px; cursor: pointer; }
.tr-swatch { display: inline-block; width: 12px; height: 12px; border-radius: 2px; flex: none;
  border: 1px solid rgba(0, 0, 0, .55); }
.tr-stage { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr) 232px; gap: 10px; height: min(62vh, 520px); }
.tr-stage figure { margin: 0; display: flex; flex-direction: column; min-height: 0; }
.tr-stage figcaption { padding: 2px 0 4px; font-variant-numeric: tabular-nums; }
.tr-stage figcaption b { font-weight: 600; text-decoration: underline dotted; text-underline-offset: 3px; cursor: help; }
.tr-stage canvas { flex: 1; width: 100%; min-height: 0; background: #0b0d0f; border-radius: 6px; cursor: grab;
  touch-action: none; display: block; }
.tr-stage canvas:active { cursor: grabbing; }
.tr-side { display: flex; flex-direction: column; min-height: 0; }
.tr-list-title { padding: 2px 0 4px; color: var(--body-text-color-subdued); }
.tr-list { list-style: none; margin: 0; padding: 0; overflow-y: auto; flex: 1; border: 1px solid var(--border-color-primary);
  border-radius: 6px; background: var(--background-fill-primary); }
.tr-list button { display: flex; width: 100%; gap: 7px; align-items: center; padding: 4px 8px; text-align: left; border: 0;
  background: none; color: inherit; cursor: pointer; font-size: 13px; }
.tr-list button:hover { background: var(--background-fill-secondary); }
.tr-list button[aria-current="true"] { background: var(--color-accent-soft); font-weight: 600; }
.tr-size { margin-left: auto; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; white-space: nowrap; }
.tr-note { margin: 8px 0; color: var(--body-text-color-subdued); }
.tr-scroll { overflow-x: auto; }
.tr-table h4 { margin: 10px 0 4px; font-size: 15px; }
.tr-table table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.tr-table th, .tr-table td { padding: 4px 10px; border-bottom: 1px solid var(--border-color-primary); text-align: right; }
.tr-table th:first-child, .tr-table th:nth-child(2), .tr-table td:nth-child(2) { text-align: left; }
.tr-table thead th { font-weight: 600; color: var(--body-text-color-subdued); }
.tr-table tbody th { font-weight: 400; }
.tr-table label { white-space: nowrap; }
.tr-table .tr-ours > * { font-weight: 600; background: var(--background-fill-secondary); }
.tr-table input { width: 5.2em; font: inherit; padding: 1px 4px; color: inherit; border-radius: 4px;
  border: 1px solid var(--border-color-primary); background: var(--background-fill-primary); }
.tr-problem { color: var(--ss-bad-text); }
.tr-table .tr-ours > td:nth-child(2) { font-weight: 400; }
.tr-table p { color: var(--body-text-color-subdued); }
@media (max-width: 900px) { .tr-stage { grid-template-columns: 1fr 1fr; height: auto; }
  .tr-stage canvas { aspect-ratio: 1; } .tr-side { grid-column: 1 / -1; max-height: 200px; } }
`;

const PAGE_STYLE = new CSSStyleSheet();
PAGE_STYLE.replaceSync(`
gradio-app .ss-topology-input { grid-template-columns: auto 1fr; gap: 14px; align-items: start; }
gradio-app .ss-topology-input img { width: 72px; height: 72px; object-fit: contain; border-radius: 6px; background: #000; }
gradio-app .ss-topology-input ul { margin: 4px 0 0; padding-left: 18px; list-style: disc; font-size: 13.5px;
  color: var(--body-text-color-subdued); }
gradio-app .ss-topology-help { display: block; }
gradio-app .ss-topology-help summary { cursor: pointer; font-weight: 600; }
gradio-app .ss-topology-help dl { display: grid; grid-template-columns: max-content minmax(0, 80ch); gap: 6px 18px;
  margin-top: 8px; line-height: 1.5; }
gradio-app .ss-topology-help dt { font-weight: 600; }
`);
document.adoptedStyleSheets.push(PAGE_STYLE);

class TopologyResult extends HTMLElement {
  static observedAttributes = ["job"];

  connectedCallback() {
    if (!this.built) this.buildPage();
    this.observer = new ResizeObserver(() => this.resize());
    this.panes.forEach((pane) => this.observer.observe(pane.canvas));
    this.load();
  }

  disconnectedCallback() {
    this.observer?.disconnect();
  }

  attributeChangedCallback() {
    if (this.built && this.isConnected) this.load();
  }

  // ---- page ---------------------------------------------------------------------------------------------------

  buildPage() {
    this.built = true;
    this.view = { x: 0, y: 0, scale: 1 };
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
        <button type="button" class="tr-button tr-flip" title="Hold key B">Hold for before (B)</button>
        <span class="tr-space"></span>
        <button type="button" class="tr-button tr-out" aria-label="Zoom out" title="Key −">−</button>
        <button type="button" class="tr-button tr-in" aria-label="Zoom in" title="Key +">+</button>
        <button type="button" class="tr-button tr-fit" title="Key 0">Whole image (0)</button>
      </div>
      <div class="tr-legend" role="group" aria-label="Kinds of change"></div>
      <div class="tr-stage">
        <figure><figcaption class="tr-before-caption">Before</figcaption>
          <canvas class="tr-before" tabindex="0" role="img" aria-label="Mask before the repair"></canvas></figure>
        <figure><figcaption class="tr-after-caption">After</figcaption>
          <canvas class="tr-after" tabindex="0" role="img" aria-label="Mask after the repair"></canvas></figure>
        <div class="tr-side"><div class="tr-list-title"></div><ol class="tr-list"></ol></div>
      </div>
      <div class="tr-note"></div>
      <div class="tr-table"></div>`;
    const find = (name) => this.root.querySelector(name);
    this.panes = [
      { canvas: find(".tr-before"), caption: find(".tr-before-caption"), base: "before" },
      { canvas: find(".tr-after"), caption: find(".tr-after-caption"), base: "after" },
    ];
    find(".tr-threshold").addEventListener("input", (event) => this.changeThreshold(Number(event.target.value)));
    find(".tr-keep").addEventListener("click", () => {
      fill(this.getAttribute("keep"), `${this.job} ${this.data.threshold} ${Date.now()}`);
    });
    find(".tr-opacity").addEventListener("input", () => this.draw());
    find(".tr-toggle").addEventListener("click", () => this.toggleChanges());
    const flip = find(".tr-flip");
    flip.addEventListener("pointerdown", () => this.flip(true));
    for (const name of ["pointerup", "pointerleave", "blur"]) flip.addEventListener(name, () => this.flip(false));
    find(".tr-in").addEventListener("click", () => this.zoomAtCentre(1.5));
    find(".tr-out").addEventListener("click", () => this.zoomAtCentre(1 / 1.5));
    find(".tr-fit").addEventListener("click", () => this.fit());
    this.panes.forEach((pane) => this.bindPane(pane.canvas));
    this.root.addEventListener("keydown", (event) => this.key(event, true));
    this.root.addEventListener("keyup", (event) => this.key(event, false));
  }

  bindPane(canvas) {
    let last = null;
    let moved = 0;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(event.offsetX, event.offsetY, Math.exp(-event.deltaY * 0.0015));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      last = [event.clientX, event.clientY];
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!last) return;
      const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
      moved += Math.abs(dx) + Math.abs(dy);
      this.view.x += dx;
      this.view.y += dy;
      last = [event.clientX, event.clientY];
      this.draw();
    });
    canvas.addEventListener("pointerup", (event) => {
      last = null;
      if (moved < 4) this.pick(event.offsetX, event.offsetY);
    });
    canvas.addEventListener("pointercancel", () => { last = null; });
  }

  key(event, down) {
    if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    const name = event.key.toLowerCase();
    if (name === "b") { if (!event.repeat) this.flip(down); return; }
    if (!down) return;
    const pan = { arrowleft: [40, 0], arrowright: [-40, 0], arrowup: [0, 40], arrowdown: [0, -40] }[name];
    if (name === "c") this.toggleChanges();
    else if (name === "+" || name === "=") this.zoomAtCentre(1.5);
    else if (name === "-") this.zoomAtCentre(1 / 1.5);
    else if (name === "0") this.fit();
    else if (name === "n" || name === "p") this.step(name === "n" ? 1 : -1);
    else if (pan && event.target.matches("canvas")) { this.view.x += pan[0]; this.view.y += pan[1]; this.draw(); }
    else return;
    event.preventDefault();
  }

  // ---- data ---------------------------------------------------------------------------------------------------

  async load() {
    const job = this.getAttribute("job");
    if (!job) return;
    this.job = job;
    this.images = {};
    this.data = null;
    this.tuning = {};
    this.hidden_kinds.clear();
    this.zoomed = false;
    await this.fetchView("");
    if (this.data && job === this.job) {
      this.scrollIntoView({ block: "start" });
      const slider = this.root.querySelector(".tr-threshold");
      slider.value = this.data.threshold;
      this.root.querySelector(".tr-threshold-value").textContent = this.data.threshold.toFixed(2);
    }
  }

  changeThreshold(value) {
    this.root.querySelector(".tr-threshold-value").textContent = value.toFixed(2);
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
    try {
      const data = await api(`/api/topology/${encodeURIComponent(job)}?${query}`);
      const names = this.images.before ? ["after", "kinds"] : ["before", "after", "kinds"];
      const fresh = await Promise.all(names.map((name) => this.fetchLayer(data.layers[name])));
      if (job !== this.job) return;
      names.forEach((name, index) => { this.images[name] = fresh[index]; });
      this.data = data;
    } catch (error) {
      const words = [error.what, error.why, error.what_to_do].filter(Boolean).join(" ");
      this.root.querySelector(".tr-problem").textContent = words || "The result could not be loaded.";
      return;
    }
    this.root.querySelector(".tr-problem").textContent = "";
    this.selected = null;
    this.paintBase("before");
    this.paintBase("after");
    this.paintKinds();
    this.fillText();
    this.resize();
  }

  async fetchLayer(url) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error("A picture of the result could not be loaded.");
    const bitmap = await createImageBitmap(await answer.blob(), { colorSpaceConversion: "none" });
    const canvas = document.createElement("canvas");
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    const values = context.getImageData(0, 0, canvas.width, canvas.height).data;
    return { canvas, context, values, width: canvas.width, height: canvas.height };
  }

  paintBase(name) {
    const image = this.images[name];
    if (image.painted) return;
    const picture = image.context.createImageData(image.width, image.height);
    for (let at = 0; at < picture.data.length; at += 4) {
      const colour = image.values[at] > 127 ? FOREGROUND : BACKGROUND;
      picture.data[at] = colour[0];
      picture.data[at + 1] = colour[1];
      picture.data[at + 2] = colour[2];
      picture.data[at + 3] = 255;
    }
    image.context.putImageData(picture, 0, 0);
    image.painted = true;
  }

  // The layer holds one small code a kind; recolouring here lets a kind be switched off without asking again.
  paintKinds() {
    const image = this.images.kinds;
    const colours = {};
    for (const kind of this.data.kinds) if (!this.hidden_kinds.has(kind.kind)) colours[kind.code] = rgb(kind.colour);
    const picture = image.context.createImageData(image.width, image.height);
    for (let at = 0; at < picture.data.length; at += 4) {
      const colour = colours[image.values[at]];
      if (!colour) continue;
      picture.data[at] = colour[0];
      picture.data[at + 1] = colour[1];
      picture.data[at + 2] = colour[2];
      picture.data[at + 3] = 255;
    }
    image.context.putImageData(picture, 0, 0);
  }

  // ---- text ---------------------------------------------------------------------------------------------------

  fillText() {
    const data = this.data;
    const betti = (value) => `<b title="${STRINGS.b0}">β₀ ${value.b0}</b> pieces · <b title="${STRINGS.b1}">β₁ ${value.b1}</b> holes`;
    this.panes[0].caption.innerHTML = `Before · ${betti(data.before)}`;
    this.panes[1].caption.innerHTML = `After · ${betti(data.after)}`;
    this.root.querySelector(".tr-summary").innerHTML = data.summary.map((line) => `<p>${escape(line)}</p>`).join("");
    this.root.querySelector(".tr-note").innerHTML = data.notes.map((line) => `<p>${escape(line)}</p>`).join("");
    this.root.querySelector(".tr-keep").hidden = data.threshold === data.kept_threshold;
    this.fillLegend();
    this.fillList();
    this.fillTable();
  }

  fillLegend() {
    const legend = this.root.querySelector(".tr-legend");
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
        this.paintKinds();
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
    const list = this.root.querySelector(".tr-list");
    const changes = this.visibleChanges();
    const title = this.root.querySelector(".tr-list-title");
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
      words.textContent = `${change.n}. ${kind.title}`;
      const size = document.createElement("span");
      size.className = "tr-size";
      size.textContent = `${change.pixels} px`;
      button.append(swatch, words, size);
      button.addEventListener("click", () => this.goTo(change));
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
    const place = this.root.querySelector(".tr-table");
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
    this.wanted = Number(this.root.querySelector(".tr-threshold").value);
    if (!this.busy) this.followThreshold();
  }

  // ---- picture ------------------------------------------------------------------------------------------------

  resize() {
    const ratio = window.devicePixelRatio || 1;
    for (const { canvas } of this.panes) {
      const box = canvas.getBoundingClientRect();
      canvas.width = Math.max(1, Math.round(box.width * ratio));
      canvas.height = Math.max(1, Math.round(box.height * ratio));
    }
    if (this.data && !this.zoomed) this.fit();
    else this.draw();
  }

  size() {
    const box = this.panes[0].canvas.getBoundingClientRect();
    return [box.width, box.height];
  }

  fit() {
    if (!this.data) return;
    const [width, height] = this.size();
    if (!width) return;
    const scale = Math.min(width / this.data.width, height / this.data.height);
    this.view = { scale, x: (width - this.data.width * scale) / 2, y: (height - this.data.height * scale) / 2 };
    this.zoomed = false;
    this.draw();
  }

  zoom(x, y, factor) {
    const [width, height] = this.size();
    const least = Math.min(width / this.data.width, height / this.data.height) / 2;
    const scale = Math.min(40, Math.max(least, this.view.scale * factor));
    const change = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * change, y: y - (y - this.view.y) * change };
    this.zoomed = true;
    this.draw();
  }

  zoomAtCentre(factor) {
    if (!this.data) return;
    const [width, height] = this.size();
    this.zoom(width / 2, height / 2, factor);
  }

  goTo(change) {
    const [width, height] = this.size();
    const extent = Math.max(change.x1 - change.x0, change.y1 - change.y0, 12) * 4;
    const scale = Math.min(16, Math.max(Math.min(width, height) / extent, Math.min(width / this.data.width, height / this.data.height)));
    const [cx, cy] = [(change.x0 + change.x1) / 2, (change.y0 + change.y1) / 2];
    this.view = { scale, x: width / 2 - cx * scale, y: height / 2 - cy * scale };
    this.zoomed = true;
    this.selected = change.n;
    this.markSelected();
    this.draw();
  }

  step(by) {
    const changes = this.visibleChanges();
    if (!changes.length) return;
    const at = changes.findIndex((change) => change.n === this.selected);
    this.goTo(changes[(at + by + changes.length) % changes.length]);
  }

  pick(x, y) {
    if (!this.data) return;
    const [px, py] = [(x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale];
    const reach = RING / this.view.scale;
    const hit = this.visibleChanges().filter((change) => px >= change.x0 - reach && px <= change.x1 + reach
      && py >= change.y0 - reach && py <= change.y1 + reach).sort((a, b) => a.pixels - b.pixels)[0];
    this.selected = hit ? hit.n : null;
    this.markSelected();
    this.draw();
  }

  markSelected() {
    for (const button of this.root.querySelectorAll(".tr-list button")) {
      const chosen = Number(button.dataset.change) === this.selected;
      button.setAttribute("aria-current", chosen ? "true" : "false");
      if (chosen) button.scrollIntoView({ block: "nearest" });
    }
  }

  toggleChanges() {
    this.changes_off = !this.changes_off;
    const button = this.root.querySelector(".tr-toggle");
    button.setAttribute("aria-pressed", String(!this.changes_off));
    button.textContent = this.changes_off ? "Show changes (C)" : "Hide changes (C)";
    this.draw();
  }

  flip(on) {
    if (this.flipped === on) return;
    this.flipped = on;
    this.draw();
  }

  draw() {
    if (!this.data || !this.images.kinds) return;
    const ratio = window.devicePixelRatio || 1;
    const opacity = this.changes_off ? 0 : Number(this.root.querySelector(".tr-opacity").value);
    for (const { canvas, base } of this.panes) {
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.fillStyle = "#0b0d0f";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.setTransform(ratio * this.view.scale, 0, 0, ratio * this.view.scale, ratio * this.view.x, ratio * this.view.y);
      context.imageSmoothingEnabled = this.view.scale < 1;
      context.drawImage(this.images[this.flipped ? "before" : base].canvas, 0, 0);
      if (opacity && !this.flipped) {
        context.globalAlpha = opacity;
        context.drawImage(this.images.kinds.canvas, 0, 0);
        context.globalAlpha = 1;
        this.drawRings(context, ratio, opacity);
      }
    }
    this.dataset.scale = this.view.scale.toFixed(3);
  }

  drawRings(context, ratio, opacity) {
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const colours = Object.fromEntries(this.data.kinds.map((kind) => [kind.kind, kind.colour]));
    for (const [index, change] of this.visibleChanges().entries()) {
      const chosen = change.n === this.selected;
      const x = this.view.x + this.view.scale * (change.x0 + change.x1) / 2;
      const y = this.view.y + this.view.scale * (change.y0 + change.y1) / 2;
      const radius = RING + this.view.scale * Math.max(change.x1 - change.x0, change.y1 - change.y0) / 2;
      if ((radius > LARGEST_RING || index >= MOST_RINGS) && !chosen) continue;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.globalAlpha = opacity;
      context.lineWidth = chosen ? 5 : 3.2;
      context.strokeStyle = "#0b0d0f";
      context.stroke();
      context.lineWidth = chosen ? 3 : 1.6;
      context.strokeStyle = colours[change.kind];
      context.stroke();
    }
    context.globalAlpha = 1;
  }
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function escape(text) {
  const node = document.createElement("span");
  node.textContent = String(text);
  return node.innerHTML.replaceAll('"', "&quot;");
}

if (!customElements.get("ss-topology")) customElements.define("ss-topology", TopologyResult);
