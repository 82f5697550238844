// <ss-clip>: stored clips side by side in lockstep, with labels over them and ED and ES marked on the scrub bar.
//
//   panes = [{ title, clip: ARTIFACT, badge, labels: [{ code, title, colour: "#rrggbb" }, …] }, …]   as JSON, or load(panes)
//
// The longest clip gives the frames to step through; the others show what belongs to the same moment. Fires "ss-frame"
// with { frame, time, frames } (time in seconds) whenever another frame comes into view; goTo(frame) shows one.
import { Part, element, errorBox } from "/static/theme/common.js";
import { clipOf, drawGrey, drawLabels, packed } from "./clip_data.js";
import { STYLE } from "./clip_style.js";

const SPEEDS = [0.1, 0.25, 0.5, 1, 1.5, 2];
const OPACITY = 0.4;
// Shapes on a grid of 16: fonts lack these signs on many machines.
const ICONS = {
  play: "M4 2.5v11l9-5.5z", pause: "M4 2.5h3v11H4zM9 2.5h3v11H9z", back: "M3 2.5h2v11H3zM13 2.5v11l-7-5.5z",
  on: "M11 2.5h2v11h-2zM3 2.5v11l7-5.5z", again: "M8 2.6a5.4 5.4 0 1 0 5.2 6.9l-1.7-.5A3.6 3.6 0 1 1 8 4.4v2.2l4-3.1L8 .4z",
};
const alive = new Set();

function icon(name) {
  return `<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path d="${ICONS[name]}" fill="currentColor"/></svg>`;
}

class Clips extends Part {
  static observedAttributes = ["panes"];

