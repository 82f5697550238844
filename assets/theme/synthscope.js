// The page's own behaviour: tab and job in the URL, keyboard, copy and fill buttons. Custom elements come from beside it.
import "./upload.js";
import "./job.js";
import "./home.js";
import { fill, params } from "./common.js";

window.synthscope.fill = fill;

function tabButtons() {
  return [...document.querySelectorAll('#ss-tabs > .tab-wrapper [role="tablist"] button[role="tab"]')];
}

// Gradio names a tab's button "<elem_id>-button".
function nameOf(button) {
  return /^ss-tab-(.+)-button$/.exec(button?.id ?? "")?.[1] ?? "";
}

function selectTab(name) {
  tabButtons().find((button) => nameOf(button) === name)?.click();
}

// Each tab keeps what it put into the URL (a job, a slide, a place in it) while others are looked at.
const places = {};
let current = null;

function rememberTab() {
  const name = nameOf(tabButtons().find((button) => button.getAttribute("aria-selected") === "true"));
  if (!name || name === current) return;
  if (current === null) {
    current = name;
    if ((params().get("tab") ?? "home") === name) return;
  } else {
    places[current] = location.search + location.hash;
    current = name;
  }
  history.replaceState(history.state, "", location.pathname + (places[name] ?? (name === "home" ? "" : `?tab=${name}`)));
}

new MutationObserver(rememberTab).observe(document.documentElement, {
  subtree: true, attributes: true, attributeFilter: ["aria-selected"],
});
// The first tab is drawn already selected, which changes no attribute.
const untilDrawn = new MutationObserver(() => {
  rememberTab();
  if (current !== null) untilDrawn.disconnect();
});
untilDrawn.observe(document.documentElement, { subtree: true, childList: true });

function toggleShortcuts(open) {
  const dialog = document.getElementById("ss-shortcuts");
  if (!dialog) return;
  if (open ?? !dialog.open) dialog.showModal();
  else dialog.close();
}

async function copy(button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copying is not allowed here";
  }
  setTimeout(() => { button.textContent = before; }, 1600);
}

document.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const button = target?.closest("[data-action],[data-copy],[data-fill],[data-close],a[data-tab]");
  if (!button) {
    if (target?.id === "ss-shortcuts") target.close();
    return;
  }
  const { action, fill: into, value, close, tab } = button.dataset;
  if (action === "theme") window.synthscope.toggleTheme();
  else if (action === "shortcuts") toggleShortcuts(true);
  else if (close) document.getElementById(close)?.close();
  else if (button.dataset.copy !== undefined) copy(button);
  else if (into) {
    for (const other of document.querySelectorAll(`[data-fill="${into}"]`)) {
      other.toggleAttribute("data-chosen", other === button);
    }
    fill(into, button.dataset.again === undefined ? value : `${value} ${Date.now()}`);
  } else if (tab && !event.metaKey && !event.ctrlKey) {
    event.preventDefault();
    selectTab(tab);
  }
});

document.addEventListener("keydown", (event) => {
  const element = event.composedPath()[0];
  const typing = element instanceof HTMLElement && (element.isContentEditable
    || ["TEXTAREA", "SELECT"].includes(element.tagName)
    || (element.tagName === "INPUT" && !["checkbox", "radio", "range", "button", "file"].includes(element.type)));
  if (event.key === "Enter" && element instanceof HTMLTableRowElement && element.dataset.fill) {
    element.click();
  } else if (event.altKey && !event.ctrlKey && /^Digit[1-9]$/.test(event.code)) {
    tabButtons()[Number(event.code.slice(5)) - 1]?.click();
    event.preventDefault();
  } else if (event.altKey && !event.ctrlKey && event.code === "KeyD") {
    window.synthscope.toggleTheme();
    event.preventDefault();
  } else if (event.key === "?" && !typing && !event.ctrlKey && !event.altKey) {
    toggleShortcuts();
    event.preventDefault();
  }
});
