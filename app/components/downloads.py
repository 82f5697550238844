"""Download buttons: every format of a result, through our own route by opaque id."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from app.components.html import html
from backend.errors import UserError
from backend.notices import RESEARCH_ONLY

if TYPE_CHECKING:
    from backend.runtime import Runtime


class Downloads:
    """``html`` is the component to list among the outputs, ``render(ids)`` its value."""

    def __init__(self, runtime: Runtime, artifact_ids: Iterable[str] = ()) -> None:
        self._runtime = runtime
        ids = tuple(artifact_ids)
        self.html = html(self.render(ids) if ids else "")

    def render(self, artifact_ids: Iterable[str]) -> str:
        """HTML of one button an artifact; artifacts that are gone are left out."""
        links = []
        for artifact_id in artifact_ids:
            try:
                view = self._runtime.artifacts.view(artifact_id)
            except UserError:
                continue
            suffix = PurePosixPath(view.name).suffix.lstrip(".").upper() or "file"
            links.append(
                f'<a class="ss-button" href="/api/artifacts/{view.id}" download="{escape(view.name)}" '
                f'title="{escape(view.media_type)}"><b>{escape(suffix)}</b> {escape(view.name)} '
                f"<small>{size_text(view.size)}</small></a>"
            )
        if not links:
            return ""
        return (
            f'<div class="ss-downloads" role="group" aria-label="Downloads">{"".join(links)}'
            f"<small>{escape(RESEARCH_ONLY)}</small></div>"
        )


def size_text(size: int) -> str:
    """Bytes as a person reads them: B, KiB, MiB or GiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.2f} GiB"
