"""The result in the format it came in, where it came from.

After a file ``source`` was read as ``given`` (the raw array of ``read_map``) and refined to a bool mask::

    labels = restore_values(mask, given, kind=kind, label=request.label, invert=request.invert)
    form = output_format(source, ndim=mask.ndim)
    ctx.artifact(f"refined-mask{form.suffix}", form.media_type,
                 lambda path, made: write_like(path, labels, source, made, limits, channel=opened.channel), …)

Arrays that are written are [H, W] as one sees the picture, or [D, H, W] with slices first (``as_stacked`` of what
``volume_read`` gives). What each format keeps:

=========  =========================================================================================================
PNG        the label values; 8 or 16 bit; a drawing in flat colours comes back in its colours
TIFF       the same, resolution tags, the pages of a stack and the distance of its slices
NIfTI      both affines with their codes, voxel size, units; integers that hold the labels; intent 'label'
NPZ, NPY   the name of the array; the other arrays of an NPZ are not copied, because they were not refined
DICOM SEG  frame of reference, spacing, orientation, positions, segment descriptions; always BINARY
=========  =========================================================================================================

JPEG, BMP and the like cannot hold labels without loss or 16 bits and become PNG; a DICOM picture that is no
segmentation becomes a Secondary Capture with its pixel spacing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.services.topology.input import EVERY_LABEL, Kind

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from backend.media.limits import Limits
    from backend.provenance import Provenance

FULL = 255  # foreground of a picture whose input had no labels of its own


@dataclass(frozen=True)
class OutputFormat:
    """How a result is stored: the suffix of its name (with dots), its media type, and what a person should know."""

    suffix: str
    media_type: str
    notes: tuple[str, ...] = ()


PNG = OutputFormat(".png", "image/png")
TIFF = OutputFormat(".tif", "image/tiff")
DICOM = OutputFormat(".dcm", "application/dicom")


def output_format(source: Path, ndim: int = 2) -> OutputFormat:
    """The format in which a result of ``ndim`` dimensions made from the stored file ``source`` is written."""
    name = source.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return OutputFormat(".nii.gz" if name.endswith(".gz") else ".nii", "application/x-nifti")
    if name.endswith((".dcm", ".dicom")):
        return DICOM
    if name.endswith(".npy"):
        return OutputFormat(".npy", "application/x-npy")
    if name.endswith(".npz"):
        return OutputFormat(".npz", "application/x-npz")
    if name.endswith((".tif", ".tiff")):
        return TIFF
    if ndim == 3:
        return TIFF
    if name.endswith(".png"):
        return PNG
    return OutputFormat(
        PNG.suffix, PNG.media_type, ("The result is a PNG: the format of the input cannot hold a mask without loss.",)
    )


def restore_values(
    mask: np.ndarray, given: np.ndarray, *, kind: Kind, label: int | None = None, invert: bool = False
) -> np.ndarray:
    """A refined mask in the values of the file it came from.

    ``mask`` is bool [H, W] or [D, H, W]; ``given`` the file's raw array of that shape, or a picture [H, W, 1|2|3|4].
    Binary input gives its own two values (``invert``: its lower value is the foreground again); one ``label`` of a
    label map gives that label on 0; all labels together keep theirs, and what was added takes the nearest one; a
    probability gives 0 and 255 (0 and 1 where the file holds floating-point numbers). Integers of the input's type.
    """
    import numpy as np

    mask = np.asarray(mask, bool)
    if kind == "probability":
        if given.dtype.kind == "f":
            return mask.astype(np.uint8)
        return np.where(mask, FULL, 0).astype(np.uint8)
    plane = plane_of(given) if mask.ndim == 2 else given
    values = np.unique(plane)
    if kind == "binary":
        low, high = _whole(values[0], values[-1])
        return typed_like(np.where(mask ^ invert, high, low), plane)
    labels = values[1:]
    if label == EVERY_LABEL:
        return typed_like(_nearest_labels(mask, plane, labels, values[0]), plane)
    chosen = int(labels[0]) if label is None else label
    return typed_like(np.where(mask ^ invert, chosen, int(values[0]) if values[0] != chosen else 0), plane)


def plane_of(given: np.ndarray) -> np.ndarray:
    """One value a pixel, [H, W], of a raw array [H, W] or [H, W, 1|2|3|4].

    Flat colours of a drawing are numbered by brightness, 0 the darkest; a picture of one colour whose transparency
    varies is its transparency.
    """
    import numpy as np

    given = np.asarray(given)
    if given.ndim == 2:
        return given
    if given.shape[-1] in (2, 4):
        alpha, given = given[..., -1], given[..., :-1]
        if alpha.min() != alpha.max() and np.ptp(given.reshape(-1, given.shape[-1]), axis=0).max() == 0:
            return alpha
    if all(np.array_equal(given[..., 0], given[..., c]) for c in range(1, given.shape[-1])):
        return given[..., 0]
    palette = _palette(given)
    index = np.zeros(given.shape[:2], np.uint8)
    for number, colour in enumerate(palette):
        index[(given == colour).all(axis=-1)] = number
    return index


def typed_like(labels: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Whole numbers in the type of ``given``, where that is one for labels, else in the smallest that holds them."""
    import numpy as np

    if given.dtype.kind == "b" and labels.max() <= 1:
        return labels.astype(bool)
    if given.dtype.kind in "ui":
        holds = np.iinfo(given.dtype)
        if holds.min <= labels.min() and labels.max() <= holds.max:
            return labels.astype(given.dtype)
    return _smallest(labels)


