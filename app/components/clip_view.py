"""Clips side by side in lockstep, with labels over them: the custom element ``<ss-clip>``.

What is played are stored clips by their artifact ids (see ``app.routes.clips``). All panes share the buttons, the
speed and the frame in view; a pane with another rate or length shows what belongs to the same moment.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from backend.media.limits import Limits

if TYPE_CHECKING:
    from backend.media.stored_clip import StoredClip
    from backend.runtime import Runtime

KEYS = {
    "Space": "Play or pause a clip",
    "Left, Right": "One frame back, one frame on (with Shift ten)",
    "Home, End": "First frame, last frame",
    "D": "Next end-diastolic frame",
    "S": "Next end-systolic frame",
    "O": "Labels on or off",
    "L": "Play again and again, or once",
    "[, ]": "Slower, faster",
}
"""For ``shell.shortcuts``: the keys of every player."""


@dataclass(frozen=True)
class LabelStyle:
    """How one label code looks and what it is: ``colour`` is '#rrggbb'."""

    code: int
    title: str
    colour: str


@dataclass(frozen=True)
class ClipPane:
    """One player of the row. ``badge`` is a word such as "phantom"; without ``labels`` no overlay is drawn."""

    title: str
    clip: str
    badge: str = ""
    labels: Sequence[LabelStyle] = ()


def clip_view_html(panes: Sequence[ClipPane]) -> str:
    """The element, for a component of :func:`app.components.html.html`."""
    return f'<ss-clip panes="{escape(json.dumps([asdict(pane) for pane in panes]))}"></ss-clip>'


def opened(runtime: Runtime, artifact_id: str) -> StoredClip:
    """A stored clip as it is played. Raises ``UserError`` where there is none, or what is stored is no clip."""
    view = runtime.artifacts.view(artifact_id)
    return _read(runtime.artifacts.path(view.id), view.media_type, Limits.from_settings(runtime.settings))


@lru_cache(maxsize=4)
def _read(path: Path, media_type: str, limits: Limits) -> StoredClip:
    """A stored file never changes under its path, which makes it a good key."""
    from backend.media.stored_clip import open_clip

    return open_clip(path, media_type, limits)
