// <ss-upload label accept hint into>: drop zone, progress, what was removed on arrival, one clear sentence on an error.
import { Part, element, errorBox, fill, problem, sizeText, unreachable } from "./common.js";

class Upload extends Part {
  connectedCallback() {
    if (!this.request) this.drawEmpty();
  }

  disconnectedCallback() {
    this.request?.abort();
  }

  drawEmpty(error = null) {
    const label = this.getAttribute("label");
    const hint = this.getAttribute("hint");
    const input = element("input", {
      type: "file", hidden: true, accept: this.getAttribute("accept") || null, tabindex: "-1", "aria-hidden": "true",
      onchange: (event) => this.send(event.target.files[0]),
    });
    const zone = element("button", { type: "button", class: "zone", onclick: () => input.click() },
      element("span", { class: "zone-title" }, label),
      element("span", { class: "zone-text" }, "Drop a file here, or press to choose one"),
      hint ? element("small", {}, hint) : null);
    for (const name of ["dragenter", "dragover"]) {
      zone.addEventListener(name, (event) => { event.preventDefault(); zone.toggleAttribute("data-over", true); });
    }
    zone.addEventListener("dragleave", () => zone.toggleAttribute("data-over", false));
    zone.addEventListener("drop", (event) => {
      event.preventDefault();
      this.send(event.dataTransfer.files[0]);
    });
    this.show(zone, input, error ? errorBox(error) : null);
    return zone;
  }

  send(file) {
    if (!file) return;
    const bar = element("progress", { max: 1, value: 0, "aria-label": "Uploaded" });
    const text = element("span", { class: "text", role: "status" }, `Uploading ${sizeText(file.size)}`);
    const request = new XMLHttpRequest();
    this.request = request;
    request.open("POST", "/api/uploads");
    request.responseType = "json";
    // The name helps to tell formats apart; the server neither stores nor logs it.
    request.setRequestHeader("X-File-Name", encodeURIComponent(file.name));
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) bar.value = event.loaded / event.total;
    };
    request.upload.onload = () => {
      bar.removeAttribute("value");
      text.textContent = "Opening it and removing what identifies the patient";
    };
    request.onload = () => this.done(request.status === 201 ? request.response : null,
      problem(request.status, request.response));
    request.onerror = () => this.done(null, unreachable());
    request.onabort = () => { this.request = null; this.drawEmpty(); };
    this.show(element("div", { class: "panel" },
      element("div", { class: "row" }, text,
        element("button", { type: "button", class: "button", onclick: () => request.abort() }, "Cancel")),
      bar));
    request.send(file);
  }

  done(answer, error) {
    this.request = null;
    if (!answer) {
      this.drawEmpty(error).focus();
      return;
    }
    const notes = answer.notes.length
      ? element("ul", { class: "notes", "aria-label": "What was changed on arrival" },
        ...answer.notes.map((note) => element("li", {}, note)))
      : null;
    this.show(element("div", { class: "panel", "data-state": "done" },
      element("div", { class: "row" },
        element("span", { class: "text", role: "status" }, `Ready: ${answer.summary}, ${sizeText(answer.size)}`),
        element("button", { type: "button", class: "button", onclick: () => this.clear() }, "Choose another")),
      notes));
    fill(this.getAttribute("into"), answer.id);
    this.dispatchEvent(new CustomEvent("uploaded", { bubbles: true, composed: true, detail: answer }));
  }

  clear() {
    this.empty();
    this.shadowRoot.querySelector(".zone").focus();
  }

  empty() {
    this.request?.abort();
    this.drawEmpty();
    fill(this.getAttribute("into"), "");
  }
}

// <ss-clear into turn>: empties the drop zone of the same name whenever the server draws it with another turn.
class Clear extends HTMLElement {
  static observedAttributes = ["turn"];

  attributeChangedCallback(name, before, now) {
    if (before === null || !now) return;
    document.querySelector(`ss-upload[into="${CSS.escape(this.getAttribute("into"))}"]`)?.empty();
  }
}

customElements.define("ss-upload", Upload);
customElements.define("ss-clear", Clear);
