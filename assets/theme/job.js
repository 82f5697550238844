// <ss-job system actions job into quiet>: one job from queue to end, drawn from /api/jobs/{id}; comes back after a reload.
import { Part, api, element, errorBox, fill, params, timeText } from "./common.js";

const FASTEST = 250;
const SLOWEST = 4000;
const WORDS = {
  queued: "Waiting", running: "Running", done: "Done", failed: "Failed", cancelled: "Cancelled",
  interrupted: "Interrupted: the program stopped while this ran",
};

class Job extends Part {
  static observedAttributes = ["job"];

  connectedCallback() {
    this.build();
    this.show();
    const linked = params().get("job");
    if (this.getAttribute("job")) this.follow(this.getAttribute("job"));
    else if (linked && params().get("tab") === this.getAttribute("system")) this.follow(linked, true);
    else this.drawEstimate();
  }

  disconnectedCallback() {
    clearTimeout(this.timer);
    this.following = "";
  }

  attributeChangedCallback(name, before, now) {
    if (this.isConnected && now && now !== before) this.follow(now);
  }

  build() {
    if (this.bar) return;
    this.word = element("strong", {});
    this.note = element("span", { class: "text" });
    this.times = element("small", {});
    this.bar = element("progress", { max: 1, value: 0, "aria-label": "Done" });
    this.stop = element("button", { type: "button", class: "button", onclick: () => this.cancel() }, "Cancel");
    this.picture = element("img", { class: "preview", alt: "Latest preview", hidden: true });
    this.problem = element("div", {});
  }

  async drawEstimate() {
    const action = (this.getAttribute("actions") || "").split(" ")[0];
    if (!action || this.hasAttribute("quiet")) return;
    try {
      const query = new URLSearchParams({ system: this.getAttribute("system"), action });
      const { seconds } = await api(`/api/estimate?${query}`);
      if (this.following || seconds === null) return;
      this.show(element("p", { class: "hint" }, `Takes about ${timeText(seconds)} on this machine.`));
    } catch { /* an estimate is a courtesy */ }
  }

  follow(id, fromUrl = false) {
    clearTimeout(this.timer);
    this.following = id;
    this.fromUrl = fromUrl;
    this.wait = FASTEST;
    this.drawn = false;
    this.picture.hidden = true;
    this.problem.replaceChildren();
    if (!fromUrl) this.remember(id);
    this.poll(id);
  }

  remember(id) {
    const query = params();
    query.set("tab", this.getAttribute("system"));
    query.set("job", id);
    history.replaceState(history.state, "", `?${query}`);
  }

  async poll(id) {
    let job;
    try {
      job = await api(`/api/jobs/${encodeURIComponent(id)}`);
    } catch (error) {
      if (this.following !== id) return;
      // A link to a job that is not here (any more) is no reason to disturb; a server that is away may come back.
      if (error.status === 404) {
        this.show(this.fromUrl ? null : errorBox(error));
        return;
      }
      this.problem.replaceChildren(errorBox(error));
      this.again(id);
      return;
    }
    if (this.following !== id) return;
    const actions = (this.getAttribute("actions") || "").split(" ").filter(Boolean);
    if (job.system !== this.getAttribute("system") || (actions.length && !actions.includes(job.action))) return;
    this.draw(job);
    if (job.final) fill(this.getAttribute("into"), id);
    else this.again(id);
  }

  again(id) {
    this.timer = setTimeout(() => this.poll(id), this.wait);
    this.wait = Math.min(this.wait * 1.25, document.hidden ? SLOWEST : 1000);
  }

  draw(job) {
    this.word.textContent = WORDS[job.state] ?? job.state;
    this.note.textContent = job.state === "queued" ? this.place(job.position) : job.note;
    const facts = [];
    if (job.total > 1 && job.state !== "queued") facts.push(`${Math.floor(job.done)} of ${Math.round(job.total)} steps`);
    if (job.elapsed_s !== null) facts.push(timeText(job.elapsed_s));
    if (!job.final && job.eta_s !== null) facts.push(job.eta_s < 1 ? "almost there" : `about ${timeText(job.eta_s)} left`);
    this.times.textContent = facts.join(" · ");
    if (job.state === "running" && !job.total) this.bar.removeAttribute("value");
    else this.bar.value = job.state === "done" ? 1 : job.fraction;
    this.stop.hidden = job.final;
    this.stop.disabled = this.cancelling === job.id;
    if (job.has_preview && job.state !== "done") {
      this.picture.src = `/api/jobs/${encodeURIComponent(job.id)}/preview?at=${job.done}`;
      this.picture.hidden = false;
    } else this.picture.hidden = true;
    if (job.error) this.problem.replaceChildren(errorBox(job.error));
    else this.problem.replaceChildren();
    if (!this.drawn) {
      this.drawn = true;
      this.show(this.panel ??= element("div", { class: "panel" },
        element("div", { class: "row", role: "status" }, this.word, this.note, this.times, this.stop),
        this.bar, this.picture, this.problem));
    }
    this.panel.dataset.state = job.state;
  }

  place(position) {
    if (position === null) return "";
    return position === 0 ? "next in the queue" : `${position} before it in the queue`;
  }

  async cancel() {
    const id = this.following;
    this.cancelling = id;
    this.stop.disabled = true;
    try {
      await api(`/api/jobs/${encodeURIComponent(id)}/cancel`, { method: "POST" });
      this.wait = FASTEST;
    } catch (error) {
      this.cancelling = "";
      this.problem.replaceChildren(errorBox(error));
    }
  }
}

customElements.define("ss-job", Job);
