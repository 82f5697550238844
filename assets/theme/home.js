// What Home tells about this installation while it runs: <ss-status>, <ss-installed>, <ss-jobs>.
import { Part, api, element, errorBox, sizeText, timeText } from "./common.js";

const MIB = 1024 * 1024;

function card(title, ...children) {
  return element("section", { class: "card" }, element("h2", {}, title), ...children);
}

function facts(rows) {
  const list = element("dl", {});
  for (const [name, value] of rows) list.append(element("dt", {}, name), element("dd", {}, value));
  return list;
}

function table(heads, rows, empty) {
  if (!rows.length) return element("p", { class: "hint" }, empty);
  return element("div", { class: "table" }, element("table", {},
    element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell)))))));
}

// Draws when it comes into view, then again every `seconds` for as long as it can be seen.
class Live extends Part {
  connectedCallback() {
    this.refresh();
    this.seen = new IntersectionObserver((entries) => { if (this.last && entries.at(-1).isIntersecting) this.refresh(); });
    this.seen.observe(this);
    const again = () => { if (!document.hidden && this.checkVisibility()) this.refresh(); };
    if (this.seconds) this.timer = setInterval(again, this.seconds * 1000);
  }

  disconnectedCallback() {
    this.seen.disconnect();
    clearInterval(this.timer);
  }

  async refresh() {
    try {
      const data = await api(this.path);
      const text = JSON.stringify(data);
      if (text !== this.last) this.show(this.draw(data));
      this.last = text;
    } catch (error) {
      this.last = "";
      this.show(card(this.title, errorBox(error)));
    }
  }
}

class Status extends Live {
  path = "/api/status";
  title = "This machine";
  seconds = 5;

  draw(data) {
    const { device } = data;
    const chosen = device.chosen || "chosen when the first model is loaded";
    return card(this.title, facts([
      ["Models run on", device.setting === "auto" ? `${chosen} (setting: auto)` : chosen],
      ["Processor", `${device.cores} ${device.cores === 1 ? "core" : "cores"}, ${device.machine}`],
      ["Memory in use", `${sizeText(data.memory_mib * MIB)}, ${device.torch_loaded ? "with" : "without"} PyTorch loaded`],
      ["Jobs running or waiting", `${data.jobs_active}`],
      ["Version", `${data.code_version}, Python ${device.python}`],
    ]), element("h3", {}, "Loaded networks"), table(
      ["Network", "Device", "Size"],
      data.weights.map((item) => [item.title || item.name, item.device, sizeText(item.mib * MIB)]),
      `None. They are loaded on first use, up to ${sizeText(data.weights_budget_mib * MIB)} a device.`));
  }
}

class Installed extends Live {
  path = "/api/installed";
  title = "Installed";

  draw(data) {
    const packs = data.packs.map((pack) => [pack.name, pack.contents,
      pack.installed || element("code", {}, pack.how_to_get)]);
    const samples = data.samples.map((item) => [item.kind, `${item.real}`, `${item.phantom}`, `${item.absent}`]);
    return card(this.title,
      element("h3", {}, "Weights"),
      table(["Name", "Size", "Licence of the data", "From"], data.weights.map((item) => [
        element("span", { title: item.title }, item.name), sizeText(item.mib * MIB), item.licence || "not stated",
        item.shipped ? "SynthScope" : "your own"]), "None."),
      element("h3", {}, "Samples"),
      table(["Kind", "Real", "Phantom", "Not installed"], samples, "None."),
      element("h3", {}, "Sample packs"),
      table(["Package", "What is in it", "Version"], packs, "None."));
  }
}

class Jobs extends Live {
  path = "/api/jobs?limit=8";
  title = "Latest jobs";
  seconds = 5;

  draw(data) {
    const rows = data.jobs.map((job) => [
      element("a", { href: `/?tab=${encodeURIComponent(job.system)}&job=${encodeURIComponent(job.id)}` },
        `${job.system} · ${job.action}`),
      element("span", { class: "badge", "data-state": job.state }, job.state),
      new Date(job.created_at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }),
      job.elapsed_s === null ? "–" : timeText(job.elapsed_s)]);
    return card(this.title, table(["Job", "State", "Started", "Took"], rows,
      "None yet. Open a tab, choose a sample and start."));
  }
}

customElements.define("ss-status", Status);
customElements.define("ss-installed", Installed);
customElements.define("ss-jobs", Jobs);
