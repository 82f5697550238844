"""Pictures of label maps: one colour a class, and where a label became another one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.services.topology.classes_colours import colour_of
from backend.services.topology.render import BACKGROUND

DIM = 0.38  # brightness of what stayed, in the picture of changes


def most_changed_slice(before: np.ndarray, after: np.ndarray) -> int | None:
    """Index along z of the slice of [X, Y, Z] in which most voxels changed; ``None`` for a picture."""
    if before.ndim == 2:
        return None
    changed = np.count_nonzero(before != after, axis=(0, 1))
    if changed.any():
        return int(changed.argmax())
    return int(np.count_nonzero(before != before.min(), axis=(0, 1)).argmax())


def shown_slice(array: np.ndarray, index: int | None) -> np.ndarray:
    """The picture [rows, columns] of a picture, or of slice ``index`` of [X, Y, Z] seen with rows downwards."""
    return array if index is None else array[:, :, index].T[::-1]


def draw_classes(
    before: np.ndarray, after: np.ndarray, values: Sequence[int], index: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Before, after and changes as RGB uint8 [H, W, 3], of a volume slice ``index``.

    In the third what stayed is dim, and a changed pixel has the full colour of its new class, or white where it became
    background.
    """
    first, last = shown_slice(before, index), shown_slice(after, index)
    start, end = _coloured(first, values), _coloured(last, values)
    changes = (end * DIM).astype(np.uint8)
    moved = first != last
    changes[moved] = end[moved]
    changes[moved & ~np.isin(last, list(values))] = 255
    return start, end, changes


def _coloured(labels: np.ndarray, values: Sequence[int]) -> np.ndarray:
    picture = np.empty((*labels.shape, 3), np.uint8)
    picture[:] = BACKGROUND
    for place, value in enumerate(values):
        colour = colour_of(place)
        picture[labels == value] = [int(colour[at : at + 2], 16) for at in (1, 3, 5)]
    return picture
