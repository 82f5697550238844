// <ss-volume>: volumes side by side, in three planes and in 3D, at one place and from one side, with overlays in colour.
//
//   panes = [{ title, base: LAYER, overlays: [LAYER, …], slices: { count: [x, y, z], url: (axis, index) => "…" } }, …]
//   LAYER = { id, artifact | url, colormap, min, max, opacity, labels: { 1: "#rrggbb", … }, title, fromZero }
//
// `artifact` is the id of a stored NIfTI file, `url` another address of one. `labels` colours a map of whole numbers, all
// others take a named `colormap` between `min` and `max`; with `fromZero` its colours run from 0 to `max`, and what lies
// below `min` is clear. An overlay with a `title` gets a slider of its own. The same list can stand in the attribute
// `panes` as JSON (then `slices.url` is a text with {axis} and {index} in it). Where the browser has no WebGL2, or the
// element the attribute `pictures` (for scans of one slice), single slices are shown as pictures. Fires "ss-place" with
// the voxel in view.
import { STYLE } from "./volume_style.js";

const VIEWER = "/static/vendor/niivue/niivue.js";
const AXES = ["x", "y", "z"];
const VIEWS = [["planes", "Planes and 3D"], ["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"], ["render", "3D"]];
const ACROSS = { axial: 2, coronal: 1, sagittal: 0 };
const NO_WEBGL = "This browser cannot draw volumes (WebGL 2 is missing or switched off), so single slices are shown instead.";
const MASK = { R: [20, 154], G: [23, 160], B: [26, 166], A: [0, 255], I: [0, 255] };

let library = null;
let drawable = null;

function hasWebgl2() {
  drawable ??= Boolean(document.createElement("canvas").getContext("webgl2"));
  return drawable;
}

class Volumes extends HTMLElement {
  static observedAttributes = ["panes"];

  connectedCallback() {
    if (!this.root) this.build();
    if (this.hasAttribute("panes")) this.load(JSON.parse(this.getAttribute("panes")));
  }

  disconnectedCallback() {
    this.close();
  }

  attributeChangedCallback(name, before, now) {
    if (this.root && this.isConnected && now) this.load(JSON.parse(now));
  }

