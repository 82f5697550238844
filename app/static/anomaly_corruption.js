// <ss-corruption>: the corruptions that the network learns to undo, one at a time on a phantom slice, every part of them
// switchable. Each change of a control asks /api/corruption once.
import { Part, api, element, errorBox } from "/static/theme/common.js";
import { LABORATORY_STYLE } from "./anomaly_style.js";

const SEQUENCES = [["flair", "FLAIR"], ["t1", "T1"], ["t2", "T2"]];
const SHAPES = [["box", "Turned box"], ["ball", "Ball"], ["library", "Outline of a lesion from the library"], ["blob", "Blob of 2 to 6 pixels (ours)"]];
const PARTS = [["texture", "Texture of another slice"], ["bias", "Intensity of some grey levels"], ["blur", "Soft edge"]];

class Corruption extends Part {
  constructor() {
    super();
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, LABORATORY_STYLE];
  }

  connectedCallback() {
    if (this.seen) return;
    this.show(element("p", { class: "hint" }, "The preview opens when it comes into view."));
    this.seen = new IntersectionObserver((entries) => {
      if (!entries.at(-1).isIntersecting) return;
      this.seen.disconnect();
      this.build();
      this.ask();
    });
    this.seen.observe(this);
  }

  disconnectedCallback() { this.seen?.disconnect(); }

  build() {
    const ask = () => this.ask();
    const tick = ([name, title]) => element("label", { class: "tick" },
      element("input", { type: "checkbox", checked: true, name, onchange: ask }), title);
    this.sequence = element("select", { "aria-label": "Sequence", onchange: ask },
      ...SEQUENCES.map(([value, title]) => element("option", { value }, title)));
    this.slice = element("input", { type: "range", min: 0, max: 5, step: 1, value: 3, "aria-label": "Slice", oninput: ask });
    this.shapes = element("fieldset", {}, element("legend", {}, "Shape, one of"), ...SHAPES.map(tick));
    this.parts = element("fieldset", {}, element("legend", {}, "What it does"), ...PARTS.map(tick));
    this.strongest = element("input", { type: "range", min: 0.05, max: 1, step: 0.05, value: 1, "aria-label": "Greatest strength", oninput: ask });
    this.strength = element("output", {}, "1.00");
    this.seed = element("input", { type: "number", min: 0, step: 1, value: 0, "aria-label": "Seed", onchange: ask });
    this.problem = element("div", {});
    this.pictures = element("div", { class: "pictures" });
    this.facts = element("div", { role: "status", "aria-live": "polite" },
      element("p", { class: "hint" }, "The phantom is drawn once, which takes some seconds."));
    this.show(element("div", { class: "lab" },
      element("div", { class: "controls" },
        element("label", {}, "Sequence", this.sequence), element("label", {}, "Slice of the phantom", this.slice),
        this.shapes, this.parts, element("label", {}, element("span", {}, "Greatest strength ", this.strength), this.strongest),
        element("div", { class: "buttons" }, element("label", {}, "Seed", this.seed),
          element("button", { type: "button", class: "button", onclick: () => { this.seed.value = this.number + 1; this.ask(); } },
            "Draw another"))),
      element("div", { class: "shown" }, this.problem, this.pictures, this.facts)));
  }

  get number() {
    return Math.max(0, Math.floor(Number(this.seed.value) || 0));
  }

  ticked(box) {
    return [...box.querySelectorAll("input:checked")].map((input) => input.name);
  }

  // One request at a time: while it runs the controls may move on, and only where they stand then is asked for next.
  async ask() {
    this.wanted = true;
    if (this.busy) return;
    this.busy = true;
    while (this.wanted) {
      this.wanted = false;
      this.strength.textContent = Number(this.strongest.value).toFixed(2);
      const parts = this.ticked(this.parts);
      const query = new URLSearchParams({
        sequence: this.sequence.value, position: this.slice.value, shapes: this.ticked(this.shapes).join(","),
        ...Object.fromEntries(PARTS.map(([name]) => [name, parts.includes(name)])),
        strongest: this.strongest.value, seed: this.number,
      });
      this.pictures.classList.add("working");
      try {
        this.draw(await api(`/api/corruption?${query}`));
        this.problem.replaceChildren();
      } catch (error) {
        this.problem.replaceChildren(errorBox(error));
      }
      this.pictures.classList.remove("working");
    }
    this.busy = false;
  }

  draw(data) {
    this.slice.max = data.positions - 1;
    this.pictures.replaceChildren(...data.pictures.map(({ name, title, png }) => element("figure", {},
      element("figcaption", {}, title), element("img", { src: png, alt: title, draggable: "false", "data-picture": name }))));
    const facts = [
      ["Shape", data.shape], ["Pixels", `${data.pixels}`], ["Texture", data.texture.toFixed(2)],
      ["Intensity", data.bias.toFixed(2)], ["Severity", data.severity.toFixed(3)],
      ["The network is told", `step ${data.step} of 0…99, which stands for ${data.told.toFixed(3)}`],
    ];
    this.facts.replaceChildren(
      element("dl", { class: "facts" }, ...facts.map(([name, value]) => element("div", {},
        element("dt", {}, name), element("dd", {}, value)))),
      element("p", { class: "hint" }, "Severity is the larger of what texture and intensity did, 0 to 1. A phantom, drawn by a program; the foreign texture comes from another slice of it."));
    this.dataset.severity = data.severity;
  }
}

if (!customElements.get("ss-corruption")) customElements.define("ss-corruption", Corruption);
