// The result of a repaired picture: before | after at the same place and zoom, every change coloured and ringed.
// <ss-topology job="JOB" keep="BOX"></ss-topology> asks /api/topology/JOB for numbers and layers, nothing else. BOX is
// filled to keep a threshold.
import { TopologyPage } from "./topology_page.js";

const FOREGROUND = [154, 160, 166];
const BACKGROUND = [20, 23, 26];
const RING = 7; // screen pixels between a change and the ring around it, so that a one-pixel change is seen
const MOST_RINGS = 150; // more would hide the picture; the list is sorted, so the weightiest have theirs
const LARGEST_RING = 90; // screen pixels; what is that large needs no ring to be found

class TopologyPictures extends TopologyPage {
  tools = `
        <button type="button" class="tr-button tr-flip" title="Hold key B">Hold for before (B)</button>
        <span class="tr-space"></span>
        <button type="button" class="tr-button tr-out" aria-label="Zoom out" title="Key −">−</button>
        <button type="button" class="tr-button tr-in" aria-label="Zoom in" title="Key +">+</button>
        <button type="button" class="tr-button tr-fit" title="Key 0">Whole image (0)</button>`;
  stage = `
        <figure><figcaption class="tr-before-caption">Before</figcaption>
          <canvas class="tr-before" tabindex="0" role="img" aria-label="Mask before the repair"></canvas></figure>
        <figure><figcaption class="tr-after-caption">After</figcaption>
          <canvas class="tr-after" tabindex="0" role="img" aria-label="Mask after the repair"></canvas></figure>`;

  connectedCallback() {
    super.connectedCallback();
    this.observer = new ResizeObserver(() => this.resize());
    this.panes.forEach((pane) => this.observer.observe(pane.canvas));
  }

  disconnectedCallback() {
    this.observer?.disconnect();
  }

  bindStage() {
    this.view = { x: 0, y: 0, scale: 1 };
    this.images = {};
    this.panes = ["before", "after"].map((base) => (
      { canvas: this.find(`.tr-${base}`), caption: this.find(`.tr-${base}-caption`), base }));
    const flip = this.find(".tr-flip");
    flip.addEventListener("pointerdown", () => this.flip(true));
    for (const name of ["pointerup", "pointerleave", "blur"]) flip.addEventListener(name, () => this.flip(false));
    this.find(".tr-in").addEventListener("click", () => this.zoomAtCentre(1.5));
    this.find(".tr-out").addEventListener("click", () => this.zoomAtCentre(1 / 1.5));
    this.find(".tr-fit").addEventListener("click", () => this.fit());
    this.panes.forEach((pane) => this.bindPane(pane.canvas));
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
    if (event.key.toLowerCase() === "b" && !event.target.matches("input") && !event.ctrlKey && !event.metaKey && !event.altKey) {
      if (!event.repeat) this.flip(down);
    } else super.key(event, down);
  }

  press(name, event) {
    const pan = { arrowleft: [40, 0], arrowright: [-40, 0], arrowup: [0, 40], arrowdown: [0, -40] }[name];
    if (name === "+" || name === "=") this.zoomAtCentre(1.5);
    else if (name === "-") this.zoomAtCentre(1 / 1.5);
    else if (name === "0") this.fit();
    else if (pan && event.target.matches("canvas")) { this.view.x += pan[0]; this.view.y += pan[1]; this.draw(); }
    else return super.press(name);
    return true;
  }

  forget() {
    this.images = {};
    this.zoomed = false;
  }

  async fetchLayers(data) {
    const names = this.images.before ? ["after", "kinds"] : ["before", "after", "kinds"];
    const fresh = await Promise.all(names.map((name) => this.fetchLayer(data.layers[name])));
    return Object.fromEntries(names.map((name, index) => [name, fresh[index]]));
  }

  showLayers(layers) {
    Object.assign(this.images, layers);
    this.panes[0].caption.innerHTML = `Before · ${this.betti(this.data.before)}`;
    this.panes[1].caption.innerHTML = `After · ${this.betti(this.data.after)}`;
    this.paintBase("before");
    this.paintBase("after");
    this.recolour();
    this.resize();
  }

  sizeOf(change) {
    return `${change.pixels} px`;
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
  recolour() {
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
    this.draw();
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

  flip(on) {
    if (this.flipped === on) return;
    this.flipped = on;
    this.draw();
  }

  draw() {
    if (!this.data || !this.images.kinds) return;
    const ratio = window.devicePixelRatio || 1;
    const { opacity } = this;
    for (const { canvas, base } of this.panes) {
      const context = canvas.getContext("2d");
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.fillStyle = "#0b0d0f";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.setTransform(ratio * this.view.scale, 0, 0, ratio * this.view.scale, ratio * this.view.x, ratio * this.view.y);
      context.imageSmoothingEnabled = this.view.scale < 1;
      this.drawLayer(context, this.flipped ? "before" : base);
      if (opacity && !this.flipped) {
        context.globalAlpha = opacity;
        this.drawLayer(context, "kinds");
        context.globalAlpha = 1;
        this.drawRings(context, ratio, opacity);
      }
    }
    this.dataset.scale = this.view.scale.toFixed(3);
  }

  // A layer of a large mask comes shrunk by `step`; in the coordinates of the mask it is drawn at its full size.
  drawLayer(context, name) {
    const { canvas, width, height } = this.images[name];
    context.drawImage(canvas, 0, 0, width * this.data.step, height * this.data.step);
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

if (!customElements.get("ss-topology")) customElements.define("ss-topology", TopologyPictures);