  build() {
    this.root = this.attachShadow({ mode: "open" });
    this.root.innerHTML = `<style>${STYLE}</style>
      <div class="sv-tools"><div class="sv-views" role="group" aria-label="View"></div><div class="sv-overlays"></div>
        <output class="sv-place" aria-live="off"></output></div>
      <p class="sv-problem" role="status" hidden></p><div class="sv-panes"></div>
      <input type="range" class="sv-slice" min="0" step="1" aria-label="Slice" hidden>`;
    this.panes = [];
    this.view = "planes";
    for (const [name, title] of VIEWS) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = title;
      button.dataset.view = name;
      button.addEventListener("click", () => this.setView(name));
      this.find(".sv-views").append(button);
    }
    this.find(".sv-slice").addEventListener("input", (event) => {
      this.slices.place[this.slices.axis] = Number(event.target.value);
      this.drawSlices();
    });
    this.markView();
  }

  find(name) {
    return this.root.querySelector(name);
  }

  // Shows other volumes. The place, the side and the magnification stay when there were volumes before.
  async load(panes) {
    const turn = this.turn = (this.turn ?? 0) + 1;
    if (!this.root) this.build();
    this.given = panes;
    this.tell("");
    if (this.hasAttribute("pictures")) return this.loadSlices(panes, "");
    if (!hasWebgl2()) return this.loadSlices(panes, NO_WEBGL);
    try {
      library ??= import(VIEWER);
      const { Niivue } = await library;
      if (turn !== this.turn) return;
      if (this.panes.length !== panes.length || !this.panes[0]?.viewer) await this.open(panes, Niivue);
      await Promise.all(panes.map((pane, index) => this.fill(this.panes[index], pane)));
    } catch (error) {
      library = null;
      if (turn === this.turn) this.loadSlices(panes, `The volumes could not be drawn (${error.message}).`);
      return;
    }
    if (turn !== this.turn) return;
    this.drawOverlayTools();
    if (this.wanted) this.goTo(this.wanted);
    this.dataset.ready = String(turn);
  }

  async open(panes, Niivue) {
    this.close();
    this.addFigures(panes);
    for (const pane of this.panes) {
      pane.viewer = new Niivue({
        backColor: [0.043, 0.051, 0.059, 1],
        crosshairColor: [0.95, 0.3, 0.25, 0.9],
        crosshairWidth: this.hasAttribute("smooth") ? 1 : 0.4,
        crosshairGap: 6,
        isRadiologicalConvention: true,
        show3Dcrosshair: true,
        isNearestInterpolation: !this.hasAttribute("smooth"),
        isOrientCube: false,
        multiplanarForceRender: true,
        dragAndDropEnabled: false,
        clipPlaneHotKey: "",
        cycleClipPlaneHotKey: "",
        viewModeHotKey: "",
        loadingText: "loading",
        logLevel: "error",
      });
      pane.viewer.addColormap("ss-mask", MASK);
      await pane.viewer.attachToCanvas(pane.canvas);
      pane.viewer.onLocationChange = (place) => this.placed(pane, place);
    }
    const viewers = this.panes.map((pane) => pane.viewer);
    for (const viewer of viewers) viewer.broadcastTo(viewers.filter((other) => other !== viewer), { "2d": true, "3d": true });
    this.setView(this.view);
  }

  addFigures(panes) {
    const place = this.find(".sv-panes");
    place.replaceChildren();
    this.panes = panes.map(({ title }) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      const holder = document.createElement("div");
      const canvas = document.createElement("canvas");
      canvas.tabIndex = 0;
      canvas.setAttribute("role", "img");
      holder.append(canvas);
      figure.append(caption, holder);
      place.append(figure);
      canvas.setAttribute("aria-label", `${title}: wheel moves through the slices, a click moves the crosshair`);
      canvas.addEventListener("keydown", (event) => this.key(event));
      return { caption, holder, canvas, figure };
    });
  }

  async fill(pane, { title, html, base, overlays = [] }) {
    if (html) pane.caption.innerHTML = html;
    else pane.caption.textContent = title;
    const { viewer } = pane;
    const scene = pane.layers ? { place: [...viewer.scene.crosshairPos], pan: [...viewer.scene.pan2Dxyzmm],
      scale: viewer.scene.volScaleMultiplier, azimuth: viewer.scene.renderAzimuth, elevation: viewer.scene.renderElevation } : null;
    pane.layers = [base, ...overlays];
    await viewer.loadVolumes(pane.layers.map((layer, index) => ({
      url: layer.url ?? `/api/artifacts/${encodeURIComponent(layer.artifact)}`,
      name: `${layer.id ?? index}.nii.gz`,
      colormap: layer.colormap ?? (index ? "warm" : "ss-mask"),
      cal_min: layer.min ?? 0,
      cal_max: layer.max ?? 1,
      opacity: layer.opacity ?? 1,
    })));
    pane.layers.forEach((layer, index) => this.colour(viewer.volumes[index], layer));
    if (scene) {
      viewer.scene.crosshairPos = scene.place;
      viewer.scene.pan2Dxyzmm = scene.pan;
      viewer.scene.volScaleMultiplier = scene.scale;
      viewer.setRenderAzimuthElevation(scene.azimuth, scene.elevation);
    }
    viewer.updateGLVolume();
  }

  colour(volume, { labels, fromZero }) {
    // In volumes, 2 is what NiiVue calls translucent and draws clear below the minimum; 1 is the other way round.
    if (fromZero) volume.colormapType = 2;
    if (!labels) return;
    const codes = Object.keys(labels).map(Number).sort((a, b) => a - b);
    const parts = codes.map((code) => rgb(labels[code]));
    const column = (at) => [0, ...parts.map((part) => part[at])];
    volume.setColormapLabel({ R: column(0), G: column(1), B: column(2), A: [0, ...parts.map(() => 255)], I: [0, ...codes],
      labels: ["", ...codes.map(String)] });
  }

  // Changes how an overlay looks, in every pane that has it: { opacity, labels, min }.
  overlay(id, change) {
    for (const pane of this.panes) {
      const at = (pane.layers ?? []).findIndex((layer) => layer.id === id);
      if (at < 0) continue;
      Object.assign(pane.layers[at], change);
      if (!pane.viewer) continue;
      if (change.labels) this.colour(pane.viewer.volumes[at], pane.layers[at]);
      if (change.min !== undefined) pane.viewer.volumes[at].cal_min = change.min;
      if (change.opacity !== undefined) pane.viewer.setOpacity(at, change.opacity);
      else pane.viewer.updateGLVolume();
    }
    if (this.slices) this.drawSlices();
  }

  // Puts the crosshair of every pane on a voxel [x, y, z] of the first volume's own grid.
  goTo(voxel) {
    this.wanted = voxel;
    if (this.slices) {
      this.slices.place = voxel.map(Math.round);
      this.drawSlices();
      return;
    }
    for (const { viewer } of this.panes) {
      if (!viewer?.volumes.length) continue;
      // Not through millimetres: in tilted scans those of the viewer are not those of the file.
      viewer.scene.crosshairPos = sides(viewer.volumes[0]).map(({ from, side, flipped }) => (
        ((flipped ? side - 1 - voxel[from] : voxel[from]) + 0.5) / side));
      viewer.drawScene();
    }
    this.panes[0]?.viewer?.createOnLocationChange();
  }

  placed(pane, place) {
    const volume = pane.viewer.volumes[0];
    if (!volume || !place.values[0]) return;
    const voxel = [0, 0, 0];
    sides(volume).forEach(({ from, side, flipped }, axis) => {
      const at = Math.min(side - 1, Math.max(0, Math.floor(pane.viewer.scene.crosshairPos[axis] * side)));
      voxel[from] = flipped ? side - 1 - at : at;
    });
    this.wanted = voxel;
    this.dataset.voxel = voxel.join(" ");
    const mm = [0, 1, 2].map((row) => volume.hdr.affine[row])
      .map((row) => (row[0] * voxel[0] + row[1] * voxel[1] + row[2] * voxel[2] + row[3]).toFixed(1)).join(", ");
    this.find(".sv-place").textContent = `voxel ${voxel.join(", ")}` + (this.hasAttribute("no-mm") ? "" : ` · ${mm} mm`);
    this.dispatchEvent(new CustomEvent("ss-place", { detail: { voxel, values: place.values.map((item) => item.value) }, bubbles: true }));
  }

  setView(view) {
    this.view = view;
    this.markView();
    if (this.slices) {
      this.slices.axis = ACROSS[view];
      this.drawSlices();
      return;
    }
    for (const { viewer } of this.panes) {
      if (!viewer) continue;
      const types = { planes: viewer.sliceTypeMultiplanar, axial: viewer.sliceTypeAxial, coronal: viewer.sliceTypeCoronal,
        sagittal: viewer.sliceTypeSagittal, render: viewer.sliceTypeRender };
      viewer.setSliceType(types[view]);
    }
  }

  markView() {
    for (const button of this.root.querySelectorAll(".sv-views button")) {
      button.setAttribute("aria-pressed", String(button.dataset.view === this.view));
    }
  }

  // Arrows move in the plane, Page Up and Page Down through the slices; + and − magnify the 3D view.
  key(event) {
    const viewer = this.panes.find((pane) => pane.canvas === event.target)?.viewer;
    const steps = { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
      PageUp: [0, 0, 1], PageDown: [0, 0, -1] };
    const step = steps[event.key];
    if (!viewer || !step || event.ctrlKey || event.metaKey || event.altKey) return;
    viewer.moveCrosshairInVox(...step);
    viewer.sync();
    event.preventDefault();
    event.stopPropagation();
  }

  drawOverlayTools() {
    const place = this.find(".sv-overlays");
    place.replaceChildren();
    const seen = new Set();
    for (const layer of this.given.flatMap((pane) => pane.overlays ?? [])) {
      if (!layer.title || seen.has(layer.id)) continue;
      seen.add(layer.id);
      const label = document.createElement("label");
      const slider = document.createElement("input");
      Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.05, value: layer.opacity ?? 1 });
      slider.addEventListener("input", () => this.overlay(layer.id, { opacity: Number(slider.value) }));
      label.append(layer.title, slider);
      place.append(label);
    }
  }

  // ---- without WebGL2 ------------------------------------------------------------------------------------------

  loadSlices(panes, why) {
    const able = panes.every((pane) => pane.slices);
    this.tell(able ? why : `${why} The numbers and the downloads are not affected.`);
    if (!this.slices) this.close();
    this.find(".sv-place").textContent = "";
    if (!able) return;
    const count = panes[0].slices.count;
    const place = this.slices?.place ?? (this.wanted ?? count.map((n) => n / 2)).map(Math.floor);
    this.slices = { axis: this.slices?.axis ?? ACROSS[this.view] ?? 2, place, count };
    if (this.panes.length !== panes.length || !this.panes[0].picture) {
      this.addFigures(panes);
      for (const pane of this.panes) {
        pane.picture = document.createElement("img");
        pane.holder.replaceChildren(pane.picture);
      }
    }
    panes.forEach((pane, index) => {
      Object.assign(this.panes[index], { source: pane.slices.url, layers: [pane.base, ...(pane.overlays ?? [])] });
      if (pane.html) this.panes[index].caption.innerHTML = pane.html;
      else this.panes[index].caption.textContent = pane.title;
      this.panes[index].picture.alt = `${pane.title}: one slice`;
    });
    this.flat(true);
    this.drawSlices();
    this.dataset.ready = String(this.turn);
  }

  drawSlices() {
    const { axis, place, count } = this.slices;
    const index = Math.min(Math.max(place[axis], 0), count[axis] - 1);
    const visible = (pane) => pane.layers.slice(1).some((layer) => (layer.opacity ?? 1) > 0);
    for (const pane of this.panes) {
      const made = typeof pane.source === "function" ? pane.source(AXES[axis], index, visible(pane))
        : pane.source.replaceAll("{axis}", AXES[axis]).replaceAll("{index}", index);
      if (pane.picture.getAttribute("src") !== made) pane.picture.src = made;
    }
    Object.assign(this.find(".sv-slice"), { max: count[axis] - 1, value: index });
    this.dataset.voxel = place.join(" ");
    this.find(".sv-place").textContent = `voxel ${place.join(", ")} · slice ${index + 1} of ${count[axis]} along ${AXES[axis]}`;
  }

  // ---- end -----------------------------------------------------------------------------------------------------

  tell(text) {
    const problem = this.find(".sv-problem");
    problem.textContent = text;
    problem.hidden = !text;
  }

  // Browsers allow a few WebGL contexts a page: those of a viewer that goes are given back.
  close() {
    for (const { viewer } of this.panes ?? []) {
      if (!viewer) continue;
      viewer.cleanup?.();
      viewer.gl?.getExtension("WEBGL_lose_context")?.loseContext();
    }
    this.panes = [];
    this.slices = null;
    this.find(".sv-panes")?.replaceChildren();
    this.flat(false);
  }

  // Slices lie across the axes of the file, which need not be those of the body.
  flat(on) {
    this.toggleAttribute("flat", on);
    this.find(".sv-slice").hidden = !on;
    for (const [view, title] of VIEWS) {
      if (view in ACROSS) this.find(`[data-view="${view}"]`).textContent = on ? `Across ${AXES[ACROSS[view]]}` : title;
    }
    if (on && !(this.view in ACROSS)) this.view = "axial";
    this.markView();
  }
}

// Of each axis that is shown (to the right, the front and the top of the body): which axis of the file lies along it, how
// many voxels it has, and whether it runs the other way.
function sides({ permRAS, hdr }) {
  return permRAS.map((axis) => ({ from: Math.abs(axis) - 1, side: hdr.dims[Math.abs(axis)], flipped: axis < 0 }));
}

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

if (!customElements.get("ss-volume")) customElements.define("ss-volume", Volumes);
