"""A refined volume at one threshold: the mask, what changed and where, and how it is stored. No network is run here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.provenance import Provenance
from backend.services.topology.compare import betti
from backend.services.topology.cut import MaskKeeper
from backend.services.topology.render import BY_KIND, VOLUME_MEANINGS, volume_title
from backend.services.topology.requests import Betti
from backend.services.topology.volume import VolumeChange
from backend.services.topology.volume_grid import FAINT, Box, box_around
from backend.settings import get_settings

STEPS = 255  # levels of a stored probability
MEDIA_TYPE = "application/x-nifti"
PLACE = ("x0", "y0", "z0", "x1", "y1", "z1", "x", "y", "z", "R mm", "A mm", "S mm")
COLUMNS = ("number", "kind", "voxels", "ml", *PLACE, "change of b0", "change of b1", "change of b2", "meaning")


@dataclass(frozen=True)
class VolumeCut:
    """A refined volume at one threshold: bool mask and uint8 layer of kind codes, both [X, Y, Z], and the changes."""

    mask: np.ndarray
    codes: np.ndarray
    changes: tuple[VolumeChange, ...]
    before_betti: Betti
    after_betti: Betti
    dice: float
    changed: int

    @property
    def topological(self) -> int:
        """How many of the changes alter a Betti number."""
        return sum(BY_KIND[change.kind].topological for change in self.changes)


def cut_volume(
    before: np.ndarray,
    levels: np.ndarray,
    threshold: float,
    clean: tuple[int, int, float],
    affine: np.ndarray | None,
) -> VolumeCut:
    """Threshold a refined probability, clean it, and list what changed.

    ``before`` is bool [X, Y, Z]; ``levels`` uint8 of its shape, 0..255 for 0..1; ``clean`` is ``remove_below``,
    ``fill_below`` (voxels) and ``fill_share`` of the request; ``affine`` takes voxels to mm and is ``None`` where their
    size is unknown. The same arguments give the same cut, so a threshold chosen later equals one chosen at first.
    """
    from models.metrics.overlap import dice
    from models.topology.repairs import tidy

    remove_below, fill_below, fill_share = clean
    box = working_box(before, levels, threshold)
    start = before[box]
    mask = tidy(levels[box] >= _level(threshold), remove_below, fill_share, least=fill_below)
    corner = (box[0].start, box[1].start, box[2].start)
    rows, codes = list_volume_changes(start, mask, corner, affine)
    return VolumeCut(
        _placed(mask, before.shape, box),
        _placed(codes, before.shape, box),
        rows,
        betti(start),
        betti(mask),
        float(dice(mask, start)),
        int(np.count_nonzero(mask != start)),
    )


def working_box(before: np.ndarray, levels: np.ndarray, threshold: float = FAINT) -> Box:
    """The box outside which the mask before is empty and no threshold from :data:`FAINT` upwards finds anything."""
    return box_around(before | (levels >= _level(min(threshold, FAINT))), margin=1)


def _level(threshold: float) -> int:
    """The least stored level that counts as foreground."""
    return max(1, round(threshold * STEPS))


def list_volume_changes(
    before: np.ndarray, after: np.ndarray, corner: tuple[int, int, int], affine: np.ndarray | None
) -> tuple[tuple[VolumeChange, ...], np.ndarray]:
    """Every changed place of two bool masks [X, Y, Z], largest effect first, and the uint8 layer of kind codes.

    ``corner`` is where the two lie in the whole volume, to which places refer.
    """
    from models.topology.changes import find_changes

    changes, labels = find_changes(before, after)
    codes = np.zeros(int(labels.max()) + 1, np.uint8)
    litre = None if affine is None else abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    rows = []
    for number, change in enumerate(changes, start=1):
        codes[change.label] = BY_KIND[change.kind].code
        low = [int(a) + c for a, c in zip(change.bbox[:3], corner, strict=True)]
        high = [int(b) + c for b, c in zip(change.bbox[3:], corner, strict=True)]
        centre = [a + c for a, c in zip(change.centroid, corner, strict=True)]
        mm = None if affine is None else (affine @ np.array([*centre, 1.0]))[:3]
        inner = tuple(slice(a, b) for a, b in zip(change.bbox[:3], change.bbox[3:], strict=True))
        found = np.argwhere(labels[inner] == change.label) + low
        near = found[np.argmin(((found - centre) ** 2).sum(axis=1))]
        b0, b1, b2 = change.effect
        rows.append(
            VolumeChange(
                n=number,
                kind=change.kind,
                voxels=change.pixels,
                ml=None if litre is None else float(f"{change.pixels * litre:.4g}"),
                x0=low[0],
                y0=low[1],
                z0=low[2],
                x1=high[0],
                y1=high[1],
                z1=high[2],
                at=(int(near[0]), int(near[1]), int(near[2])),
                cx=round(centre[0], 1),
                cy=round(centre[1], 1),
                cz=round(centre[2], 1),
                mm=None if mm is None else (round(float(mm[0]), 1), round(float(mm[1]), 1), round(float(mm[2]), 1)),
                b0=b0,
                b1=b1,
                b2=b2,
            )
        )
    return tuple(rows), codes[labels]


def quantise_levels(probability: np.ndarray) -> np.ndarray:
    """Probability in 0..1 as the uint8 steps that are stored, so that what is cut now can be cut again later."""
    return np.rint(np.clip(probability, 0, 1) * STEPS).astype(np.uint8)


def read_volume_pair(before: Path, probability: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A stored input mask as bool [X, Y, Z], its refined probability as uint8 0..255, and their affine.

    Raises ``UserError`` for files that are not one refinement's.
    """
    from backend.media.nifti import read_nifti

    limits = Limits.from_settings(get_settings())
    mask, levels = read_nifti(before, limits), read_nifti(probability, limits)
    if mask.array.shape != levels.array.shape or mask.array.ndim != 3 or levels.array.dtype != np.float32:
        raise UserError(
            "These two files do not belong to one refinement.",
            "A mask and a probability of the same size are needed.",
            "Open the result from its job and choose the threshold there.",
        )
    return mask.array > 0, quantise_levels(levels.array), mask.affine


