// Runs before Gradio's first line: chooses light or dark, and opens the tab that the URL names, so that nothing flickers.
(() => {
  "use strict";
  const root = document.documentElement;
  const query = new URLSearchParams(location.search);
  let stored = null;
  try { stored = localStorage.getItem("synthscope-theme"); } catch { /* storage may be switched off */ }
  const system = matchMedia("(prefers-color-scheme: dark)");

  function wanted() {
    return stored || (system.matches ? "dark" : "light");
  }
  function apply() {
    const mode = wanted();
    root.dataset.theme = mode;
    root.style.colorScheme = mode;
    if (document.body) document.body.classList.toggle("dark", mode === "dark");
  }
  apply();
  system.addEventListener("change", apply);
  // Gradio sets the class by the system's preference when it starts; what the person chose here comes before that.
  addEventListener("DOMContentLoaded", () => {
    apply();
    new MutationObserver(() => {
      if (document.body.classList.contains("dark") !== (wanted() === "dark")) apply();
    }).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  });

  window.synthscope = {
    toggleTheme() {
      stored = wanted() === "dark" ? "light" : "dark";
      try { localStorage.setItem("synthscope-theme", stored); } catch { /* kept for this page only */ }
      apply();
    },
  };

  const tab = query.get("tab");
  const components = window.gradio_config?.components ?? [];
  const tabs = components.find((item) => item.props?.elem_id === "ss-tabs");
  const known = components.some((item) => item.type === "tabitem" && item.props?.id === tab);
  if (tab && tabs && known) tabs.props.selected = tab;
})();
