"""The Anomaly tab: look at one brain scan or many, and see what the network has learnt to undo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.parts import Part, parts
from app.tabs.anomaly import batch, corruption, detect

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a detection starts."""
    listed = (
        Part("detect", "Look at one", detect.build, detect.ACTIONS),
        Part("batch", "Many scans", batch.build, batch.ACTIONS),
        Part("corruption", "What it learns from", corruption.build, ()),
    )
    parts(runtime, shell, "anomaly", listed)
