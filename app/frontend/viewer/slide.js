// The slide viewer: OpenSeadragon on our tile route, and around it what a pathologist expects of a microscope.
import { grouped, lengthText, magnificationText, positionText, scaleBar } from "./units.js";
import { readPlace, writePlace, zoomOf } from "./place.js";

const MAGNIFICATIONS = [5, 10, 20, 40];
const OVERVIEW = [200, 170]; // screen pixels, at most
const SCALE_BAR = 150; // screen pixels, at most
const MOST_ENLARGED = 4; // screen pixels per slide pixel
const KEYS = [
  ["Arrows", "Move the slide"], ["+", "Zoom in"], ["-", "Zoom out"], ["0", "Whole slide"],
  ["r", "Rotate by 90°"], ["n", "Overview on or off"], ["i", "Properties"],
  ["s", "Save the view as PNG"], ["l", "Copy a link to this view"], ["f", "Full screen"], ["?", "This list"],
];

const part = (id) => document.getElementById(id);
const id = decodeURIComponent(location.pathname.split("/").pop());
const base = `/api/slides/${encodeURIComponent(id)}`;
let slide = null;
let viewer = null;

followTheme();
start();

async function start() {
  let answer = null;
  try {
    answer = await fetch(`${base}/info`);
    slide = await answer.json();
  } catch {
    return say("SynthScope does not answer. Is it still running on this machine?");
  }
  if (!answer.ok) return say(sentence(slide));
  document.title = `${slide.title} – SynthScope`;
  part("notice").textContent = [slide.notice, slide.synthetic_notice].filter(Boolean).join(" ");
  part("unscaled").hidden = Boolean(slide.mpp);
  fillMagnifications();
  fillPanel();
  fillHelp();
  open();
  return undefined;
}

function open() {
  const shrink = Math.max(slide.width / OVERVIEW[0], slide.height / OVERVIEW[1]);
  const overview = [slide.width, slide.height].map((side) => Math.max(24, Math.round(side / shrink)));
  viewer = new OpenSeadragon.Viewer({
    element: part("stage"),
    drawer: "canvas",
    prefixUrl: "/static/vendor/openseadragon/",
    tileSources: {
      width: slide.width,
      height: slide.height,
      tileSize: slide.tile_size,
      tileOverlap: slide.overlap,
      minLevel: Math.min(8, slide.deep_zoom_levels - 1),
      maxLevel: slide.deep_zoom_levels - 1,
      getTileUrl: (level, x, y) => `${base}/tiles/${level}/${x}_${y}.jpg`,
    },
    showNavigationControl: false,
    showNavigator: true,
    navigatorPosition: "TOP_RIGHT",
    navigatorWidth: `${overview[0]}px`,
    navigatorHeight: `${overview[1]}px`,
    navigatorOpacity: 1,
    navigatorBackground: "#fff",
    maxZoomPixelRatio: MOST_ENLARGED,
    minZoomImageRatio: 0.8,
    visibilityRatio: 0.4,
    zoomPerScroll: 1.3,
    animationTime: 0.5,
    blendTime: 0.1,
    maxImageCacheCount: 600,
    imageLoaderLimit: 6,
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true, flickEnabled: true },
    gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
  });
  viewer.addHandler("open", () => {
    look(readPlace(location.hash), true);
    viewer.addHandler("update-viewport", draw);
    viewer.addHandler("animation-finish", remember);
    viewer.addHandler("rotate", remember);
    draw();
    document.documentElement.dataset.ready = "true";
  });
  viewer.addHandler("tile-load-failed", failed);
  viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; });
  viewer.innerTracker.keyHandler = null;
  new OpenSeadragon.MouseTracker({ element: part("stage"), moveHandler: point, leaveHandler: () => point(null) });
  watchLoading();
}

// Screen pixels per slide pixel.
function imageZoom(current = true) {
  return viewer.viewport.viewportToImageZoom(viewer.viewport.getZoom(current));
}

function zoomTo(zoom, immediately = false) {
  const most = Math.max(MOST_ENLARGED, zoom);
  viewer.viewport.maxZoomPixelRatio = most;
  viewer.viewport.zoomTo(viewer.viewport.imageToViewportZoom(zoom), null, immediately);
}

function look(place, immediately = false) {
  const zoom = place ? zoomOf(place, slide.magnification) : NaN;
  if (!(zoom > 0)) return;
  const x = Math.min(Math.max(place.x, 0), slide.width);
  const y = Math.min(Math.max(place.y, 0), slide.height);
  viewer.viewport.setRotation(place.rotate, true);
  viewer.viewport.panTo(viewer.viewport.imageToViewportCoordinates(x, y), immediately);
  zoomTo(Math.min(zoom, 64), immediately);
}

