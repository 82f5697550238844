"""Volumes side by side in three planes and in 3D, with coloured overlays: the custom element ``<ss-volume>``.

What is shown are stored NIfTI files by their artifact ids. Crosshair, slice, side and magnification of all panes move
together. An overlay with a title gets a slider for its opacity.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

COLORMAPS = ("ss-mask", "gray", "viridis", "cividis", "magma", "inferno", "plasma")
"""Colour maps to choose from: a mask's greys, and scales that the colour-blind can read."""


@dataclass(frozen=True)
class Layer:
    """One NIfTI file. Values from ``low`` to ``high`` take ``colormap``; ``labels`` (code → '#rrggbb') colours codes.

    ``id`` is one name for the same overlay in several panes, ``opacity`` 0 to 1. Raises ``ValueError`` for an unknown
    colour map or an opacity that is none.
    """

    artifact: str
    id: str = ""
    title: str = ""
    colormap: str = "gray"
    low: float = 0.0
    high: float = 1.0
    opacity: float = 1.0
    labels: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.colormap not in COLORMAPS:
            raise ValueError(f"no colour map is called {self.colormap!r}; there are {', '.join(COLORMAPS)}")
        if not 0 <= self.opacity <= 1:
            raise ValueError(f"an opacity lies between 0 and 1, not at {self.opacity}")

    def as_dict(self) -> dict[str, Any]:
        """As the element takes it."""
        made: dict[str, Any] = {
            "id": self.id or self.artifact,
            "artifact": self.artifact,
            "title": self.title,
            "colormap": self.colormap,
            "min": self.low,
            "max": self.high,
            "opacity": self.opacity,
        }
        if self.labels:
            made["labels"] = {str(code): colour for code, colour in self.labels.items()}
        return made


@dataclass(frozen=True)
class Pane:
    """One picture of the row: a volume and what lies over it."""

    title: str
    base: Layer
    overlays: Sequence[Layer] = ()

    def as_dict(self) -> dict[str, Any]:
        """As the element takes it."""
        overlays = [layer.as_dict() for layer in self.overlays]
        return {"title": self.title, "base": self.base.as_dict(), "overlays": overlays}


def volume_view_html(panes: Sequence[Pane]) -> str:
    """The element, for a component of :func:`app.components.html.html`."""
    return f'<ss-volume panes="{escape(json.dumps([pane.as_dict() for pane in panes]))}"></ss-volume>'
