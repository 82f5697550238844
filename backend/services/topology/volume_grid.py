"""The grid a volume is refined on: the box around its structure, and voxels as long in every direction.

A vessel fills a few hundredths of a scan. What lies outside a box around it is background before and after, so neither
the network nor the measures need look there; numbers inside the box are those of the whole.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backend.errors import UserError

Box = tuple[slice, slice, slice]

MARGIN = 16  # voxels of background kept around the structure: more than the network needs to see an end as an end
FAINT = 0.02  # probability below which nothing is looked for
LARGEST_BOX = 40_000_000  # voxels of the box, on the grid of the network: about 1.5 GiB while it is refined
MILD = 1.5  # longest over shortest edge of a voxel up to which the network takes it as it is
MOST = 4  # times that voxels are divided along an axis at most; in between there is nothing but interpolation


def box_around(mask: np.ndarray, margin: int = MARGIN) -> Box:
    """Slices of the smallest box that holds every true voxel of a bool [X, Y, Z] and a margin, within the volume.

    Raises ``ValueError`` for a mask without a true voxel.
    """
    found = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        places = np.flatnonzero(mask.any(axis=others))
        if not len(places):
            raise ValueError("the mask is empty")
        found.append(slice(max(0, int(places[0]) - margin), min(mask.shape[axis], int(places[-1]) + 1 + margin)))
    return found[0], found[1], found[2]


def require_size(shape: tuple[int, ...]) -> None:
    """Raise ``UserError`` when a box of that shape is more than can be refined in one piece."""
    voxels = int(np.prod(shape))
    if voxels > LARGEST_BOX:
        raise UserError(
            "The structure is too large to repair in one piece.",
            f"The box around it measures {' × '.join(map(str, shape))} voxels, {voxels / 1e6:.0f} million; "
            f"{LARGEST_BOX / 1e6:.0f} million fit.",
            "Crop the volume into parts, or halve its resolution.",
        )


def divisions(spacing_mm: tuple[float, float, float] | None, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Into how many parts a voxel is divided along x, y and z to be nearly a cube; (1, 1, 1) leaves it as it is.

    Voxels up to :data:`MILD` longer than wide stay; so does everything where the divided box would be too large, as far
    as needed.
    """
    if spacing_mm is None or max(spacing_mm) <= MILD * min(spacing_mm):
        return 1, 1, 1
    parts = [min(MOST, max(1, round(step / min(spacing_mm)))) for step in spacing_mm]
    while max(parts) > 1 and np.prod([(n - 1) * part + 1 for n, part in zip(shape, parts, strict=True)]) > LARGEST_BOX:
        parts[parts.index(max(parts))] -= 1
    return parts[0], parts[1], parts[2]


def divided(probability: np.ndarray, parts: tuple[int, int, int]) -> np.ndarray:
    """A map [X, Y, Z] on the finer grid, float32, by linear interpolation: every given voxel is one of the new ones.

    Each side of n becomes (n - 1) × part + 1, so that ``[::part]`` along each axis gives the map back exactly.
    """
    fine = np.asarray(probability, np.float32)
    for axis, part in enumerate(parts):
        if part == 1:
            continue
        fine = np.moveaxis(fine, axis, 0)
        new = np.empty(((len(fine) - 1) * part + 1, *fine.shape[1:]), np.float32)
        new[::part] = fine
        for step in range(1, part):
            share = np.float32(step / part)
            new[step::part] = fine[:-1] * (1 - share) + fine[1:] * share
        fine = np.moveaxis(new, 0, axis)
    return np.ascontiguousarray(fine)


def refined_in_box(
    probability: np.ndarray, box: Box, parts: tuple[int, int, int], refine: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """The map [X, Y, Z] with what ``refine`` makes of the box in it, worked out on the divided grid, float32 0..1."""
    refined = np.array(probability, np.float32)
    x, y, z = parts
    refined[box] = refine(divided(probability[box], parts))[::x, ::y, ::z]
    return refined


def spacing_note(spacing_mm: tuple[float, float, float] | None, parts: tuple[int, int, int], cubic: bool) -> str:
    """One sentence on voxels that are no cubes and what was done about it; '' where there is nothing to say."""
    if spacing_mm is None:
        return "The file does not tell the size of a voxel; voxels are taken as cubes and nothing is given in mm or ml."
    size = " × ".join(f"{step:.3g}" for step in spacing_mm)
    ratio = max(spacing_mm) / min(spacing_mm)
    if ratio <= 1.05:
        return ""
    if max(parts) == 1:
        why = "" if ratio <= MILD or not cubic else " because finer ones would not fit"
        return f"Voxels of {size} mm are no cubes; the network took them as they are{why}."
    inner = tuple(step / part for step, part in zip(spacing_mm, parts, strict=True))
    fine = " × ".join(f"{step:.3g}" for step in inner)
    still = "" if max(inner) <= MILD * min(inner) else " Those are still no cubes: trust repairs between slices less."
    return (
        f"Voxels of {size} mm were divided into {fine} mm for the network and its result read back at the given ones."
        f"{still}"
    )
