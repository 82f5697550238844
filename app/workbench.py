"""The page: a permanent banner, then one tab a system of the catalogue between Home and Audit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from html import escape
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

import gradio as gr

from app.components.html import html
from app.components.shell import Shell
from backend.catalogue import CATALOGUE, System
from backend.notices import RESEARCH_ONLY

if TYPE_CHECKING:
    from backend.runtime import Runtime

log = logging.getLogger(__name__)
Build = Callable[["Runtime", Shell], None]

BANNER = f"""
<header class="ss-header">
  <a class="ss-brand" href="/" aria-label="SynthScope, home">
    <img src="/static/theme/icon.svg" alt="" width="28" height="28"><span>SynthScope</span>
  </a>
  <p class="ss-notice" role="note">{escape(RESEARCH_ONLY)}</p>
  <nav aria-label="Page">
    <button type="button" class="ss-icon" data-action="shortcuts" aria-label="Keyboard shortcuts" title="Shortcuts (?)"
      >?</button>
    <button type="button" class="ss-icon" data-action="theme" aria-label="Light or dark" title="Light or dark (Alt + D)"
      ><span class="ss-theme-glyph" aria-hidden="true"></span></button>
  </nav>
</header>
"""


def tabs(shell_systems: tuple[System, ...] | None = None) -> list[tuple[str, str, Build]]:
    """Name, title and ``build`` of every tab: Home, the systems that have a tab module, Audit."""
    from app.tabs import audit, home

    listed: list[tuple[str, str, Build]] = [("home", "Home", home.build)]
    for system in shell_systems or tuple(CATALOGUE):
        # A system of which nothing exists yet has no tab; a tab module that does not import is a bug and shows.
        if system.tab and find_spec(system.tab) is not None:
            listed.append((system.name, system.title, import_module(system.tab).build))
    return [*listed, ("audit", "Audit", audit.build)]


def build(runtime: Runtime) -> gr.Blocks:
    """The whole page for one runtime. Loads no model and no torch."""
    shell = Shell(runtime)
    with gr.Blocks(title="SynthScope", analytics_enabled=False, fill_width=True) as page:
        html(BANNER, elem_id="ss-banner")
        with gr.Tabs(elem_id="ss-tabs", selected="home"):
            for name, title, build_tab in tabs():
                with gr.Tab(title, id=name, elem_id=f"ss-tab-{name}") as tab:
                    shell.enter(tab)
                    build_tab(runtime, shell)
        html(shell.keys.html())
    return page
