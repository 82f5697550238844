"""The masks that a refiner is trained on: stored uploads in, bool arrays out, or one clear sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.services.topology.training import FEWEST
from backend.settings import get_settings
from backend.training.topology_masks import as_mask, flat, open_array, why_no_mask

if TYPE_CHECKING:
    from backend.runtime import Runtime

LARGEST = 64_000_000  # pixels of one mask
LARGEST_TOGETHER = 400_000_000  # pixels of all masks; each takes one byte while training runs
SMALLEST_SIDE = 16  # pixels
CUBIC = 1.05  # voxel sides may differ by this factor before a volume is resampled
READABLE = (".png", ".tif", ".tiff", ".bmp", ".npy", ".npz", ".nii", ".nii.gz", ".gz")


@dataclass(frozen=True)
class MaskFacts:
    """One mask as the page lists it: its shape, and the share of foreground, 0 to 1; ``problem`` is '' for a good one.

    ``cubic`` tells that its voxels were no cubes and it was resampled, ``shape`` being the one after it.
    """

    shape: tuple[int, ...]
    share: float
    cubic: bool = False
    problem: str = ""


@dataclass(frozen=True)
class MaskSet:
    """Masks that can be trained on together: bool (H, W) or (D, H, W); ``notes`` say what was done to them."""

    masks: tuple[np.ndarray, ...]
    dimensions: int
    notes: tuple[str, ...]


def read_training_masks(paths: Sequence[Path], callback: Callable[[int, int], None] | None = None) -> MaskSet:
    """The masks of the files, in their order. Raises ``UserError`` where they cannot be trained on together."""
    facts, masks = [], []
    for number, path in enumerate(paths, 1):
        mask, fact = _read(path)
        if fact.problem:
            raise UserError(
                f"Mask {number} of {len(paths)} cannot be used.", fact.problem, "Take it out of the list, or mend it."
            )
        facts.append(fact)
        masks.append(mask)
        if sum(mask.size for mask in masks) > LARGEST_TOGETHER:
            raise _too_large()
        if callback:
            callback(number, len(paths))
    notes = check_together(facts)
    kept = tuple(mask for mask in masks if mask is not None and mask.any() and not mask.all())
    return MaskSet(kept, kept[0].ndim, notes)


def read_mask(path: Path) -> np.ndarray:
    """One stored mask, bool. Raises ``UserError`` for a file that is no mask."""
    mask, fact = _read(path)
    if fact.problem:
        raise UserError("This file is no mask.", fact.problem, "Choose another.")
    return mask


def look_at(runtime: Runtime, ids: Sequence[str]) -> list[MaskFacts]:
    """Facts of uploads, each read once and remembered. Raises ``UserError`` for an id that does not exist."""
    return [_facts(str(runtime.artifacts.path(artifact_id))) for artifact_id in ids]


def check_together(facts: Sequence[MaskFacts]) -> tuple[str, ...]:
    """Notes on masks that can be trained on together. Raises ``UserError`` where they cannot."""
    if not facts:
        raise UserError("There are no masks yet.", "", f"Drop at least {FEWEST} clean masks.")
    dimensions = {len(fact.shape) for fact in facts}
    if len(dimensions) > 1:
        flat_ones = sum(len(fact.shape) == 2 for fact in facts)
        raise UserError(
            "The masks mix pictures and volumes.",
            f"{flat_ones} have two dimensions and {len(facts) - flat_ones} have three; a refiner is for one kind.",
            "Train one refiner on the pictures and another on the volumes.",
        )
    useful = [fact for fact in facts if 0 < fact.share < 1]
    if not useful:
        what = "empty" if all(fact.share == 0 for fact in facts) else "empty or all foreground"
        raise UserError(
            f"All masks are {what}.", "There is no structure in them to learn from.", "Give masks with a structure."
        )
    if len(useful) < FEWEST:
        left_out = len(facts) - len(useful)
        more = f"; {left_out} more are empty or all foreground" if left_out else ""
        raise UserError(
            f"{len(useful)} mask{' is' if len(useful) == 1 else 's are'} too few to train on{more}.",
            "A refiner has to see what your structures have in common.",
            f"Give at least {FEWEST}; ten or more are better, and only from five on can one be held out for measuring.",
        )
    if sum(int(np.prod(fact.shape)) for fact in facts) > LARGEST_TOGETHER:
        raise _too_large()
    notes = []
    if len(useful) < len(facts):
        notes.append(f"{len(facts) - len(useful)} masks are empty or all foreground and are left out.")
    if np.median([fact.share for fact in useful]) > 0.5:
        notes.append("Most pixels are foreground: if the structure is the dark part, exchange the two values first.")
    if any(fact.cubic for fact in facts):
        notes.append("Volumes whose voxels are no cubes were resampled to cubes of their shortest side.")
    return tuple(notes)


@lru_cache(maxsize=2000)
def _facts(path: str) -> MaskFacts:
    return _read(Path(path))[1]


def _read(path: Path) -> tuple[np.ndarray, MaskFacts]:
    nothing = np.zeros((0, 0), bool)
    try:
        array, spacing = _open(path)
    except UserError as error:
        return nothing, MaskFacts((), 0, problem=f"{error.what} {error.why}".strip())
    array = flat(array)
    problem = why_no_mask(array)
    if not problem and array.size > LARGEST:
        problem = f"It is too large: {_sides(array.shape)}. Crop it to at most {LARGEST / 1e6:.0f} million pixels."
    if problem:
        return nothing, MaskFacts(tuple(array.shape), 0, problem=problem)
    mask = as_mask(array)
    cubic = len(spacing) == mask.ndim == 3 and max(spacing) > CUBIC * min(spacing)
    if cubic:
        mask = _as_cubes(mask, spacing)
    if min(mask.shape) < SMALLEST_SIDE:
        problem = f"It is too small: {_sides(mask.shape)}. Each side needs {SMALLEST_SIDE} pixels."
        return nothing, MaskFacts(tuple(mask.shape), 0, cubic, problem)
    return mask, MaskFacts(tuple(mask.shape), float(mask.mean()), cubic)


def _open(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """The array of a stored file and its voxel sides in millimetres, () where it has none."""
    if not path.name.lower().endswith(READABLE):
        raise UserError("It is of a kind that cannot be trained on.", "Masks are PNG, TIFF, NPY, NPZ or NIfTI files.")
    limits = Limits.from_settings(get_settings())
    if path.name.lower().endswith((".nii", ".nii.gz", ".gz")):
        from backend.media.nifti import read_nifti

        volume = read_nifti(path, limits)
        return np.asarray(volume.array), tuple(volume.spacing_mm)
    return open_array(path, limits), ()


def _as_cubes(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    from scipy import ndimage

    zoom = np.array(spacing) / min(spacing)
    if mask.size * float(np.prod(zoom)) > LARGEST:
        return mask
    return ndimage.zoom(mask.astype(np.float32), zoom, order=1, grid_mode=True, mode="nearest") > 0.5


def _sides(shape: Sequence[int]) -> str:
    return " × ".join(f"{side:,}" for side in shape) + " pixels"


def _too_large() -> UserError:
    return UserError(
        "The masks are too large together.",
        f"Up to {LARGEST_TOGETHER / 1e6:.0f} million pixels fit into memory beside the training.",
        "Take fewer of them, or crop them; crops of a few hundred pixels a side are all that training looks at.",
    )