function place() {
  const centre = viewer.viewport.viewportToImageCoordinates(viewer.viewport.getCenter(false));
  return { x: centre.x, y: centre.y, imageZoom: imageZoom(false), rotate: viewer.viewport.getRotation() % 360 };
}

// The address names the view, here and in the page around, so that a link or a reload comes back to it.
function remember() {
  const hash = writePlace(place(), slide.magnification);
  if (hash === location.hash) return;
  history.replaceState(null, "", hash);
  if (parent !== window) parent.postMessage({ type: "synthscope:view", slide: id, hash }, location.origin);
}

addEventListener("hashchange", () => viewer && look(readPlace(location.hash)));
addEventListener("message", (event) => {
  if (event.origin !== location.origin || event.source !== parent || event.data?.type !== "synthscope:look") return;
  if (viewer && typeof event.data.hash === "string") look(readPlace(event.data.hash));
});

function draw() {
  const zoom = imageZoom();
  const readout = slide.magnification ? magnificationText(zoom * slide.magnification) : `${(zoom * 100).toPrecision(3)} %`;
  part("magnification").textContent = readout;
  for (const button of part("magnifications").children) {
    const wanted = Number(button.dataset.zoom);
    button.setAttribute("aria-pressed", String(Math.abs(zoom / wanted - 1) < 0.01));
  }
  part("scale").hidden = !slide.mpp;
  if (!slide.mpp) return;
  const bar = scaleBar(slide.mpp[viewer.viewport.getRotation() % 180 ? 1 : 0] / zoom, SCALE_BAR);
  part("scale-text").textContent = lengthText(bar.micrometres);
  part("scale-line").style.width = `${bar.pixels}px`;
}

function point(event) {
  const output = part("pointer");
  const at = event && viewer.viewport.viewerElementToImageCoordinates(event.position);
  if (!at || at.x < 0 || at.y < 0 || at.x >= slide.width || at.y >= slide.height) {
    output.textContent = "";
    return;
  }
  const pixels = `x ${grouped(Math.floor(at.x))}   y ${grouped(Math.floor(at.y))} px`;
  const lengths = slide.mpp && `${positionText(at.x * slide.mpp[0])}   ${positionText(at.y * slide.mpp[1])}`;
  output.textContent = lengths ? `${pixels}\n${lengths}` : pixels;
}

function fillMagnifications() {
  const box = part("magnifications");
  const native = slide.magnification;
  const steps = native
    ? MAGNIFICATIONS.map((value) => [`×${value}`, value / native, value > native * 1.05])
    : [["1 : 1", 1, false]];
  for (const [label, zoom, beyond] of steps) {
    const button = made("button", label);
    button.type = "button";
    button.dataset.zoom = zoom;
    button.title = beyond ? `${label}: enlarged, scanned at ${magnificationText(native)}` : label;
    button.toggleAttribute("data-beyond", beyond);
    button.addEventListener("click", () => zoomTo(zoom));
    box.append(button);
  }
}

function fillPanel() {
  const facts = [
    ["Size", `${grouped(slide.width)} × ${grouped(slide.height)} px`],
    ["Area", slide.mpp
      ? `${lengthText(slide.width * slide.mpp[0])} × ${lengthText(slide.height * slide.mpp[1])}` : "not known"],
    ["Pixel", slide.mpp ? `${slide.mpp.map((value) => Number(value.toPrecision(4))).join(" × ")} µm/px` : "not in the file"],
    ["Objective", slide.objective_power ? magnificationText(slide.objective_power)
      : slide.magnification ? `${magnificationText(slide.magnification)}, from µm/px` : "not in the file"],
    ["Levels", slide.levels.map(([width, height]) => `${grouped(width)} × ${grouped(height)}`).join(", ")],
    ["Format", `${slide.vendor}, read by ${slide.reader}`],
  ];
  const panel = part("panel");
  panel.append(made("h2", slide.title), list(facts));
  for (const note of slide.notes) panel.append(made("p", note));
  panel.append(made("h3", "Properties of the file"), list(Object.entries(slide.properties)));
  panel.append(made("p", "Label and macro images, names, dates and numbers that could identify someone are left out."));
}

function fillHelp() {
  const step = slide.magnification ? ["1 … 4", "×5, ×10, ×20, ×40"] : ["1", "One slide pixel per screen pixel"];
  for (const [keys, meaning] of [...KEYS.slice(0, 4), step, ...KEYS.slice(4)]) {
    const term = document.createElement("dt");
    term.append(made("kbd", keys));
    part("keys").append(term, made("dd", meaning));
  }
}

