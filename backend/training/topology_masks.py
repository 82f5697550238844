"""Clean masks to train on: read from files of every kind, and told from what is no mask in one plain sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".npy", ".npz", ".nii", ".gz", ".bmp")
LABELS = 50  # more whole values than this are grey levels, not labels
NOTHING = UserError(
    "There is nothing to train on.",
    "There is no mask with any foreground.",
    "Give PNG, TIFF, NPY, NPZ or NIfTI masks in which the structure is marked.",
)


def read_masks(folder: Path, dimensions: int) -> list[np.ndarray]:
    """All masks of a folder (PNG, TIFF, NPY, NPZ, NIfTI), bool, sorted by name.

    A file is a mask when it has the wanted number of dimensions and at most two values; foreground is the larger.
    Raises ``UserError`` when the folder does not exist, or a file in it is no such mask.
    """
    if not folder.is_dir():
        raise UserError("The folder of masks does not exist.", what_to_do="Give a folder that holds one mask a file.")
    limits = Limits()
    masks = []
    for index, path in enumerate(sorted(p for p in folder.iterdir() if p.name.lower().endswith(MASK_SUFFIXES)), 1):
        array = flat(open_array(path, limits), dimensions)
        why = why_no_mask(array)
        advice = "Leave only clean binary masks in the folder."
        if not why and array.ndim != dimensions:
            why = f"It has {array.ndim} dimensions."
            advice = f"For {array.ndim}D masks add dimensions={array.ndim}; do not mix the two in one folder."
        if why:
            raise UserError(f"File number {index} of the folder is not a {dimensions}D mask.", why, advice)
        masks.append(as_mask(array))
    if not any(mask.any() for mask in masks):
        raise NOTHING
    return masks


def open_array(path: Path, limits: Limits) -> np.ndarray:
    """What a file holds, as it is: a picture [H, W] or [H, W, 3|4], an array, a NIfTI volume or a stack of slices.

    Of an NPZ with several arrays the first that has two or more axes. Raises ``UserError`` for a file that cannot be
    opened.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".gz")):
        from backend.media.nifti import read_nifti

        return np.asarray(read_nifti(path, limits).array)
    if name.endswith((".npy", ".npz")):
        from backend.media.arrays import read_arrays

        arrays = list(read_arrays(path, limits).values())
        return next((array for array in arrays if array.ndim >= 2), arrays[0])
    if name.endswith((".tif", ".tiff")):
        from backend.media.tiff_stack import read_stack

        stack = read_stack(path, limits)
        if stack is not None:
            return stack
    from backend.media.images import read_image

    return read_image(path, limits)


def flat(array: np.ndarray, dimensions: int = 0) -> np.ndarray:
    """The array without what only says that it is one slice, or that a grey picture was saved in colour.

    ``dimensions``: how many are wanted, 0 when the array is to tell. A colour picture stays as it is.
    """
    if array.ndim > 2 and 1 in array.shape and dimensions != array.ndim:
        array = np.squeeze(array)
    coloured = array.ndim == 3 and array.shape[-1] in (2, 3, 4) and min(array.shape[:2]) > 4 and dimensions != 3
    if coloured and not _is_colour(array):
        array = array[..., 0]
    return array


def why_no_mask(array: np.ndarray) -> str:
    """One sentence why an array is no binary mask, '' when it is one. Its number of dimensions is 2 or 3 then."""
    if array.dtype.kind not in "buif" or not array.size:
        return "It holds no numbers."
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        return f"It holds {bad:,} values that are not numbers (NaN or infinite)."
    if array.ndim == 3 and array.shape[-1] in (3, 4) and min(array.shape[:2]) > 4 and _is_colour(array):
        return "It is a colour picture; a mask has two values, one for background and one for the structure."
    if array.ndim not in (2, 3):
        return f"It has {array.ndim} dimension{'' if array.ndim == 1 else 's'}; a mask has two or three."
    values = np.unique(array)
    if len(values) <= 2:
        return ""
    if len(values) <= LABELS and (array.dtype.kind != "f" or np.array_equal(values, np.rint(values))):
        return f"It is a label map of {len(values)} different values; a mask has two."
    if array.dtype.kind == "f":
        return f"It is a map of {len(values):,} different values, such as a probability; a mask has two."
    return f"It is a grey picture of {len(values):,} different values; a mask has two."


def as_mask(array: np.ndarray) -> np.ndarray:
    """Bool of the same shape: the larger of two values is foreground, of a single one everything that is not 0."""
    values = np.unique(array)
    return array == values[-1] if len(values) == 2 else array.astype(bool)


def _is_colour(array: np.ndarray) -> bool:
    """Whether the first three channels of [H, W, C] differ."""
    colours = array[..., : min(3, array.shape[-1])]
    return bool((colours != colours[..., :1]).any())
