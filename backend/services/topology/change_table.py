"""The change table of pictures, volumes and label maps as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backend.provenance import Provenance
from backend.services.topology.cut import COLUMNS
from backend.services.topology.render import BY_KIND, VOLUME_MEANINGS, volume_title
from backend.services.topology.requests import ChangeRow
from backend.services.topology.volume import VolumeChange
from backend.services.topology.volume_cut import COLUMNS as VOLUME_COLUMNS


def write_change_table(
    target: Path,
    changes: Sequence[tuple[int, ChangeRow | VolumeChange]],
    solid: bool,
    labelled: bool,
    provenance: Provenance,
) -> None:
    """Write (label, change) pairs, one a row; ``solid`` says that they are of a volume.

    Where ``labelled`` the first column is the label, else the labels are left out.
    """
    from backend.media.write_csv import write_csv

    columns = VOLUME_COLUMNS if solid else COLUMNS
    if labelled:
        columns = ("label", *columns)
    rows = (((label,) if labelled else ()) + _cells(change) for label, change in changes)
    write_csv(target, columns, rows, provenance)


def _cells(change: ChangeRow | VolumeChange) -> tuple[object, ...]:
    if isinstance(change, VolumeChange):
        box = (change.x0, change.y0, change.z0, change.x1, change.y1, change.z1)
        place = (*box, change.cx, change.cy, change.cz, *(change.mm or (None, None, None)))
        effect = (change.b0, change.b1, change.b2)
        return (
            change.n,
            volume_title(change),
            change.voxels,
            change.ml,
            *place,
            *effect,
            VOLUME_MEANINGS[change.kind],
        )
    style = BY_KIND[change.kind]
    flat = (change.x0, change.y0, change.x1, change.y1, change.cx, change.cy)
    return (change.n, style.title, change.pixels, *flat, change.b0, change.b1, style.meaning)
