// The two pictures of a topology result: layers fetched and coloured, drawn at one place and zoom, rings around changes.
// Base of <ss-topology>, which has the page around them; it gives `root`, `panes`, `data` and `visibleChanges()`.

const FOREGROUND = [154, 160, 166];
const BACKGROUND = [20, 23, 26];
const RING = 7; // screen pixels between a change and the ring around it, so that a one-pixel change is seen
const MOST_RINGS = 150; // more would hide the picture; the list is sorted, so the weightiest have theirs
const LARGEST_RING = 90; // screen pixels; what is that large needs no ring to be found

export class TopologyPictures extends HTMLElement {
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
