// The result of a topology repair: before | after at the same place and zoom, every change coloured, listed, clickable.
// <ss-topology job="JOB" keep="BOX"></ss-topology> asks /api/topology/JOB for numbers and layers, nothing else. Its page
// lies in a shadow root, because Gradio patches the children of what it draws. BOX is filled to keep a threshold.
import { api, fill } from "/static/theme/common.js";
import { TopologyPictures } from "./topology_pictures.js";
import { STYLE } from "./topology_style.js";

const LISTED = 400; // rows of the list drawn at once; the table download has them all

const STRINGS = {
  b0: "β₀ counts the separate pieces",
  b1: "β₁ counts the closed loops, that is, the holes",
};

class TopologyResult extends TopologyPictures {
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
}

function escape(text) {
  const node = document.createElement("span");
  node.textContent = String(text);
  return node.innerHTML.replaceAll('"', "&quot;");
}

if (!customElements.get("ss-topology")) customElements.define("ss-topology", TopologyResult);
