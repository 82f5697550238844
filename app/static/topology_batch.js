// The result of a batch of topology repairs: a sortable table with thumbnails; a row opens to before | after at the same
// place and zoom. <ss-topology-batch job="JOB"></ss-topology-batch> asks /api/topology-batch/JOB, nothing else.
import { Part, api, element, errorBox } from "/static/theme/common.js";
import { nameOf } from "./upload_many.js";
import { BATCH_STYLE } from "./topology_batch_style.js";

const THUMBNAIL = 96;
const LARGE = 1024;

class TopologyBatch extends Part {
  static observedAttributes = ["job"];

  constructor() {
    super();
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, BATCH_STYLE];
    this.shadowRoot.addEventListener("keydown", (event) => this.key(event));
  }

  connectedCallback() { this.load(); }

  attributeChangedCallback() { if (this.isConnected) this.load(); }

  async load() {
    const job = this.getAttribute("job");
    if (!job) { this.show(); return; }
    this.sorted = { name: "number", down: false };
    this.opened = null;
    try {
      const data = await api(`/api/topology-batch/${encodeURIComponent(job)}`);
      if (job !== this.getAttribute("job")) return;
      this.data = data;
      this.build();
    } catch (error) {
      this.show(errorBox(error));
    }
  }

  build() {
    const { data } = this;
    const first = element("p", { class: "lead" }, data.summary[0] ?? "");
    const rest = data.summary.slice(1).map((line) => element("p", {}, line));
    this.head = element("tr", {});
    this.body = element("tbody", {});
    const table = element("table", { class: "files" }, element("thead", {}, this.head), this.body);
    this.show(element("div", { role: "status" }, first, ...rest), this.means(),
      element("div", { class: "table", tabindex: "-1" }, table),
      element("p", { class: "hint" }, `Click a row to look at it. Connectivity: ${data.connectivity}.`));
    this.fill();
  }

  // ---- table --------------------------------------------------------------------------------------------------

  fill() {
    const { columns } = this.data;
    this.head.replaceChildren(...columns.map((column) => this.title(column)));
    // The thumbnails stand behind the number.
    this.head.firstChild.after(element("th", { scope: "col" }, "Before | after"));
    const rows = [...this.data.rows].sort((a, b) => this.compare(a, b));
    this.body.replaceChildren(...rows.flatMap((row) => this.lines(row)));
  }

  title(column) {
    const here = this.sorted.name === column.name;
    const direction = here ? (this.sorted.down ? "descending" : "ascending") : "none";
    const button = element("button", {
      type: "button", title: column.meaning, onclick: () => this.sort(column.name),
    }, column.title, element("span", { class: "arrow", "aria-hidden": "true" },
      here ? (this.sorted.down ? "▼" : "▲") : ""));
    return element("th", { scope: "col", "aria-sort": direction, "data-column": column.name }, button);
  }

  sort(name) {
    this.sorted = { name, down: this.sorted.name === name && !this.sorted.down };
    this.fill();
    this.head.querySelector(`[data-column="${CSS.escape(name)}"] button`).focus();
  }

  // Files without a value come last, whichever way the column is sorted.
  compare(a, b) {
    const [x, y] = [a.values[this.sorted.name], b.values[this.sorted.name]];
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined) || a.number - b.number;
    const by = typeof x === "string" ? x.localeCompare(y) : x - y;
    return (this.sorted.down ? -by : by) || a.number - b.number;
  }

  lines(row) {
    const { columns } = this.data;
    const name = nameOf(row.source);
    const open = this.opened === row.number;
    const number = element("td", { class: "file" }, element("b", {}, row.cells.number),
      name ? element("small", { title: name }, name) : null);
    if (row.problem) {
      const { what, why, what_to_do: advice } = row.problem;
      return [element("tr", { class: "problem" }, number, element("td", { colspan: columns.length },
        element("strong", {}, what), ` ${[why, advice].filter(Boolean).join(" ")}`))];
    }
    const label = `File ${row.number}: ${row.cells.content}, pieces ${row.cells.b0}, holes ${row.cells.b1}`;
    const cells = columns.slice(1).map((column) => element("td", { "data-column": column.name },
      row.cells[column.name] ?? ""));
    const line = element("tr", {
      class: "line", tabindex: "0", role: "button", "aria-expanded": String(open), "aria-label": label,
      "data-number": row.number, onclick: () => this.toggle(row.number),
    }, number, element("td", { class: "thumbs" }, this.image(row, "before", THUMBNAIL),
      this.image(row, "changes", THUMBNAIL)), ...cells);
    return open ? [line, this.details(row)] : [line];
  }

  image(row, name, side) {
    const source = `/api/topology-batch/${encodeURIComponent(this.data.job)}/${row.number}/${name}.png?side=${side}`;
    return element("img", {
      src: source, alt: "", loading: "lazy", draggable: "false", ...(side === THUMBNAIL ? { width: 56, height: 56 } : {}),
    });
  }

  toggle(number) {
    this.opened = this.opened === number ? null : number;
    this.fill();
    const line = this.line(number);
    line.focus({ preventScroll: true });
    if (this.opened) line.scrollIntoView({ block: "nearest" });
  }

  line(number) {
    return this.body.querySelector(`tr[data-number="${number}"]`);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const figure = event.target.closest(".pane");
    if (figure) {
      if (event.key === "+" || event.key === "=") this.zoom(1.5);
      else if (event.key === "-") this.zoom(1 / 1.5);
      else if (event.key === "0") this.zoom(0);
      else return;
      event.preventDefault();
      return;
    }
    const line = event.target.closest("tr.line");
    if (!line) return;
    const lines = [...this.body.querySelectorAll("tr.line")];
    const at = lines.indexOf(line);
    if (event.key === "Enter" || event.key === " ") this.toggle(Number(line.dataset.number));
    else if (event.key === "ArrowDown") lines[Math.min(at + 1, lines.length - 1)].focus();
    else if (event.key === "ArrowUp") lines[Math.max(at - 1, 0)].focus();
    else if (event.key === "Escape" && this.opened) this.toggle(this.opened);
    else return;
    event.preventDefault();
  }

  // ---- one file -----------------------------------------------------------------------------------------------

  details(row) {
    this.view = { scale: 1, x: 0, y: 0 };
    const where = row.slice === null ? "" : ` · slice ${row.slice + 1}, where most was changed`;
    this.panes = [["before", `Before${where}`], ["changes", "After, changed places in colour"]].map(([name, words]) => {
      const pane = element("div", { class: "pane", tabindex: "0", role: "img", "aria-label": words },
        this.image(row, name, LARGE));
      this.bind(pane);
      return element("figure", {}, element("figcaption", {}, words), pane);
    });
    const styles = new Map(this.data.kinds.map((kind) => [kind.kind, kind]));
    const kinds = row.kinds.map(({ kind, title, count }) => element("span", { title: styles.get(kind)?.meaning },
      element("i", { style: `background:${styles.get(kind)?.colour}` }), `${title} (${count})`));
    const links = [["mask", row.mask, row.mask_name], ["change table", row.table, ""]].filter(([, id]) => id)
      .map(([words, id, name]) => element("a", {
        class: "button", href: `/api/artifacts/${encodeURIComponent(id)}`, download: name || "",
      }, `Download ${words}`));
    const notes = row.notes.length
      ? element("ul", { class: "notes" }, ...row.notes.map((note) => element("li", {}, note))) : null;
    const cell = element("td", { colspan: this.data.columns.length + 1 }, element("div", { class: "inside" },
      element("div", { class: "legend" }, ...(kinds.length ? kinds : ["Nothing was changed."])),
      element("div", { class: "pair" }, ...this.panes), notes, element("div", { class: "row-links" }, ...links)));
    return element("tr", { class: "details" }, cell);
  }

  bind(pane) {
    let last = null;
    pane.addEventListener("wheel", (event) => {
      event.preventDefault();
      const box = pane.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - box.left - box.width / 2,
        event.clientY - box.top - box.height / 2);
    }, { passive: false });
    pane.addEventListener("pointerdown", (event) => {
      pane.setPointerCapture(event.pointerId);
      last = [event.clientX, event.clientY];
    });
    pane.addEventListener("pointermove", (event) => {
      if (!last) return;
      this.view.x += event.clientX - last[0];
      this.view.y += event.clientY - last[1];
      last = [event.clientX, event.clientY];
      this.place();
    });
    for (const name of ["pointerup", "pointercancel"]) pane.addEventListener(name, () => { last = null; });
    pane.addEventListener("dblclick", () => this.zoom(0));
  }

  // About a point in pixels from the middle of the pane; factor 0 shows the whole picture again.
  zoom(factor, x = 0, y = 0) {
    const scale = factor ? Math.min(24, Math.max(1, this.view.scale * factor)) : 1;
    const by = scale / this.view.scale;
    this.view = scale === 1 ? { scale, x: 0, y: 0 }
      : { scale, x: x - (x - this.view.x) * by, y: y - (y - this.view.y) * by };
    this.place();
  }

  place() {
    const { scale, x, y } = this.view;
    for (const figure of this.panes) {
      figure.querySelector("img").style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    }
    this.dataset.scale = scale;
  }

  // ---- means --------------------------------------------------------------------------------------------------

  means() {
    if (!this.data.means.length) return null;
    const titles = ["Against the true masks", "Input", "Repaired", "Difference"];
    const rows = this.data.means.map((mean) => element("tr", {},
      element("th", { scope: "row", title: `${mean.better} is better` }, mean.title),
      ...["before", "after", "difference"].map((part) => element("td", {}, interval(mean[part], part)))));
    return element("div", { class: "means table" },
      element("table", {}, element("thead", {}, element("tr", {},
        ...titles.map((title) => element("th", { scope: "col" }, title)))), element("tbody", {}, ...rows)),
      element("p", { class: "hint" }, this.data.means_note));
  }
}

function interval(mean, part) {
  const number = (value) => {
    const digits = Math.abs(value).toFixed(3);
    const sign = Number(digits) === 0 ? "" : value < 0 ? "−" : part === "difference" ? "+" : "";
    return sign + digits;
  };
  return mean.low === null ? number(mean.value) : `${number(mean.value)} [${number(mean.low)}, ${number(mean.high)}]`;
}

if (!customElements.get("ss-topology-batch")) customElements.define("ss-topology-batch", TopologyBatch);
