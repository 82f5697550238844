// <ss-upload-many label accept hint into>: drop zone for many files, a folder or a ZIP; each file an upload of its own.
// The box INTO gets [{id} | {what, why, what_to_do}, …] in the natural order of the names, which stay in this browser.
import { Part, element, errorBox, fill, problem, sizeText, unreachable } from "/static/theme/common.js";

const NAMES = "synthscope-names";
const KEPT_NAMES = 2000;
const LISTED = 1000;
const states = new Map(); // what arrived, by box: a tab that is left and entered again still shows it
const order = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

// The name of an upload in this browser tab, '' where it is not known: names never reach the server's store.
export function nameOf(id) {
  try { return JSON.parse(sessionStorage.getItem(NAMES) || "{}")[id] ?? ""; } catch { return ""; }
}

function keepNames(entries) {
  try {
    const kept = Object.entries(JSON.parse(sessionStorage.getItem(NAMES) || "{}"));
    for (const entry of entries) if (entry.id) kept.push([entry.id, entry.name]);
    sessionStorage.setItem(NAMES, JSON.stringify(Object.fromEntries(kept.slice(-KEPT_NAMES))));
  } catch { /* a browser without storage shows numbers only */ }
}

class UploadMany extends Part {
  connectedCallback() {
    this.into = this.getAttribute("into");
    if (!states.has(this.into)) states.set(this.into, { entries: [], sending: null, error: null });
    this.state = states.get(this.into);
    this.state.draw = () => this.draw();
    this.draw();
  }

  draw() {
    if (this.state.sending) this.drawSending();
    else if (this.state.entries.length) this.drawReady();
    else this.drawEmpty();
  }

  picker() {
    return element("input", {
      type: "file", hidden: true, multiple: true, accept: this.getAttribute("accept") || null, tabindex: "-1",
      "aria-hidden": "true",
      onchange: (event) => this.send([...event.target.files]),
    });
  }

  takesDrops(zone) {
    for (const name of ["dragenter", "dragover"]) {
      zone.addEventListener(name, (event) => { event.preventDefault(); zone.toggleAttribute("data-over", true); });
    }
    zone.addEventListener("dragleave", () => zone.toggleAttribute("data-over", false));
    zone.addEventListener("drop", async (event) => {
      event.preventDefault();
      zone.toggleAttribute("data-over", false);
      this.send(await dropped(event.dataTransfer));
    });
    return zone;
  }

  drawEmpty() {
    const input = this.picker();
    const hint = this.getAttribute("hint");
    const zone = this.takesDrops(element("button", { type: "button", class: "zone", onclick: () => input.click() },
      element("span", { class: "zone-title" }, this.getAttribute("label")),
      element("span", { class: "zone-text" }, "Drop files, a folder or a ZIP here, or press to choose"),
      hint ? element("small", {}, hint) : null));
    this.show(zone, input, this.state.error ? errorBox(this.state.error) : null);
  }

  drawSending() {
    const { done, total, size, stop } = this.state.sending;
    const bar = element("progress", { max: total, value: done, "aria-label": "Uploaded files" });
    this.show(element("div", { class: "panel" },
      element("div", { class: "row" },
        element("span", { class: "text", role: "status" }, `Uploading file ${done + 1} of ${total}, ${sizeText(size)}: `
          + "opening it and removing what identifies the patient"),
        element("button", { type: "button", class: "button", onclick: stop }, "Cancel")),
      bar));
  }

