// The perturbation laboratory: <ss-perturbation own="ID ID" take="BOX"></ss-perturbation>. Controls and pictures lie in
// its shadow root; every move of a control asks /api/perturbation for one draw. OWN are masks that were dropped for
// training, BOX is filled with the settings as JSON when they are to be trained with.
import { api, errorBox, fill, Part, element } from "/static/theme/common.js";
import { basisPlot, spectrumPlot } from "./topology_lab_plots.js";
import { LAB_STYLE } from "./topology_lab_style.js";

const PAUSE_MS = 40; // a slider in motion asks at most this often

class Perturbation extends Part {
  static observedAttributes = ["own"];

  connectedCallback() {
    if (this.built) return;
    this.built = true;
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, LAB_STYLE];
    this.seed = 0;
    this.phantom = 3;
    this.values = {};
    this.show(element("p", { class: "hint" }, "The laboratory opens when it comes into view."));
    this.seen = new IntersectionObserver((entries) => {
      if (!entries.at(-1).isIntersecting) return;
      this.seen.disconnect();
      this.open();
    });
    this.seen.observe(this);
  }

  disconnectedCallback() {
    this.seen?.disconnect();
  }

  attributeChangedCallback() {
    if (!this.offer) return;
    this.fillMasks();
    this.ask();
  }

  async open() {
    try {
      this.offer = await api("/api/perturbation/choices");
    } catch (error) {
      this.show(errorBox(error));
      return;
    }
    this.recipe = this.offer.recipes[0].id;
    this.family = this.offer.family;
    for (const setting of this.offer.settings) this.values[setting.name] = structuredClone(setting.default);
    this.build();
    this.ask();
  }

  // ---- controls -----------------------------------------------------------------------------------------------

  build() {
    const option = ({ id, title }) => element("option", { value: id }, title);
    this.mask = element("select", { "aria-label": "Mask", onchange: () => this.ask() });
    this.fillMasks();
    const recipe = element("select", { onchange: (event) => { this.recipe = event.target.value; this.choose(); } },
      ...this.offer.recipes.map(option));
    const family = element("select", { onchange: (event) => { this.family = event.target.value; this.changed(); } },
      ...this.offer.families.map(option));
    family.value = this.family;
    this.meaning = element("p", { class: "hint" });
    this.sliders = element("div", { class: "sliders" });
    this.number = element("input", {
      type: "number", min: 0, step: 1, value: this.seed, class: "seed", "aria-label": "Seed",
      onchange: (event) => { this.seed = Math.max(0, Math.floor(Number(event.target.value) || 0)); this.ask(); },
    });
    const buttons = element("div", { class: "row buttons" },
      element("button", { type: "button", class: "button", onclick: () => this.next() }, "Draw another"),
      element("label", {}, "Seed ", this.number),
      element("button", { type: "button", class: "button", onclick: () => this.reset() }, "Defaults"));
    this.another = element("button", {
      type: "button", class: "button", onclick: () => { this.phantom += 1; this.ask(); },
    }, "Another phantom");
    const use = element("button", { type: "button", class: "button primary", onclick: () => this.use() },
      "Use these settings for training");
    this.pictures = element("div", { class: "pictures" });
    this.numbers = element("div", { class: "numbers", role: "status", "aria-live": "polite" });
    this.problem = element("div", {});
    this.plots = element("div", { class: "plots" });
    this.show(element("div", { class: "lab" },
      element("div", { class: "controls" },
        element("label", {}, "Mask", this.mask), this.another,
        element("label", {}, "Recipe", recipe), this.meaning,
        element("label", {}, "Family of functions", family),
        this.sliders, buttons, use),
      element("div", { class: "shown" }, this.problem, this.pictures, this.numbers, this.plots)));
    this.drawSliders();
    this.drawBasis();
  }

  fillMasks() {
    const own = (this.getAttribute("own") ?? "").split(" ").filter(Boolean);
    const before = this.mask.value;
    const entries = [
      ...own.map((id, index) => ({ id: `artifact:${id}`, title: `Your mask ${index + 1}` })), ...this.offer.masks];
    this.mask.replaceChildren(...entries.map(({ id, title }) => element("option", { value: id }, title)));
    const first = this.offer.masks.find(({ id }) => id === "phantom:membranes") ?? entries[0];
    this.mask.value = entries.some(({ id }) => id === before) ? before : first.id;
  }

  get settings() {
    return this.offer.settings.filter((setting) => setting.recipe === this.recipe);
  }

  drawSliders() {
    this.meaning.textContent = this.offer.recipes.find(({ id }) => id === this.recipe).meaning;
    this.sliders.replaceChildren(...this.settings.map((setting) => this.slider(setting)));
  }

  slider(setting) {
    const step = setting.whole ? 1 : (setting.high - setting.low) / 100;
    const shown = element("output", {});
    const text = () => {
      const values = [this.values[setting.name]].flat();
      shown.textContent = values.map((value) => (setting.whole ? value : Number(value).toFixed(2))).join(" to ");
    };
    const range = (index) => element("input", {
      type: "range", min: setting.low, max: setting.high, step,
      value: [this.values[setting.name]].flat()[index],
      "aria-label": setting.pair ? `${setting.title}, ${index ? "most" : "least"}` : setting.title,
      "data-setting": setting.name,
      oninput: (event) => {
        const value = Number(event.target.value);
        if (setting.pair) {
          const pair = [...this.values[setting.name]];
          pair[index] = value;
          // The end that was moved pushes the other along.
          if (pair[0] > pair[1]) pair[1 - index] = value;
          this.values[setting.name] = pair;
          ends.forEach((input, at) => { input.value = pair[at]; });
        } else this.values[setting.name] = value;
        text();
        this.changed();
      },
    });
    const ends = setting.pair ? [range(0), range(1)] : [range(0)];
    text();
    return element("div", { class: "slider", title: setting.meaning },
      element("span", {}, setting.title), shown, ...ends);
  }

  choose() {
    this.drawSliders();
    this.changed();
  }

  changed() {
    this.drawBasis();
    this.ask();
  }

  reset() {
    for (const setting of this.settings) this.values[setting.name] = structuredClone(setting.default);
    this.drawSliders();
    this.changed();
  }

  next() {
    this.seed += 1;
    this.number.value = this.seed;
    this.ask();
  }

  // What differs from the defaults: a training with the defaults then says so.
  get errors() {
    const found = {};
    if (this.family !== this.offer.family) found.family = this.family;
    for (const { name, default: usual } of this.settings) {
      if (JSON.stringify(this.values[name]) !== JSON.stringify(usual)) found[name] = this.values[name];
    }
    return found;
  }

  use() {
    fill(this.getAttribute("take"), JSON.stringify({ recipe: this.recipe, errors: this.errors, at: Date.now() }));
  }

  // ---- one draw -----------------------------------------------------------------------------------------------

  // One request at a time: while it runs the controls may move on, and only where they stand then is asked for next.
  async ask() {
    this.wanted = true;
    if (this.busy) return;
    this.busy = true;
    while (this.wanted) {
      this.wanted = false;
      const chosen = this.mask.value;
      const phantom = chosen.startsWith("phantom");
      this.another.hidden = !phantom;
      const query = new URLSearchParams({
        mask: phantom ? `${chosen}:${this.phantom}` : chosen,
        recipe: this.recipe, errors: JSON.stringify(this.errors), seed: this.seed,
      });
      try {
        this.draw(await api(`/api/perturbation?${query}`));
        this.problem.replaceChildren();
      } catch (error) {
        this.problem.replaceChildren(errorBox(error));
      }
      await new Promise((done) => { setTimeout(done, PAUSE_MS); });
    }
    this.busy = false;
  }

  draw(data) {
    if (!this.images) {
      this.images = data.pictures.map(({ name }) => element("img", { "data-picture": name, draggable: "false" }));
      this.captions = data.pictures.map(() => element("figcaption", {}));
      this.scale = element("div", { class: "scale" });
      this.pictures.replaceChildren(...this.images.map((image, index) => element("figure", {},
        this.captions[index], image, data.pictures[index].name === "field" ? this.scale : null)));
    }
    data.pictures.forEach(({ title, png }, index) => {
      this.images[index].src = png;
      this.images[index].alt = title;
      this.captions[index].textContent = title;
    });
    const bar = element("span", { class: "bar" });
    bar.style.background = `linear-gradient(90deg, ${data.scale.stops.join(", ")})`;
    this.scale.replaceChildren(element("span", {}, data.scale.low), bar, element("span", {}, data.scale.high));
    const percent = (share) => `${(100 * share).toFixed(1)} %`;
    const names = ["β₀", "β₁", "β₂"];
    const betti = (values) => values.map((value, at) => `${names[at]} ${value}`).join(", ");
    const within = data.window === null ? "" : `, ${percent(data.window)} in the window of the field`;
    const facts = [
      ["Deleted", `${percent(data.deleted)} of the foreground${within}`], ["Added", `${percent(data.added)} of the background`],
      ["Clean", betti(data.before)], ["Damaged", betti(data.after)],
      ["Betti matching error", data.matching], ["Map", data.soft ? "probabilities" : "binary"],
    ];
    this.numbers.dataset.seconds = data.seconds;
    this.numbers.replaceChildren(
      element("dl", {}, ...facts.map(([name, value]) => element("div", {},
        element("dt", {}, name), element("dd", {}, `${value}`)))),
      element("ul", { class: "legend", "aria-label": "Errors by kind" }, ...data.errors.map((error) => {
        const swatch = element("span", { class: "swatch" });
        swatch.style.background = error.colour;
        return element("li", { title: error.meaning, "data-kind": error.kind, class: error.count ? "" : "none" },
          swatch, `${error.title} ${error.count}`);
      })),
      element("p", { class: "hint" },
        `${data.title}, ${data.shape.join(" × ")}; ${data.connectivity}; seed ${data.seed}.`));
    this.dispatchEvent(new CustomEvent("drawn", { detail: data }));
  }

  async drawBasis() {
    const order = Math.max(...[this.values[this.recipe === "polynomial" ? "order" : "orders"]].flat());
    const asked = `${this.family} ${order}`;
    if (asked === this.basisOf) return;
    this.basisOf = asked;
    try {
      const data = await api(`/api/perturbation/basis?${new URLSearchParams({ family: this.family, order })}`);
      if (asked === this.basisOf) this.plots.replaceChildren(basisPlot(data), spectrumPlot(data));
    } catch (error) {
      this.plots.replaceChildren(errorBox(error));
    }
  }
}

if (!customElements.get("ss-perturbation")) customElements.define("ss-perturbation", Perturbation);