const actions = {
  in: () => viewer.viewport.zoomBy(1.5),
  out: () => viewer.viewport.zoomBy(1 / 1.5),
  fit: () => viewer.viewport.goHome(),
  rotate: () => viewer.viewport.setRotation((viewer.viewport.getRotation() + 90) % 360),
  navigator: (button) => {
    const shown = toggled(button);
    viewer.navigator.element.style.visibility = shown ? "" : "hidden";
  },
  properties: (button) => { part("panel").hidden = !toggled(button); },
  save,
  link: async () => {
    const target = parent !== window ? parent.location.href : location.href;
    try {
      await navigator.clipboard.writeText(target);
      say("The link to this view is copied.", true);
    } catch {
      say("The browser does not allow copying here: copy the address instead.");
    }
  },
  screen: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen()),
  help: () => (part("help").open ? part("help").close() : part("help").showModal()),
};

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-do]");
  if (button && (viewer || button.dataset.do === "help")) actions[button.dataset.do](button);
});

const pressed = {
  "+": "in", "=": "in", "-": "out", _: "out", 0: "fit", r: "rotate", n: "navigator", i: "properties", s: "save", l: "link",
  f: "screen", "?": "help",
};
const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || (part("help").open && event.key !== "?")) return;
  if (!viewer && event.key !== "?") return;
  if (moves[event.key]) {
    const [x, y] = moves[event.key];
    const size = viewer.viewport.getContainerSize();
    viewer.viewport.panBy(viewer.viewport.deltaPointsFromPixels(new OpenSeadragon.Point((x * size.x) / 6, (y * size.y) / 6)));
  } else if (/^[1-4]$/.test(event.key)) {
    part("magnifications").children[Number(event.key) - 1]?.click();
  } else if (pressed[event.key]) {
    const name = pressed[event.key];
    actions[name](document.querySelector(`[data-do="${name}"]`));
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}, true);

async function save() {
  const view = viewer.viewport.viewportToImageRectangle(viewer.viewport.getBounds(false)).getBoundingBox();
  const query = new URLSearchParams({
    x: Math.floor(view.x),
    y: Math.floor(view.y),
    width: Math.ceil(view.width),
    height: Math.ceil(view.height),
    rotate: viewer.viewport.getRotation() % 360,
    longest: Math.min(Math.round(Math.max(part("stage").clientWidth, part("stage").clientHeight) * devicePixelRatio), slide.max_view_side),
  });
  say("The view is being saved …", true);
  const answer = await fetch(`${base}/region.png?${query}`).catch(() => null);
  if (!answer?.ok) return say(answer ? sentence(await answer.json().catch(() => null)) : "SynthScope does not answer.");
  const link = made("a", "");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "synthscope-view.png";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return say("The view is saved as PNG, with its provenance inside.", true);
}

let failures = 0;
async function failed(event) {
  failures += 1;
  if (failures > 1) return;
  const answer = await fetch(event.tile.getUrl(), { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) say(answer ? sentence(await answer.json().catch(() => null)) : "SynthScope does not answer.");
}

function watchLoading() {
  const item = viewer.world.getItemAt(0);
  const show = (loaded) => { part("busy").textContent = loaded ? "" : "Loading …"; };
  if (item) item.addHandler("fully-loaded-change", (event) => show(event.fullyLoaded));
  else viewer.world.addHandler("add-item", ({ item: added }) => {
    added.addHandler("fully-loaded-change", (event) => show(event.fullyLoaded));
  });
}

function toggled(button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  return on;
}

let fading = 0;
function say(text, good = false) {
  const box = part("message");
  box.textContent = text;
  box.classList.toggle("good", good);
  box.hidden = false;
  clearTimeout(fading);
  if (good) fading = setTimeout(() => { box.hidden = true; }, 3000);
}

function sentence(body) {
  const error = body?.error;
  return error ? [error.what, error.why, error.what_to_do].filter(Boolean).join(" ") : "SynthScope could not answer.";
}

function made(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

function list(entries) {
  const box = document.createElement("dl");
  for (const [name, value] of entries) box.append(made("dt", name), made("dd", value));
  return box;
}

// Light or dark as the workbench around it: the choice kept there, else what the system prefers.
function followTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    let stored = null;
    try { stored = localStorage.getItem("synthscope-theme"); } catch { /* storage may be switched off */ }
    document.documentElement.dataset.theme = stored || (system.matches ? "dark" : "light");
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
}
