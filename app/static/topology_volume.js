// The result of a repaired volume: before | after in three planes and in 3D, every change coloured, listed, clickable.
// <ss-topology-volume job="JOB" keep="BOX"></ss-topology-volume> asks /api/topology/JOB for numbers and layers.
import { TopologyPage } from "./topology_page.js";
import "./volume.js";

class TopologyVolume extends TopologyPage {
  tools = "";
  stage = '<ss-volume class="tr-volume"></ss-volume>';
  words = {
    b0: ["pieces", "β₀ counts the separate pieces"],
    b1: ["loops", "β₁ counts closed loops, that is, tunnels through the structure"],
    b2: ["cavities", "β₂ counts cavities that are shut off inside the structure"],
  };

  bindStage() {
    this.find(".tr-stage").classList.add("tr-solid");
    this.volume = this.find("ss-volume");
  }

  forget() {}

  // The viewer fetches the layers itself.
  async fetchLayers() {
    return null;
  }

  async showLayers() {
    const { data } = this;
    this.volume.toggleAttribute("no-mm", data.spacing_mm === null);
    const overlays = () => [{ id: "kinds", url: data.layers.kinds, labels: this.colours(), opacity: this.opacity }];
    const pane = (side, title) => ({
      title: `${title} the repair`,
      html: `${title} · ${this.betti(data[side])}`,
      base: { id: "mask", url: data.layers[side], colormap: "ss-mask", min: 0, max: 1 },
      overlays: overlays(),
      slices: { count: data.shape,
        url: (axis, index, changes) => `${data.slices}&side=${side}&axis=${axis}&index=${index}&changes=${changes}` },
    });
    await this.volume.load([pane("before", "Before"), pane("after", "After")]);
    const first = this.visibleChanges()[0];
    if (first && this.shown !== this.job) this.goTo(first);
    this.shown = this.job;
  }

  colours() {
    return Object.fromEntries(this.data.kinds.filter((kind) => !this.hidden_kinds.has(kind.kind))
      .map((kind) => [kind.code, kind.colour]));
  }

  recolour() {
    this.volume.overlay("kinds", { labels: this.colours() });
  }

  draw() {
    this.volume.overlay("kinds", { opacity: this.opacity });
  }

  goTo(change) {
    this.volume.goTo(change.at);
  }

  sizeOf(change) {
    const voxels = `${change.voxels.toLocaleString("en")} ${change.voxels === 1 ? "voxel" : "voxels"}`;
    if (change.ml === null) return voxels;
    return `${voxels} · ${change.ml < 0.1 ? `${Number((change.ml * 1000).toPrecision(3))} µl` : `${change.ml} ml`}`;
  }
}

if (!customElements.get("ss-topology-volume")) customElements.define("ss-topology-volume", TopologyVolume);
