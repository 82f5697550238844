"""Home: what this is, what each system does, what is installed and loaded, how to bring data of one's own."""

from __future__ import annotations

from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING

from app.components.html import html
from app.components.shell import Shell
from backend.catalogue import CATALOGUE, System

if TYPE_CHECKING:
    from backend.runtime import Runtime

INTRO = """
<section class="ss-hero">
  <h1>Make, look at, judge and check synthetic medical images</h1>
  <p>SynthScope is a workbench for clinicians and researchers. Each system is one published method that works on real
  input; everything runs on this machine, and no request leaves it.</p>
</section>
"""

OWN_DATA = """
<section class="ss-section ss-card" aria-labelledby="ss-own">
  <h2 id="ss-own">Bring your own data</h2>
  <ol class="ss-steps">
    <li>Open a tab and drop a file on its upload area: DICOM (one file, or a series as ZIP), NIfTI, PNG, JPEG, TIFF,
      MP4, AVI, MOV, GIF, NPZ, or a whole slide ({size} MiB at most).</li>
    <li>On arrival, names, dates, identifiers and text burned into ultrasound are removed. The page tells what was
      changed; the original is not kept.</li>
    <li>Slides that are too large to upload are opened in place, from folders named in the setting
      <code>slide_roots</code>.</li>
    <li>Weights of your own go into <code>weights/</code> under the folder <code>SYNTHSCOPE_HOME</code>, as safetensors
      with a <code>config.json</code>.</li>
    <li>Every step, yours included, is in <a href="/?tab=audit" data-tab="audit">Audit</a>.</li>
  </ol>
</section>
"""


def build(runtime: Runtime, shell: Shell) -> None:
    """Lay out the tab. What changes while the program runs is drawn by custom elements from our JSON routes."""
    own_data = OWN_DATA.format(size=f"{runtime.settings.max_upload_mib:,}")
    html(
        f'<div class="ss-stack">{INTRO}{_systems()}<div class="ss-columns">'
        f'<div class="ss-stack"><ss-jobs></ss-jobs>{own_data}</div>'
        '<div class="ss-stack"><ss-status></ss-status><ss-installed></ss-installed></div></div></div>'
    )


def _systems() -> str:
    cards = "".join(_system(item) for item in CATALOGUE)
    return (
        '<section class="ss-section" aria-labelledby="ss-systems"><h2 id="ss-systems">Systems</h2>'
        f'<div class="ss-grid">{cards}</div></section>'
    )


def _system(system: System) -> str:
    state = escape(system.state)
    tag, link = ("a", f' href="/?tab={system.name}" data-tab="{system.name}"') if _has_tab(system) else ("div", "")
    return (
        f'<{tag} class="ss-card ss-system" data-state="{state}"{link}><header><h3>{escape(system.title)}</h3>'
        f'<span class="ss-badge" data-state="{state}">{state}</span></header><p>{escape(system.summary)}</p>'
        f"<small>{escape(system.paper)}</small></{tag}>"
    )


def _has_tab(system: System) -> bool:
    return bool(system.tab) and find_spec(system.tab) is not None
