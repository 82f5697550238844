"""The Topology tab: repair one segmentation and look at every change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.tabs.topology import repair

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a repair starts."""
    repair.build(runtime, shell)
