// <ss-file-name of>: the name that an upload had, which only this browser tab knows; nothing where it does not.
import { nameOf } from "./upload_many.js";

class FileName extends HTMLElement {
  connectedCallback() { this.textContent = nameOf(this.getAttribute("of")); }
}

if (!customElements.get("ss-file-name")) customElements.define("ss-file-name", FileName);
