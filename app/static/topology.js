// The result of a topology repair: before | after at the same place and zoom, every change coloured, listed, clickable.
// <topology-result data-job="JOB"></topology-result> asks /api/topology/JOB for numbers and layers, nothing else.

const FOREGROUND = [154, 160, 166];
const BACKGROUND = [20, 23, 26];
const RING = 7; // screen pixels between a change and the ring around it, so that a one-pixel change is seen
const LISTED = 400; // rows of the list drawn at once; the table download has them all

const STRINGS = {
  b0: "β₀ counts the separate pieces",
  b1: "β₁ counts the closed loops, that is, the holes",
};

class TopologyResult extends HTMLElement {
  static observedAttributes = ["data-job"];

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
    this.classList.add("topology-result");
    this.innerHTML = `
      <div class="tr-summary" role="status" aria-live="polite"></div>
      <div class="tr-tools">
        <label class="tr-slider">Threshold
          <input type="range" class="tr-threshold" min="0.02" max="0.98" step="0.01" value="0.5"
                 aria-label="Threshold on the refined probability">
          <output class="tr-threshold-value">0.50</output></label>
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
    const find = (name) => this.querySelector(name);
    this.panes = [
      { canvas: find(".tr-before"), caption: find(".tr-before-caption"), base: "before" },
      { canvas: find(".tr-after"), caption: find(".tr-after-caption"), base: "after" },
    ];
    find(".tr-threshold").addEventListener("input", (event) => this.changeThreshold(Number(event.target.value)));
    find(".tr-opacity").addEventListener("input", () => this.draw());
    find(".tr-toggle").addEventListener("click", () => this.toggleChanges());
    const flip = find(".tr-flip");
    flip.addEventListener("pointerdown", () => this.flip(true));
    for (const name of ["pointerup", "pointerleave", "blur"]) flip.addEventListener(name, () => this.flip(false));
    find(".tr-in").addEventListener("click", () => this.zoomAtCentre(1.5));
    find(".tr-out").addEventListener("click", () => this.zoomAtCentre(1 / 1.5));
    find(".tr-fit").addEventListener("click", () => this.fit());
    this.panes.forEach((pane) => this.bindPane(pane.canvas));
    this.addEventListener("keydown", (event) => this.key(event, true));
    this.addEventListener("keyup", (event) => this.key(event, false));
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
    const job = this.dataset.job;
    if (!job) return;
    this.job = job;
    this.images = {};
    this.selected = null;
    this.zoomed = false;
    await this.fetchView("");
    if (this.data) {
      const slider = this.querySelector(".tr-threshold");
      slider.value = this.data.threshold;
      this.querySelector(".tr-threshold-value").textContent = this.data.threshold.toFixed(2);
    }
  }

  changeThreshold(value) {
    this.querySelector(".tr-threshold-value").textContent = value.toFixed(2);
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
      this.dispatchEvent(new CustomEvent("threshold", { detail: value, bubbles: true }));
    }
    this.busy = false;
  }

  async fetchView(threshold) {
    const job = this.job;
    const query = threshold === "" ? "" : `?threshold=${threshold}`;
    try {
      const answer = await fetch(`/api/topology/${job}${query}`, { headers: { Accept: "application/json" } });
      const data = await answer.json();
      if (!answer.ok) throw new Error([data.what, data.why, data.what_to_do].filter(Boolean).join(" "));
      const names = this.images.before ? ["after", "kinds"] : ["before", "after", "kinds"];
      const fresh = await Promise.all(names.map((name) => this.fetchLayer(data.layers[name])));
      if (job !== this.job) return;
      names.forEach((name, index) => { this.images[name] = fresh[index]; });
      this.data = data;
    } catch (error) {
      this.querySelector(".tr-summary").textContent = error.message || "The result could not be loaded.";
      return;
    }
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
    this.querySelector(".tr-summary").innerHTML = data.summary.map((line) => `<p>${escape(line)}</p>`).join("");
    this.querySelector(".tr-note").innerHTML = data.notes.map((line) => `<p>${escape(line)}</p>`).join("");
    this.fillLegend();
    this.fillList();
    this.fillTable();
  }

  fillLegend() {
    const legend = this.querySelector(".tr-legend");
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

  visibleChanges() {
    return this.data.changes.filter((change) => !this.hidden_kinds.has(change.kind));
  }

  fillList() {
    const list = this.querySelector(".tr-list");
    const changes = this.visibleChanges();
    const more = this.data.change_count - this.data.changes.length;
    const title = this.querySelector(".tr-list-title");
    title.textContent = this.data.change_count === 0 ? "Nothing was changed."
      : `${changes.length} places${more > 0 ? ` (${more} smaller ones are in the table)` : ""}: click to go there`;
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
    const head = table.columns.map((name) => `<th scope="col" title="${escape(name.meaning)}">${escape(name.title)}</th>`).join("");
    const rows = table.rows.map((row) => {
      const cells = row.cells.map((cell, index) => index === 0
        ? `<th scope="row" title="${escape(row.meaning)}">${escape(cell)}</th>` : `<td>${escape(cell)}</td>`).join("");
      return `<tr class="${row.ours ? "tr-ours" : ""}">${cells}</tr>`;
    }).join("");
    this.querySelector(".tr-table").innerHTML = `<h4>${escape(table.title)}</h4>
      <table><thead><tr>${head}</tr></thead><tbody>${rows}</tbody></table><p>${escape(table.caption)}</p>`;
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
    for (const button of this.querySelectorAll(".tr-list button")) {
      const chosen = Number(button.dataset.change) === this.selected;
      button.setAttribute("aria-current", chosen ? "true" : "false");
      if (chosen) button.scrollIntoView({ block: "nearest" });
    }
  }

  toggleChanges() {
    this.changes_off = !this.changes_off;
    const button = this.querySelector(".tr-toggle");
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
    const opacity = this.changes_off ? 0 : Number(this.querySelector(".tr-opacity").value);
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
    for (const change of this.visibleChanges()) {
      const chosen = change.n === this.selected;
      if (!change.topological && !chosen) continue;
      const x = this.view.x + this.view.scale * (change.x0 + change.x1) / 2;
      const y = this.view.y + this.view.scale * (change.y0 + change.y1) / 2;
      const radius = RING + this.view.scale * Math.max(change.x1 - change.x0, change.y1 - change.y0) / 2;
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

if (!customElements.get("topology-result")) customElements.define("topology-result", TopologyResult);
