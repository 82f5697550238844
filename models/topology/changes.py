"""What a repair changed, place by place, and what each change did to the topology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.metrics.betti import Connectivity, betti_numbers, dual, euler_number, label

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

    A place is a connected set of pixels that all appeared or all vanished; a piece that vanished altogether, or a hole
    that was filled altogether, is one place. Its kind follows from what it does, taken alone, to the Betti numbers of
    the mask before: an added place that touches several pieces or closes a loop mends a break; one that covers a hole
    fills it; a removed place that parts a piece or opens a loop opens a bridge; and so on. Places without effect
    thicken or thin.
    """
    before, after = np.asarray(before, bool), np.asarray(after, bool)
    if before.shape != after.shape:
        raise ValueError(f"masks of different shapes cannot be compared: {before.shape} and {after.shape}")
    # One ring of background all round, so that a place at the border has its whole neighbourhood.
    wide, wide_after = np.pad(before, 1), np.pad(after, 1)
    pieces, rest = label(wide, connectivity)[0], label(~wide, dual(connectivity))[0]
    # Added places join the foreground, removed ones the background: each is connected as its new side is.
    added, added_parts, added_all = _places(wide_after & ~wide, rest, connectivity)
    removed, removed_parts, _ = _places(wide & ~wide_after, pieces, dual(connectivity))
    places = np.where(removed > 0, removed + added_all, added).astype(np.int32)
    changes = []
    for index, place in enumerate(ndimage.find_objects(places), start=1):
        if place is None:
            continue
        around = tuple(slice(s.start - 1, s.stop + 1) for s in place)
        here = places[around] == index
        if index <= added_parts:
            effect = _effect_of_addition(wide[around], here, pieces[around], connectivity)
        elif index <= added_all:  # a whole hole: its own numbers, which by duality come in reverse
            effect = tuple(-number for number in reversed(betti_numbers(here, dual(connectivity))))
        elif index <= added_all + removed_parts:
            effect = _effect_of_removal(wide[around], here, rest[around], connectivity)
        else:  # a whole piece
            effect = tuple(-number for number in betti_numbers(here, connectivity))
        kind = _kind_of_addition(effect) if index <= added_all else _kind_of_removal(effect)
        centroid = tuple(float(c + s.start - 1) for c, s in zip(ndimage.center_of_mass(here), around, strict=True))
        bbox = tuple(s.start - 1 for s in place) + tuple(s.stop - 1 for s in place)
        changes.append(Change(kind, index, int(np.count_nonzero(here)), bbox, centroid, effect))
    changes.sort(key=lambda change: (-sum(map(abs, change.effect)), -change.pixels, change.label))
    return changes, np.ascontiguousarray(places[(slice(1, -1),) * before.ndim])


def _places(changed: np.ndarray, regions: np.ndarray, connectivity: Connectivity) -> tuple[np.ndarray, int, int]:
    """Number the changed places: first those within ``regions`` (a labelling, 0: none), then regions that change whole.

    Returns the labels, how many are parts of regions, and how many there are.
    """
    sizes = np.bincount(regions.ravel())
    whole = np.bincount(regions[changed], minlength=len(sizes)) == sizes
    whole[0] = False
    labels, parts = label(changed & ~whole[regions], connectivity)
    numbers = np.where(whole, parts + np.cumsum(whole), 0)
    return labels + numbers[regions], parts, parts + int(np.count_nonzero(whole))


def _touching(labels: np.ndarray, here: np.ndarray, connectivity: Connectivity) -> int:
    """How many components of a labelling (0: none) the place is adjacent to or made of."""
    rank = here.ndim if connectivity == "full" else 1
    near = ndimage.binary_dilation(here, ndimage.generate_binary_structure(here.ndim, rank))
    return int(np.count_nonzero(np.unique(labels[near])))


def _euler_change(local: np.ndarray, changed: np.ndarray, connectivity: Connectivity) -> int:
    """χ after minus χ before. Cells that a place can change lie within one pixel of it, so a box decides."""
    return euler_number(changed, connectivity) - euler_number(local, connectivity)


def _effect_of_addition(
    local: np.ndarray, here: np.ndarray, pieces: np.ndarray, connectivity: Connectivity
) -> tuple[int, ...]:
    """Change of the Betti numbers by adding a place that fills no hole: a piece more that swallows those it touches.

    In 3D a cavity that the place newly closes cannot be told from its surroundings and counts as a loop fewer.
    """
    d0 = 1 - _touching(pieces, here, connectivity)
    euler = _euler_change(local, local | here, connectivity)
    return (d0, d0 - euler) if local.ndim == 2 else (d0, d0 - euler, 0)


def _effect_of_removal(
    local: np.ndarray, here: np.ndarray, rest: np.ndarray, connectivity: Connectivity
) -> tuple[int, ...]:
    """Change of the Betti numbers by removing a place that is no whole piece, dual to adding it to the background.

    In 3D a piece that the removal parts counts as a loop fewer.
    """
    holes = 1 - _touching(rest, here, dual(connectivity))
    euler = _euler_change(local, local & ~here, connectivity)
    return (euler + holes, holes) if local.ndim == 2 else (0, holes - euler, holes)


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
    if pieces < 0:
        return "removed_island"
    if pieces > 0 or loops < 0:
        return "opened_bridge"
    if loops > 0 or (len(effect) == 3 and effect[2] > 0):
        return "opened_hole"
    return "thinned"
