"""The Topology tab: repair one segmentation, many files, or with a refiner of one's own."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from app.components.parts import Part, parts

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

TITLES = {"repair": "Repair one", "batch": "Many files", "training": "Your own refiner"}
"""Modules here and their titles. Each has ``build(runtime, shell)`` and ``ACTIONS``, the actions its jobs have."""


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a job starts."""
    there = [(name, title) for name, title in TITLES.items() if find_spec(f"{__name__}.{name}") is not None]
    modules = [(name, title, import_module(f"{__name__}.{name}")) for name, title in there]
    listed = [Part(name, title, module.build, module.ACTIONS) for name, title, module in modules]
    parts(runtime, shell, "topology", listed)