  constructor() {
    super();
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, STYLE];
    this.shadowRoot.addEventListener("keydown", (event) => this.key(event));
    this.speed = 1;
    this.loop = true;
    this.labelled = true;
    this.opacity = OPACITY;
    this.panes = [];
  }

  connectedCallback() {
    alive.add(this);
    if (this.hasAttribute("panes")) this.load(JSON.parse(this.getAttribute("panes")));
  }

  disconnectedCallback() {
    alive.delete(this);
    this.pause();
  }

  attributeChangedCallback(name, before, now) {
    if (this.isConnected && now && now !== before) this.load(JSON.parse(now));
  }

  // Shows other clips; whether they play, and where, stays when there were clips before.
  async load(given) {
    const turn = this.turn = (this.turn ?? 0) + 1;
    const loaded = await Promise.allSettled(given.map((pane) => clipOf(pane.clip)));
    if (turn !== this.turn || !this.isConnected) return;
    const again = this.panes.some((pane) => pane.clip);
    const playing = again ? Boolean(this.timer) : !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.pause();
    this.panes = given.map((pane, index) => ({ ...pane, clip: loaded[index].value, error: loaded[index].reason, id: pane.clip }));
    const clips = this.panes.map((pane) => pane.clip).filter(Boolean);
    this.base = clips.reduce((best, clip) => (!best || clip.frames > best.frames ? clip : best), null);
    this.build();
    if (!this.base) return;
    this.draw(Math.min(again ? this.frame : 0, this.base.frames - 1), true);
    if (playing && this.base.frames > 1) this.play();
    this.dataset.ready = String(turn);
    this.dispatchEvent(new CustomEvent("ss-ready", { bubbles: true, composed: true }));
  }

  get frames() { return this.base?.frames ?? 0; }

  // ---- what there is ------------------------------------------------------------------------------------------

  build() {
    const several = this.panes.length > 1;
    const figures = this.panes.map((pane) => this.figure(pane, several));
    if (!this.base) {
      this.show(...figures);
      return;
    }
    const button = (name, title, act) => {
      const made = element("button", { type: "button", title, "aria-label": title, onclick: act });
      made.innerHTML = icon(name);
      return made;
    };
    this.playing = button("play", "Play or pause (Space)", () => this.toggle());
    this.again = button("again", "Play again and again (L)", () => this.setLoop(!this.loop));
    this.pace = element("select", { "aria-label": "Speed", title: "Speed ([ and ])", onchange: (event) => this.setSpeed(Number(event.target.value)) },
      ...SPEEDS.map((speed) => element("option", { value: speed, selected: speed === this.speed }, `${speed}×`)));
    this.place = element("output", { class: "cv-place", "aria-live": "off" });
    this.scrub = element("input", {
      type: "range", min: 0, max: this.frames - 1, step: 1, "aria-label": "Frame",
      oninput: (event) => { this.pause(); this.goTo(Number(event.target.value)); },
    });
    const styles = this.styles();
    this.show(element("div", { class: "cv-panes" }, ...figures),
      element("div", { class: "cv-scrub" }, element("div", { class: "cv-marks" }, ...this.marks()), this.scrub),
      element("div", { class: "cv-bar" },
        element("div", { class: "cv-buttons" }, button("back", "One frame back (Left)", () => this.step(-1)), this.playing,
          button("on", "One frame on (Right)", () => this.step(1)), this.again),
        this.pace, styles.length ? this.overlayTools() : null, this.place),
      styles.length ? element("div", { class: "cv-legend" }, ...styles.map(({ title, colour }) => element("span", {},
        element("i", { style: `background:${colour}` }), title))) : null);
    this.setLoop(this.loop);
    this.setLabels(this.labelled, this.opacity);
  }

  figure(pane, several) {
    const caption = pane.title || pane.badge ? element("figcaption", {}, pane.title || "",
      pane.badge ? element("span", { class: "badge" }, pane.badge) : null) : null;
    if (pane.error) return element("figure", {}, caption, errorBox(pane.error));
    const { width, height, frames, fps } = pane.clip;
    pane.canvas = element("canvas", { width, height });
    pane.cover = pane.clip.codes && pane.labels?.length ? element("canvas", { width, height, class: "cv-labels" }) : null;
    pane.colours = Object.fromEntries((pane.labels ?? []).map(({ code, colour }) => [code, packed(colour)]));
    const words = `${pane.title || "Clip"}: ${frames} frames at ${Number(fps.toFixed(2))} frames a second`;
    return element("figure", {}, caption, element("div", {
      class: "cv-stage", tabindex: several && pane !== this.panes[0] ? "-1" : "0", role: "img", "aria-label": words,
      onclick: () => this.toggle(),
    }, pane.canvas, pane.cover));
  }

  styles() {
    const seen = new Map();
    for (const pane of this.panes) if (pane.cover) for (const style of pane.labels) seen.set(style.code, style);
    return [...seen.values()];
  }

  marks() {
    const at = (frame) => `left:${this.frames > 1 ? (100 * frame) / (this.frames - 1) : 0}%`;
    const mark = (frame, short, long, kind) => element("button", {
      type: "button", class: kind, style: at(frame), title: `${long}, frame ${frame + 1}`, tabindex: "-1",
      "aria-label": `${long}, frame ${frame + 1}`, onclick: () => { this.pause(); this.goTo(frame); },
    }, short);
    return [...this.base.end_diastole.map((frame) => mark(frame, "ED", "End-diastole", "cv-ed")),
      ...this.base.end_systole.map((frame) => mark(frame, "ES", "End-systole", "cv-es"))];
  }

  overlayTools() {
    this.cover = element("button", { type: "button", title: "Labels on or off (O)", onclick: () => this.setLabels(!this.labelled) }, "Labels");
    this.slider = element("input", {
      type: "range", min: 0, max: 1, step: 0.05, value: this.opacity, "aria-label": "Opacity of the labels",
      oninput: (event) => this.setLabels(true, Number(event.target.value)),
    });
    return element("label", {}, this.cover, this.slider);
  }

  // ---- playing ------------------------------------------------------------------------------------------------

  toggle() {
    if (this.timer) this.pause();
    else this.play();
  }

  play() {
    if (this.timer || !this.base) return;
    if (!this.loop && this.frame >= this.frames - 1) this.goTo(0);
    this.exact = this.frame;
    let last = null;
    const tick = (now) => {
      this.timer = requestAnimationFrame(tick);
      // A page that was away for a while goes on where it was.
      if (last !== null) this.exact += (Math.min(now - last, 250) / 1000) * this.base.fps * this.speed;
      last = now;
      if (this.exact >= this.frames) {
        if (!this.loop) {
          this.pause();
          this.goTo(this.frames - 1);
          return;
        }
        this.exact %= this.frames;
      }
      this.draw(Math.floor(this.exact));
    };
    this.timer = requestAnimationFrame(tick);
    this.tell();
  }

  pause() {
    cancelAnimationFrame(this.timer);
    this.timer = 0;
    this.tell();
  }

  tell() {
    if (!this.playing) return;
    this.playing.innerHTML = icon(this.timer ? "pause" : "play");
    this.dataset.playing = String(Boolean(this.timer));
  }

  step(by) {
    this.pause();
    const frames = this.frames;
    this.goTo(this.loop ? (((this.frame + by) % frames) + frames) % frames : this.frame + by);
  }

  // The next marked frame of a kind after the one in view, the first one again after the last.
  next(marked) {
    if (!marked?.length) return;
    this.pause();
    this.goTo(marked.find((frame) => frame > this.frame) ?? marked[0]);
  }

  goTo(frame) {
    if (!this.base) return;
    const to = Math.min(Math.max(Math.round(frame), 0), this.frames - 1);
    this.exact = to;
    this.draw(to);
  }

  draw(frame, always = false) {
    if (frame === this.frame && !always) return;
    this.frame = frame;
    for (const { clip, canvas, cover, colours } of this.panes) {
      if (!clip) continue;
      const own = clip === this.base ? frame : Math.min(clip.frames - 1, Math.floor((frame * clip.fps) / this.base.fps + 1e-6));
      drawGrey(canvas, clip, own);
      if (cover && this.labelled) drawLabels(cover, clip, own, colours);
    }
    const time = frame / this.base.fps;
    this.scrub.value = frame;
    this.dataset.frame = frame;
    this.place.textContent = `frame ${frame + 1} of ${this.frames} · ${time.toFixed(2)} s`;
    this.dispatchEvent(new CustomEvent("ss-frame", { detail: { frame, time, frames: this.frames }, bubbles: true, composed: true }));
  }

  // ---- settings -----------------------------------------------------------------------------------------------

  setLoop(on) {
    this.loop = on;
    this.again.setAttribute("aria-pressed", String(on));
  }

  setSpeed(speed) {
    this.speed = speed;
    this.pace.value = String(speed);
  }

  setLabels(on, opacity = this.opacity) {
    this.labelled = on;
    this.opacity = opacity;
    this.dataset.labels = String(on);
    this.cover?.setAttribute("aria-pressed", String(on));
    for (const { cover } of this.panes) {
      if (!cover) continue;
      cover.hidden = !on;
      cover.style.opacity = opacity;
    }
    if (on && this.frame !== undefined) this.draw(this.frame, true);
  }

  key(event) {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !this.base) return;
    const target = event.composedPath()[0];
    const moves = target.matches?.("input, select"); // these have a use of their own for some keys
    if (target.matches?.("button") && [" ", "Enter"].includes(event.key)) return;
    const many = event.shiftKey ? 10 : 1;
    const acts = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.step(-many),
      ArrowRight: () => this.step(many),
      Home: () => { this.pause(); this.goTo(0); },
      End: () => { this.pause(); this.goTo(this.frames - 1); },
      d: () => this.next(this.base.end_diastole),
      s: () => this.next(this.base.end_systole),
      o: () => this.setLabels(!this.labelled),
      l: () => this.setLoop(!this.loop),
      "[": () => this.faster(-1),
      "]": () => this.faster(1),
    };
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (!acts[name] || (moves && name.length > 1)) return;
    acts[name]();
    event.preventDefault();
  }

  faster(by) {
    const at = SPEEDS.indexOf(this.speed) + by;
    if (SPEEDS[at]) this.setSpeed(SPEEDS[at]);
  }
}

// Keys work without a click when nothing that takes keys itself has the focus: they go to the player that is in view.
document.addEventListener("keydown", (event) => {
  const target = event.composedPath()[0];
  const pressed = target.matches?.("button, a, summary, [role=tab]");
  if (document.querySelector("dialog[open]") || (target !== document.body && !pressed)) return;
  if (pressed && (event.key === " " || target.getAttribute("role") === "tab")) return;
  const inView = [...alive].filter((player) => {
    const box = player.getBoundingClientRect();
    return box.height > 0 && box.top < innerHeight && box.bottom > 0;
  });
  if (!inView.some((player) => event.composedPath().includes(player))) inView[0]?.key(event);
});

if (!customElements.get("ss-clip")) customElements.define("ss-clip", Clips);
