"""A refined probability at one threshold: the mask, what changed, and how it is stored. No network is run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.provenance import Provenance
from backend.services.keeper import Keeper
from backend.services.topology.compare import betti
from backend.services.topology.render import BY_KIND, change_picture
from backend.services.topology.requests import Betti, ChangeRow, RefineRequest, ThresholdRequest
from backend.settings import get_settings

LISTED_CHANGES = 500  # changes kept in a result and shown in the page; the table has all
FULL = 65535  # a stored probability is 16 bit
PLACE = ("left px", "top px", "right px", "bottom px", "x px", "y px")
COLUMNS = ("number", "kind", "pixels", *PLACE, "change of b0", "change of b1", "meaning")


@dataclass(frozen=True)
class Cut:
    """A refined probability at one threshold: bool mask, uint8 layer of kind codes, both [H, W], and the changes."""

    mask: np.ndarray
    codes: np.ndarray
    changes: tuple[ChangeRow, ...]
    before_betti: Betti
    after_betti: Betti
    dice: float
    changed: int

    @property
    def topological(self) -> int:
        """How many of the changes alter a Betti number."""
        return sum(BY_KIND[change.kind].topological for change in self.changes)


def cut(before: np.ndarray, probability: np.ndarray, threshold: float, clean: tuple[int, int, float]) -> Cut:
    """Threshold a refined probability, clean it, and list what changed.

    ``before`` is bool [H, W]; ``probability`` uint16 [H, W], 0..65535 for 0..1; ``clean`` is ``remove_below``,
    ``fill_below`` (pixels) and ``fill_share`` of the request. The same arguments give the same cut,
    so a threshold chosen later equals one chosen at first.
    """
    from models.metrics.overlap import dice
    from models.topology.repairs import tidy

    remove_below, fill_below, fill_share = clean
    mask = tidy(probability >= round(threshold * FULL), remove_below, fill_share, least=fill_below)
    rows, codes = list_changes(before, mask)
    return Cut(mask, codes, rows, betti(before), betti(mask), float(dice(mask, before)), int((mask != before).sum()))


def cleaning(request: RefineRequest | ThresholdRequest) -> tuple[int, int, float]:
    """What :func:`cut` takes as ``clean``."""
    return request.remove_below, request.fill_below, request.fill_share


def list_changes(before: np.ndarray, after: np.ndarray) -> tuple[tuple[ChangeRow, ...], np.ndarray]:
    """Every changed place of two bool masks [H, W], largest effect first, and the uint8 layer of kind codes."""
    from models.topology.changes import find_changes

    changes, labels = find_changes(before, after)
    codes = np.zeros(int(labels.max()) + 1, np.uint8)
    rows = []
    for number, change in enumerate(changes, start=1):
        codes[change.label] = BY_KIND[change.kind].code
        (top, left, bottom, right), (cy, cx), (b0, b1) = change.bbox, change.centroid, change.effect
        rows.append(
            ChangeRow(
                n=number,
                kind=change.kind,
                pixels=change.pixels,
                x0=left,
                y0=top,
                x1=right,
                y1=bottom,
                cx=round(cx, 1),
                cy=round(cy, 1),
                b0=b0,
                b1=b1,
            )
        )
    return tuple(rows), codes[labels]


def quantise(probability: np.ndarray) -> np.ndarray:
    """Probability [H, W] in 0..1 as the uint16 that is stored, so that what is cut now can be cut again later."""
    return np.rint(np.clip(probability, 0, 1) * FULL).astype(np.uint16)


def read_pair(before: Path, probability: Path) -> tuple[np.ndarray, np.ndarray]:
    """A stored input mask as bool [H, W] and its refined probability as uint16 [H, W]. Raises ``UserError``."""
    from backend.media.images import read_image

    limits = Limits.from_settings(get_settings())
    mask, levels = read_image(before, limits), read_image(probability, limits)
    if mask.ndim != 2 or levels.dtype != np.uint16 or mask.shape != levels.shape:
        raise UserError(
            "These two files do not belong to one refinement.",
            "A mask and a 16-bit probability of the same size are needed.",
            "Open the result from its job and choose the threshold there.",
        )
    return mask > 127, levels


class MaskKeeper(Keeper):
    """Keeps pictures, and what a cut gives."""

    def png(self, name: str, pixels: np.ndarray, kind: str) -> str:
        """Id of a picture: bool, uint8 or uint16 [H, W], or uint8 [H, W, 3]."""
        from backend.media.write_png import write_png

        return self.add(name, "image/png", lambda path, provenance: write_png(path, pixels, provenance), kind)

    def cut(self, result: Cut, suffix: str = "") -> tuple[str, str, str]:
        """Ids of the mask, the change map and the change table; ``suffix`` ends their names."""
        from backend.media.write_csv import write_csv

        def write_table(path: Path, provenance: Provenance) -> None:
            write_csv(path, COLUMNS, map(_cells, result.changes), provenance)

        return (
            self.png(f"refined-mask{suffix}.png", result.mask, "mask"),
            self.png(f"changes{suffix}.png", change_picture(result.mask, result.codes), "image"),
            self.add(f"changes{suffix}.csv", "text/csv", write_table, "table"),
        )


def _cells(row: ChangeRow) -> tuple[object, ...]:
    place = (row.x0, row.y0, row.x1, row.y1, row.cx, row.cy)
    return (row.n, BY_KIND[row.kind].title, row.pixels, *place, row.b0, row.b1, BY_KIND[row.kind].meaning)