@dataclass(frozen=True)
class VolumeKeeper:
    """Stores the volumes that one job made, each with the same origin and place in space.

    ``known`` says that ``affine`` is the source's own and not made up of cubes of 1 mm.
    """

    keeper: MaskKeeper
    affine: np.ndarray
    known: bool

    def mask(self, name: str, mask: np.ndarray) -> str:
        """Id of a bool [X, Y, Z] as uint8 NIfTI."""
        return self._volume(name, mask.astype(np.uint8), "mask")

    def probability(self, name: str, levels: np.ndarray) -> str:
        """Id of uint8 levels as a float32 NIfTI in 0..1, for programs that know nothing of levels."""
        return self._volume(name, levels / np.float32(STEPS), "map")

    def cut(self, result: VolumeCut, suffix: str = "") -> tuple[str, str, str]:
        """Ids of the mask, the change map and the change table; ``suffix`` ends their names."""
        from backend.media.write_csv import write_csv

        def write_table(path: Path, provenance: Provenance) -> None:
            write_csv(path, COLUMNS, map(_cells, result.changes), provenance)

        return (
            self.mask(f"refined-mask{suffix}.nii.gz", result.mask),
            self._volume(f"changes{suffix}.nii.gz", result.codes, "map"),
            self.keeper.add(f"changes{suffix}.csv", "text/csv", write_table, "table"),
        )

    def _volume(self, name: str, array: np.ndarray, kind: str) -> str:
        from backend.media.write_nifti import write_nifti

        def write(path: Path, provenance: Provenance) -> None:
            write_nifti(path, array, self.affine, provenance)

        facts = {"shape": [int(side) for side in array.shape], "spacing_known": self.known}
        return self.keeper.add(name, MEDIA_TYPE, write, kind, facts)


def _placed(inner: np.ndarray, shape: tuple[int, ...], box: Box) -> np.ndarray:
    whole = np.zeros(shape, inner.dtype)
    whole[box] = inner
    return whole


def _cells(row: VolumeChange) -> tuple[object, ...]:
    mm = row.mm if row.mm is not None else ("", "", "")
    place = (row.x0, row.y0, row.z0, row.x1, row.y1, row.z1, row.cx, row.cy, row.cz, *mm)
    ml = "" if row.ml is None else row.ml
    return (row.n, volume_title(row), row.voxels, ml, *place, row.b0, row.b1, row.b2, VOLUME_MEANINGS[row.kind])
