"""What a chosen file holds, in one line, and the choices it needs, for pictures and for volumes."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from backend.errors import UserError
from backend.services.topology.classes import EACH_LABEL, EACH_TITLE
from backend.services.topology.requests import DEFAULT_WEIGHTS, EVERY_LABEL, FILL_BELOW, REMOVE_BELOW
from backend.services.topology.volume import VOLUME_FILL_BELOW, VOLUME_REMOVE_BELOW, VOLUME_WEIGHTS

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime
    from backend.services.topology.input import Contents

NOTHING_CHOSEN = '<p class="ss-empty">Nothing is chosen yet: click a sample, or drop a file.</p>'
KINDS = {"binary": "binary mask", "probability": "probability map", "labels": "label map"}
DEFAULTS = {2: DEFAULT_WEIGHTS, 3: VOLUME_WEIGHTS}
CLEANING = {2: (REMOVE_BELOW, FILL_BELOW), 3: (VOLUME_REMOVE_BELOW, VOLUME_FILL_BELOW)}
ONE_MAP = ""  # in the choice of labels: the one that the choice of maps names
MANY_LABELS = 200  # in the menu; a label map with more is no label map of structures


@dataclass(frozen=True)
class Looked:
    """What the tab shows of a chosen file; ``dimensions`` is 2 or 3, or 0 where it is nothing that can be repaired."""

    html: str
    dimensions: int
    contents: Contents | None = None
    channels: tuple[str, ...] = ()
    channel: str = ""
    uneven: bool = False

    @property
    def kinds_of_one_stack(self) -> bool:
        """Whether the maps to choose from are the classes of one stack or the segments of one segmentation."""
        stems = {name.partition("/")[0] if "/" in name else name.partition(" ")[0] for name in self.channels}
        return len(self.channels) > 1 and len(stems) == 1 and all("/" in name or " " in name for name in self.channels)

    def updates(self, runtime: Runtime, weights: str, cleaning: tuple[Any, Any]) -> tuple[Any, ...]:
        """Values for the line, label, map, weights, cubic voxels, dimensions, button and the two sizes of the cleaning.

        ``weights`` and ``cleaning`` are what is set now; what a person chose stays where it fits.
        """
        nothing = gr.update(choices=[], value=None, visible=False)
        if self.contents is None:
            # A map that cannot be read may stand beside one that can: the choice stays.
            maps = nothing if self.html == NOTHING_CHOSEN else gr.update()
            off = gr.update(interactive=False)
            return self.html, nothing, maps, gr.update(), gr.update(visible=False), "", off, *cleaning
        labels = nothing
        found = self.contents.labels
        if self.contents.kind == "labels" and len(found) > 1:
            choices = [(f"label {entry.value} ({entry.share:.1%})", entry.value) for entry in found[:MANY_LABELS]]
            choices += [(EACH_TITLE, EACH_LABEL), ("all labels together", EVERY_LABEL)]
            labels = gr.update(choices=choices, value=found[0].value, visible=True)
        maps = gr.update(choices=list(self.channels), value=self.channel, visible=True) if self.channels else nothing
        if self.kinds_of_one_stack:
            either: list[tuple[str, str | int]] = [("the map below", ONE_MAP), (EACH_TITLE, EACH_LABEL)]
            labels = gr.update(choices=either, value=ONE_MAP, visible=True)
        names = weight_names(runtime, self.dimensions)
        chosen = weights if weights in names else names[0]
        return (
            self.html,
            labels,
            maps,
            gr.update(choices=names, value=chosen),
            gr.update(visible=self.uneven),
            str(self.dimensions),
            gr.update(interactive=True),
            *(CLEANING[self.dimensions] if cleaning in CLEANING.values() else cleaning),
        )


def weight_names(runtime: Runtime, dimensions: int) -> list[str]:
    """Refiners on disk for so many dimensions, the default first, so that the job can say how to get it."""
    found = [
        weight.name
        for weight in runtime.weights.available()
        if weight.name.startswith("topology/") and weight.config.get("arguments", {}).get("dimensions", 2) == dimensions
    ]
    default = DEFAULTS[dimensions]
    return [default, *(name for name in found if name != default)] if default in found or not found else found


def look(runtime: Runtime, shell: Shell, artifact: str, reading: Any, channel: str) -> Looked:
    """Look into a stored file; one that is no segmentation says so in the line."""
    from backend.services.topology.view import look as look_picture
    from backend.services.topology.volume_view import look_volume

    if not artifact:
        return Looked(NOTHING_CHOSEN, 0)
    try:
        solid = look_volume(runtime, artifact, reading=reading, channel=channel)
        if solid is not None:
            return _volume(runtime, *solid)
        found, channels, chosen = look_picture(runtime, artifact, reading=reading, channel=channel)
    except UserError as error:
        return Looked(shell.error(error), 0)
    return _picture(runtime, artifact, found, channels, chosen)


def _picture(runtime: Runtime, artifact: str, found: Contents, channels: tuple[str, ...], chosen: str) -> Looked:
    from backend.services.topology.view import seconds_per_megapixel

    expected = _expected(seconds_per_megapixel(runtime), found.height * found.width / 1e6)
    size = f"{found.width} × {found.height} pixels"
    picture = f"/api/artifacts/{escape(artifact)}/image?side=256"
    return Looked(_line(found, size, expected, picture), 2, found, channels, chosen)


def _volume(runtime: Runtime, found: Contents, opened: Any) -> Looked:
    from backend.services.topology.render import projection_png
    from backend.services.topology.volume_grid import MILD
    from backend.services.topology.volume_view import box_megavoxels, seconds_per_megavoxel

    expected = _expected(seconds_per_megavoxel(runtime), box_megavoxels(opened))
    size = f"{found.width} × {found.height} × {found.depth} voxels"
    spacing = opened.spacing_mm
    size += " of " + " × ".join(f"{step:.3g}" for step in spacing) + " mm" if spacing else ", size of a voxel unknown"
    png = base64.b64encode(projection_png(opened.array / float(opened.array.max()))).decode()
    uneven = spacing is not None and max(spacing) > MILD * min(spacing)
    line = _line(found, size, expected, f"data:image/png;base64,{png}")
    return Looked(line, 3, found, opened.channels, opened.channel, uneven)


def _expected(pace: float | None, size: float) -> str:
    if pace is None:
        return "The first repair on this machine measures how long it takes."
    seconds = pace * size
    if seconds < 90:
        return f"Takes about {max(1, round(seconds))} s on this machine."
    return f"Takes about {round(seconds / 60)} min on this machine."


def _line(found: Contents, size: str, expected: str, picture: str) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    return (
        f'<div class="ss-card ss-topology-input"><img src="{picture}" alt="The chosen mask">'
        f"<div><b>{KINDS[found.kind]}, {size}.</b> {expected}<ul>{notes}</ul></div></div>"
    )
