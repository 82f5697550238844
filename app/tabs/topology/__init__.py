"""The Topology tab: repair one segmentation, many files, or with a refiner of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.parts import Part, parts
from app.tabs.topology import batch, repair, training

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a job starts."""
    listed = (
        Part("repair", "Repair one", repair.build, repair.ACTIONS),
        Part("batch", "Many files", batch.build, batch.ACTIONS),
        Part("training", "Your own refiner", training.build, training.ACTIONS),
    )
    parts(runtime, shell, "topology", listed)
