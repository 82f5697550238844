"""The Echo tab: make hearts beat with a requested ejection fraction, and measure any clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.clip_view import KEYS
from app.components.parts import Part, parts
from app.tabs.echo import measure

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a job starts."""
    parts(runtime, shell, "echo", (Part("measure", "Measure", measure.build, measure.ACTIONS),))
    shell.shortcuts("Echo", KEYS)
