"""What the network learns from: corruptions of healthy phantom slices, one at a time, every part of them switchable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.html import html

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

INTRODUCTION = """<section class="ss-hero"><p>The network never sees a disease. It is given healthy slices, here of
phantoms drawn by a program, that were corrupted: inside a shape they take the texture of another slice, or some grey
levels become brighter or darker, each with a strength of its own. It is told how severe the corruption is and learns to
undo it; what it would change in a scan is the heat-map. The switches below are those of the training.</p></section>"""


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part; the phantom is drawn when the preview comes into view."""
    html(INTRODUCTION)
    html("<ss-corruption></ss-corruption>")
