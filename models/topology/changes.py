"""What a repair changed, place by place, and what each change did to the topology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.metrics.betti import Connectivity, dual, euler_number, label

KINDS = (
    "removed_island",
    "added_island",
    "closed_break",
    "opened_bridge",
    "filled_hole",
    "opened_hole",
    "thickened",
    "thinned",
)


@dataclass(frozen=True)
class Change:
    """One changed place. ``label``: its number in the label map, from 1; ``pixels``: its area or volume.

    ``bbox``: (low…, high…) with exclusive high; ``centroid`` in pixels; ``effect``: change of each Betti number that
    this place alone makes to the mask before.
    """

    kind: str
    label: int
    pixels: int
    bbox: tuple[int, ...]
    centroid: tuple[float, ...]
    effect: tuple[int, ...]


def find_changes(
    before: np.ndarray, after: np.ndarray, connectivity: Connectivity = "full"
) -> tuple[list[Change], np.ndarray]:
    """Changed places between two bool masks of one shape, largest effect first, and their label map (int32).

    A place is a connected set of pixels that all appeared or all vanished. Its kind follows from what it does, taken
    alone, to the Betti numbers of the mask before: an added place that touches several pieces or closes a loop mends a
    break; one that covers a hole fills it; a removed place that parts a piece or opens a loop opens a bridge; and so
    on. Places without effect thicken or thin.
    """
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    if before.shape != after.shape:
        raise ValueError(f"masks of different shapes cannot be compared: {before.shape} and {after.shape}")
    # Added places join the foreground, removed ones the background: each is connected as its new side is.
    added, count = label(after & ~before, connectivity)
    removed, _ = label(before & ~after, dual(connectivity))
    labels = np.where(removed > 0, removed + count, added).astype(np.int32)
    # One ring of background all round, so that a place at the border has its whole neighbourhood.
    wide, places = np.pad(before, 1), np.pad(labels, 1)
    pieces, rest = label(wide, connectivity)[0], label(~wide, dual(connectivity))[0]
    piece_sizes, rest_sizes = np.bincount(pieces.ravel()), np.bincount(rest.ravel())
    changes = []
    for index, place in enumerate(ndimage.find_objects(labels), start=1):
        if place is None:
            continue
        around = tuple(slice(s.start, s.stop + 2) for s in place)
        here = places[around] == index
        pixels = int(np.count_nonzero(here))
        if index <= count:
            effect = _effect_of_addition(wide[around], here, pieces[around], rest[around], rest_sizes, connectivity)
            kind = _kind_of_addition(effect)
        else:
            effect = _effect_of_removal(wide[around], here, pieces[around], rest[around], connectivity)
            whole = pixels == piece_sizes[int(pieces[around][here][0])]
            kind = "removed_island" if whole else _kind_of_removal(effect)
        centroid = tuple(float(c + s.start - 1) for c, s in zip(ndimage.center_of_mass(here), place, strict=True))
        bbox = tuple(s.start for s in place) + tuple(s.stop for s in place)
        changes.append(Change(kind, index, pixels, bbox, centroid, effect))
    changes.sort(key=lambda change: (-sum(map(abs, change.effect)), -change.pixels, change.label))
    return changes, labels


def _touching(labels: np.ndarray, here: np.ndarray, connectivity: Connectivity) -> int:
    """How many components of a labelling (0: none) the place is adjacent to or made of."""
    rank = here.ndim if connectivity == "full" else 1
    near = ndimage.binary_dilation(here, ndimage.generate_binary_structure(here.ndim, rank))
    return int(np.count_nonzero(np.unique(labels[near])))


def _euler_change(local: np.ndarray, changed: np.ndarray, connectivity: Connectivity) -> int:
    """χ after minus χ before. Cells that a place can change lie within one pixel of it, so a box decides."""
    return euler_number(changed, connectivity) - euler_number(local, connectivity)


def _effect_of_addition(
    local: np.ndarray,
    here: np.ndarray,
    pieces: np.ndarray,
    rest: np.ndarray,
    rest_sizes: np.ndarray,
    connectivity: Connectivity,
) -> tuple[int, ...]:
    """Change of the Betti numbers by adding the place: it is one piece more and swallows those it touches.

    In 3D a cavity that the place newly closes cannot be told from its surroundings and counts as a loop fewer.
    """
    d0 = 1 - _touching(pieces, here, connectivity)
    euler = _euler_change(local, local | here, connectivity)
    if local.ndim == 2:
        return d0, d0 - euler
    inside = np.bincount(rest[here], minlength=len(rest_sizes))
    d2 = -int(np.count_nonzero((inside > 0) & (inside == rest_sizes)))
    return d0, d0 + d2 - euler, d2


def _effect_of_removal(
    local: np.ndarray, here: np.ndarray, pieces: np.ndarray, rest: np.ndarray, connectivity: Connectivity
) -> tuple[int, ...]:
    """Change of the Betti numbers by removing the place, dual to adding it to the background.

    In 3D a piece that the removal parts counts as a loop fewer.
    """
    joined = _touching(rest, here, dual(connectivity))
    holes = 1 - joined
    euler = _euler_change(local, local & ~here, connectivity)
    if local.ndim == 2:
        return euler + holes, holes
    gone = [int(n) for n in np.unique(pieces[here]) if not np.any(pieces[~here & local] == n)]
    d0 = -len(gone)
    return d0, d0 + holes - euler, holes


def _kind_of_addition(effect: tuple[int, ...]) -> str:
    pieces, loops = effect[0], effect[1]
    if pieces > 0:
        return "added_island"
    if pieces < 0 or loops > 0:
        return "closed_break"
    if loops < 0 or (len(effect) == 3 and effect[2] < 0):
        return "filled_hole"
    return "thickened"


def _kind_of_removal(effect: tuple[int, ...]) -> str:
    pieces, loops = effect[0], effect[1]
    if pieces > 0 or loops < 0:
        return "opened_bridge"
    if loops > 0 or (len(effect) == 3 and effect[2] > 0):
        return "opened_hole"
    return "thinned"