  drawReady() {
    const { entries } = this.state;
    const refused = entries.filter((entry) => !entry.id);
    const good = entries.length - refused.length;
    const rows = entries.slice(0, LISTED).map((entry) => element("li", entry.id ? {} : { class: "refused" },
      element("b", {}, entry.name), " ",
      entry.id ? entry.summary : [entry.what, entry.why].filter(Boolean).join(" ")));
    const input = this.picker();
    const list = element("details", refused.length ? { open: true } : {},
      element("summary", {}, "The files, in their order"), element("ol", { class: "notes" }, ...rows));
    const words = `${good} ${good === 1 ? "file is" : "files are"} ready`
      + (refused.length ? `, ${refused.length} refused` : "");
    this.show(this.takesDrops(element("div", { class: "panel", "data-state": "done" },
      element("div", { class: "row" },
        element("span", { class: "text", role: "status" }, element("strong", {}, this.getAttribute("label")), `: ${words}`),
        element("button", { type: "button", class: "button", onclick: () => input.click() }, "Add more"),
        element("button", { type: "button", class: "button", onclick: () => this.clear() }, "Choose others")),
      list, input)), this.state.error ? errorBox(this.state.error) : null);
  }

  async send(files) {
    if (!files.length || this.state.sending) return;
    const state = this.state;
    files.sort((a, b) => order.compare(a.path ?? a.name, b.path ?? b.name));
    const stopping = new AbortController();
    const fresh = [];
    state.error = null;
    for (const [index, file] of files.entries()) {
      state.sending = { done: index, total: files.length, size: file.size, stop: () => stopping.abort() };
      state.draw();
      try {
        fresh.push(...await sendOne(file, stopping.signal));
      } catch (error) {
        if (!stopping.signal.aborted) state.error = error;
        break;
      }
    }
    state.sending = null;
    if (!stopping.signal.aborted && !state.error) {
      state.entries = [...state.entries, ...fresh].sort((a, b) => order.compare(a.file, b.file));
      keepNames(fresh);
      this.hand();
    }
    state.draw();
    this.shadowRoot.querySelector("button")?.focus();
  }

  hand() {
    const told = this.state.entries.map(({ id, what, why, what_to_do }) => (id ? { id } : { what, why, what_to_do }));
    fill(this.into, told.length ? JSON.stringify(told) : "");
  }

  clear() {
    this.state.entries = [];
    this.state.error = null;
    this.hand();
    this.draw();
    this.shadowRoot.querySelector("button")?.focus();
  }
}

// What became of one file: several entries for a ZIP. Throws when nobody answers.
async function sendOne(file, signal) {
  let answer;
  try {
    answer = await fetch("/api/uploads/several", {
      method: "POST", body: file, signal,
      headers: { "X-File-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" },
    });
  } catch {
    throw unreachable();
  }
  let body = null;
  try { body = await answer.json(); } catch { /* told below */ }
  const path = file.path ?? file.name;
  if (!answer.ok) {
    const { what, why, what_to_do } = problem(answer.status, body);
    return [{ name: file.name, file: path, what, why, what_to_do }];
  }
  return body.files.map((entry) => ({
    name: entry.name || file.name,
    file: path,
    ...(entry.error ?? { id: entry.id, summary: `${entry.summary}, ${sizeText(entry.size)}` }),
  }));
}

// Files of a drop, those in folders too; hidden ones are left out.
async function dropped(transfer) {
  const roots = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!roots.some((entry) => entry.isDirectory)) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.name.startsWith(".")) return;
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      file.path = entry.fullPath;
      found.push(file);
      return;
    }
    const reader = entry.createReader();
    for (;;) { // a reader gives at most a hundred entries at a time
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      for (const inside of some) await walk(inside);
    }
  };
  for (const root of roots) await walk(root);
  return found;
}

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
  details summary { cursor: pointer; font-size: 13px; color: var(--body-text-color-subdued); }
  ol.notes { max-height: 190px; overflow-y: auto; margin-top: 6px; padding-left: 34px; }
  ol.notes b { font-weight: 600; color: var(--body-text-color); overflow-wrap: anywhere; }
  .refused, .refused b { color: var(--ss-bad-text); }
  .panel .row .button + .button { margin-left: 0; }
`);

class StyledUploadMany extends UploadMany {
  constructor() {
    super();
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, STYLE];
  }
}

if (!customElements.get("ss-upload-many")) customElements.define("ss-upload-many", StyledUploadMany);
