"""The Echo tab: make hearts beat with a requested ejection fraction, and measure any clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.clip_view import KEYS
from app.components.parts import Part, parts
from app.tabs.echo import batch, generate, measure

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a job starts."""
    listed = (
        Part("generate", "Generate", generate.build, generate.ACTIONS),
        Part("measure", "Measure", measure.build, measure.ACTIONS),
        Part("batch", "Many clips", batch.build, batch.ACTIONS),
    )
    parts(runtime, shell, "echo", listed)
    shell.shortcuts("Echo", KEYS)
