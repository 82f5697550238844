"""The Echo tab: make hearts beat with a requested ejection fraction, and measure any clip."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.clip_view import KEYS
from app.components.parts import Part, parts
from app.tabs.echo import batch, generate, measure, training
from backend.services.echo.needs import TO_GENERATE, missing

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a job starts."""
    making = Part("generate", "Generate", generate.build, generate.ACTIONS)
    measuring = Part("measure", "Measure", measure.build, measure.ACTIONS)
    many = Part("batch", "Many clips", batch.build, batch.ACTIONS)
    own = Part("training", "Your own generator", training.build, training.ACTIONS)
    # Where the generator's weights are not installed, what works comes first.
    ready = not missing(runtime.weights, TO_GENERATE)
    parts(runtime, shell, "echo", (making, measuring, many, own) if ready else (measuring, making, many, own))
    shell.shortcuts("Echo", KEYS)
