// <ss-slide slide="ID" into="BOX"></ss-slide>: the slide viewer in a frame, and its view in this page's address.
// Without a slide it asks BOX, a hidden textbox, to open the one that the address names, so that a link or a reload
// comes back to the same place.
import { Part, element, fill, params } from "/static/theme/common.js";

const STYLE = new CSSStyleSheet();
STYLE.replaceSync(`
  iframe { display: block; width: 100%; height: clamp(440px, calc(100vh - 262px), 1000px); border: 1px solid var(--border-color-primary);
    border-radius: 10px; background: var(--background-fill-secondary); }
  .none { display: grid; place-items: center; min-height: 220px; padding: 24px; text-align: center; font-size: 14px;
    color: var(--body-text-color-subdued); border: 1px dashed var(--border-color-primary); border-radius: 10px; }
`);

class SlideFrame extends Part {
  static observedAttributes = ["slide"];

  constructor() {
    super();
    this.shadowRoot.adoptedStyleSheets = [...this.shadowRoot.adoptedStyleSheets, STYLE];
    this.onMessage = (event) => this.follow(event);
    this.onHash = () => this.frame?.contentWindow.postMessage({ type: "synthscope:look", hash: location.hash }, location.origin);
  }

  connectedCallback() {
    addEventListener("message", this.onMessage);
    addEventListener("hashchange", this.onHash);
    this.open();
    this.ask(params().get("slide"));
  }

  // The page may not listen yet when the box is there already; the same value twice starts nothing twice.
  ask(named, tries = 8) {
    if (!named || !tries || !this.isConnected || this.getAttribute("slide")) return;
    fill(this.getAttribute("into"), named);
    setTimeout(() => this.ask(named, tries - 1), 700);
  }

  disconnectedCallback() {
    removeEventListener("message", this.onMessage);
    removeEventListener("hashchange", this.onHash);
  }

  attributeChangedCallback() {
    if (this.isConnected) this.open();
  }

  open() {
    const slide = this.getAttribute("slide");
    if (slide === this.shown && this.frame) return;
    this.shown = slide;
    this.frame = null;
    if (!slide) {
      this.show(element("div", { class: "none" }, "Choose a sample, or bring a slide of your own: it opens here."));
      return;
    }
    const hash = params().get("slide") === slide ? location.hash : "";
    this.frame = element("iframe", {
      src: `/viewer/slide/${encodeURIComponent(slide)}${hash}`,
      title: "Slide viewer",
      allow: "fullscreen; clipboard-write",
    });
    this.show(this.frame);
    this.remember(hash);
  }

  follow(event) {
    const { type, slide, hash } = event.data ?? {};
    if (event.origin !== location.origin || event.source !== this.frame?.contentWindow) return;
    if (type === "synthscope:view" && slide === this.shown && /^#[\w=&.+-]*$/.test(hash)) this.remember(hash);
  }

  remember(hash) {
    const query = new URLSearchParams({ tab: "slides", slide: this.shown });
    history.replaceState(history.state, "", `?${query}${hash}`);
  }
}

customElements.define("ss-slide", SlideFrame);
