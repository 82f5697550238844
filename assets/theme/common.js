// Shared by the custom elements: their style sheet, requests to our routes, and values handed to Gradio.
"use strict";

export const sheet = new CSSStyleSheet();
fetch(new URL("./elements.css", import.meta.url)).then((answer) => answer.text()).then((text) => sheet.replace(text));

export function params() {
  return new URLSearchParams(location.search);
}

// Writes into a hidden Gradio textbox; its change event then runs in Python. The box may still be on its way in.
export function fill(id, value, patience = 40) {
  const box = document.querySelector(`#${CSS.escape(id)} :is(textarea, input)`);
  if (!box) {
    if (patience > 0) setTimeout(() => fill(id, value, patience - 1), 50);
    return;
  }
  box.value = value;
  box.dispatchEvent(new Event("input", { bubbles: true }));
}

export async function api(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw unreachable();
  }
  let body = null;
  try { body = await answer.json(); } catch { /* not JSON: told below */ }
  if (!answer.ok) throw problem(answer.status, body);
  return body;
}

export function unreachable() {
  return { status: 0, what: "SynthScope does not answer.", why: "", what_to_do: "Is it still running on this machine?" };
}

export function problem(status, body) {
  const error = body?.error ?? { what: "SynthScope could not answer.", why: "", what_to_do: "Try again." };
  return { status, ...error };
}

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function errorBox(error) {
  const rest = [error.why, error.what_to_do].filter(Boolean).join(" ");
  return element("div", { class: "error", role: "alert" },
    element("strong", {}, error.what), rest ? element("span", {}, rest) : null);
}

export function sizeText(bytes) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${bytes.toFixed(unit ? 1 : 0)} ${units[unit]}`;
}

export function timeText(seconds) {
  if (seconds < 1) return "less than 1 s";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// Base of our elements: an open shadow tree, so that Gradio's patching of the page never touches what they drew.
export class Part extends HTMLElement {
  constructor() {
    super();
    this.attachShadow({ mode: "open" }).adoptedStyleSheets = [sheet];
  }

  show(...children) {
    const shown = children.filter((child) => child !== null && child !== undefined);
    this.shadowRoot.replaceChildren(...shown);
    this.toggleAttribute("data-empty", !shown.length);
  }
}
