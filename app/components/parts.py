"""Parts of a tab: tabs within it, one in the page at a time, each with jobs of its own that a reload leads back to."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from app.components.html import html

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime


@dataclass(frozen=True)
class Part:
    """One part: its name in the URL (``?tab=…&part=name``), its title, what draws it, and the actions it shows."""

    name: str
    title: str
    build: Callable[[Runtime, Shell], None]
    actions: tuple[str, ...]


def parts(runtime: Runtime, shell: Shell, system: str, listed: Sequence[Part]) -> None:
    """Draw the parts of the tab of ``system``; the first is open, or the one that shows the job named in the URL.

    Every part has to name its actions when it makes its job strip, or the strips would show each other's jobs.
    Raises ``ValueError`` when two parts claim one action.
    """
    claimed = [action for part in listed for action in part.actions]
    if len(set(claimed)) < len(claimed):
        raise ValueError(f"two parts of {system!r} show the same action: {sorted(claimed)}")
    known = json.dumps({part.name: list(part.actions) for part in listed})
    html(f'<ss-parts system="{escape(system)}" parts="{escape(known)}"></ss-parts>')
    with gr.Tabs(elem_id=f"ss-parts-{system}", elem_classes=["ss-parts"]):
        for part in listed:
            with gr.Tab(part.title, id=f"{system}-{part.name}", elem_id=f"ss-part-{system}-{part.name}") as tab:
                shell.enter(tab)
                part.build(runtime, shell)
