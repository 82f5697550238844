"""Home: what this is, what each system does, what is installed and loaded, how to bring data of one's own."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from app.components.html import html
from app.components.shell import Shell
from backend.catalogue import CATALOGUE, System

if TYPE_CHECKING:
    from backend.runtime import Runtime

INTRO = """
<section class="ss-hero">
  <h1>Make synthetic medical images. Look closely. Judge. Check.</h1>
  <p>SynthScope is a workbench for clinicians and researchers: each tab is one published method as a working system on
  real input. Everything runs on this machine; no request leaves it.</p>
</section>
"""


def build(runtime: Runtime, shell: Shell) -> None:
    """Lay out the tab."""
    html(INTRO)
    html(_systems())


def _systems() -> str:
    cards = "".join(_system(item) for item in CATALOGUE)
    return f'<section><h2>Systems</h2><div class="ss-grid">{cards}</div></section>'


def _system(system: System) -> str:
    state = escape(system.state)
    tag, attributes = ("a", f' href="/?tab={system.name}" data-tab="{system.name}"') if system.tab else ("div", "")
    return (
        f'<{tag} class="ss-card ss-system" data-state="{state}"{attributes}><header><h3>{escape(system.title)}</h3>'
        f'<span class="ss-badge" data-state="{state}">{state}</span></header><p>{escape(system.summary)}</p>'
        f"<small>{escape(system.paper)}</small></{tag}>"
    )
