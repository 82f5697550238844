// <ss-parts system parts>: which part of a tab is in view. The URL says so (?tab=…&part=…), each part keeps its own job
// there while others are looked at, and a link that names a job only opens the part that shows jobs of its kind.
import { api, params } from "/static/theme/common.js";

class Parts extends HTMLElement {
  connectedCallback() {
    if (this.places) return;
    this.places = {};
    this.system = this.getAttribute("system");
    this.parts = JSON.parse(this.getAttribute("parts"));
    this.watcher = new MutationObserver(() => this.remember());
    this.watcher.observe(document.documentElement, {
      subtree: true, childList: true, attributes: true, attributeFilter: ["aria-selected"],
    });
    this.open();
  }

  button(part) {
    return document.getElementById(`ss-part-${this.system}-${part}-button`);
  }

  get current() {
    return Object.keys(this.parts).find((part) => this.button(part)?.getAttribute("aria-selected") === "true");
  }

  async open() {
    const query = params();
    if (query.get("tab") !== this.system) return;
    let wanted = query.get("part");
    if (query.get("job")) {
      try {
        const { action } = await api(`/api/jobs/${encodeURIComponent(query.get("job"))}`);
        wanted = Object.keys(this.parts).find((part) => this.parts[part].includes(action)) ?? wanted;
      } catch { /* the strip tells of a job that cannot be found */ }
    }
    if (!(wanted in this.parts)) return;
    if (wanted === this.current) {
      this.write(wanted, query.get("job"));
    } else {
      this.opening = query.get("job");
      this.click(wanted);
    }
  }

  // The buttons may still be on their way in.
  click(part, patience = 60) {
    const button = this.button(part);
    if (button) button.click();
    else if (patience > 0) setTimeout(() => this.click(part, patience - 1), 50);
  }

  remember() {
    const query = params();
    const now = this.current;
    if (!now || now === this.shown || query.get("tab") !== this.system) return;
    if (this.shown) {
      this.places[this.shown] = this.opening ? null : query.get("job");
      this.write(now, this.opening ?? this.places[now]);
      this.opening = null;
    }
    this.shown = now;
  }

  // The first part needs no name in the URL.
  write(part, job) {
    const query = params();
    if (part === Object.keys(this.parts)[0]) query.delete("part");
    else query.set("part", part);
    if (job) query.set("job", job);
    else query.delete("job");
    history.replaceState(history.state, "", `${location.pathname}?${query}${location.hash}`);
  }
}

if (!customElements.get("ss-parts")) customElements.define("ss-parts", Parts);