def write_like(
    path: Path,
    labels: np.ndarray,
    source: Path,
    provenance: Provenance,
    limits: Limits,
    *,
    channel: str = "",
) -> None:
    """Write ``labels``, whole numbers or bool [H, W] or [D, H, W], as the stored file ``source`` holds its own.

    ``path`` ends in the suffix of :func:`output_format`; ``channel`` names the map that was refined: the array of an
    NPZ, or the segment of a DICOM SEG ('segment 2 …'), whose other segments then stay as they were. Raises
    ``UserError`` where a format cannot hold the result, ``ValueError`` for labels of another shape than the source.
    """
    import numpy as np

    labels = np.asarray(labels)
    form = output_format(source, labels.ndim)
    if form.suffix in (".nii", ".nii.gz"):
        from backend.media.write_nifti import write_nifti_like

        write_nifti_like(path, _smallest(labels).T, source, provenance)
    elif form.suffix in (".npy", ".npz"):
        _write_arrays(path, labels, form.suffix, channel, provenance)
    elif form is DICOM:
        _write_dicom(path, labels, source, channel, provenance, limits)
    elif form is TIFF:
        from backend.media.tiff_stack import TiffScale, read_scale
        from backend.media.write_tiff import write_tiff

        scale = read_scale(source) if source.name.lower().endswith((".tif", ".tiff")) else TiffScale()
        write_tiff(path, _smallest(labels) if labels.dtype not in ("u1", "u2") else labels, provenance, scale)
    else:
        _write_png(path, labels, source, provenance, limits)


def _write_png(path: Path, labels: np.ndarray, source: Path, provenance: Provenance, limits: Limits) -> None:
    from backend.media.images import read_image
    from backend.media.write_png import write_png

    given = read_image(source, limits)
    if given.ndim == 3 and given.dtype.itemsize == 1 and (colours := _drawn_in(given)) is not None:
        write_png(path, colours[labels.astype(int)], provenance)
        return
    pixels = labels if labels.dtype in ("u1", "u2") else _smallest(labels)
    if pixels.dtype.itemsize > 2:
        raise UserError(
            "The labels do not fit into a PNG.",
            f"The largest is {int(labels.max()):,}, and a PNG holds up to 65,535.",
            "Upload the map as TIFF, NPZ or NIfTI.",
        )
    write_png(path, pixels, provenance)


def _write_arrays(path: Path, labels: np.ndarray, suffix: str, channel: str, provenance: Provenance) -> None:
    from backend.media.write_arrays import write_npy, write_npz

    if suffix == ".npy":
        write_npy(path, labels, provenance)
    else:
        write_npz(path, {channel.split("/")[0] or "mask": labels}, provenance)


def _write_dicom(
    path: Path, labels: np.ndarray, source: Path, channel: str, provenance: Provenance, limits: Limits
) -> None:
    import numpy as np

    from backend.media.dicom import read_dicom
    from backend.media.dicom_seg import is_segmentation, read_segmentation
    from backend.media.write_dicom import write_secondary_capture
    from backend.media.write_dicom_seg import write_segmentation

    if is_segmentation(source, limits):
        found = read_segmentation(source, limits)
        masks = {item.number: labels == item.number for item in found.classes}
        alone = re.match(r"segment (\d+)", channel)
        if alone or len(masks) == 1:
            masks = {item.number: array >= 0.5 for item, array in zip(found.classes, found.arrays, strict=True)}
            masks[int(alone[1]) if alone else found.classes[0].number] = labels > 0
        write_segmentation(path, source, masks, provenance, limits)
        return
    if labels.ndim != 2:
        raise UserError(
            "The result cannot be written as DICOM.",
            "The input is a stack of pictures, not a DICOM segmentation.",
            "Convert the input to NIfTI or to a DICOM SEG.",
        )
    spacing = read_dicom(source, limits).spacing_mm
    pixels = labels if labels.dtype in ("u1", "u2") else _smallest(labels)
    plane = (float(spacing[-2]), float(spacing[-1])) if spacing else None
    write_secondary_capture(path, np.asarray(pixels), provenance, spacing_mm=plane)


def _drawn_in(given: np.ndarray) -> np.ndarray | None:
    """The colours of a drawing by number, uint8 [n, 3]; ``None`` for a picture in greys."""
    import numpy as np

    colours = given[..., :3] if given.shape[-1] in (3, 4) else given[..., :1]
    if colours.shape[-1] == 1 or all(np.array_equal(colours[..., 0], colours[..., c]) for c in (1, 2)):
        return None
    return _palette(colours)


def _palette(picture: np.ndarray) -> np.ndarray:
    """The different colours of [H, W, 3], darkest first, as ``input`` numbers them."""
    import numpy as np

    colours = np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)
    return colours[np.argsort(colours.astype(np.float64) @ (0.299, 0.587, 0.114), kind="stable")]


def _whole(low: float, high: float) -> tuple[int, int]:
    """The two values as integers; 0 and 1 where they are fractions."""
    return (int(low), int(high)) if float(low).is_integer() and float(high).is_integer() else (0, 1)


def _smallest(labels: np.ndarray) -> np.ndarray:
    """The same whole numbers as uint8, uint16 or int32, whichever holds them."""
    import numpy as np

    top = int(labels.max())
    return labels.astype(np.uint8 if top < 2**8 else np.uint16 if top < 2**16 else np.int32)


def _nearest_labels(mask: np.ndarray, plane: np.ndarray, labels: np.ndarray, background: float) -> np.ndarray:
    """Each pixel of the mask keeps its label; one that had none takes that of the nearest labelled pixel."""
    import numpy as np
    from scipy import ndimage

    had = np.isin(plane, labels)
    nearest = ndimage.distance_transform_edt(~had, return_distances=False, return_indices=True)
    return np.where(mask, plane[tuple(nearest)], background)
