"""Open a stored two-dimensional segmentation, whatever its format, as one array that ``input`` can interpret.

PNG, TIFF, JPEG and BMP pictures, NPY and NPZ arrays, NIfTI slices, and single-frame DICOM segmentations. A file may
offer several maps (arrays of an NPZ, channels of a softmax stack): each has a name to choose it by. Volumes are opened
by ``volume_read``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.errors import UserError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from backend.media.limits import Limits

MOST_CHANNELS = 64  # a stack of more planes than this is a volume, not the classes of a softmax
PREFERRED = ("probability", "prob", "probs", "prediction", "pred", "mask", "seg", "segmentation", "arr_0")
NIFTI = (".nii", ".nii.gz", ".gz")
DICOM = (".dcm", ".dicom")
ARRAYS = (".npz", ".npy")
TIFF = (".tif", ".tiff")
VOLUME_ADVICE = "Repair it as a volume, with weights for three dimensions."


@dataclass(frozen=True)
class OpenedMap:
    """One map of a file: ``array`` [H, W] or [H, W, 3|4], ``channel`` its name, ``channels`` every name on offer."""

    array: np.ndarray
    channel: str = ""
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read_map(path: Path, limits: Limits, *, channel: str = "") -> OpenedMap:
    """Open one map of the file; ``channel`` names it where there are several, '' takes the likeliest.

    The file's suffix decides the reader; what arrives through an upload was named by its content. Raises
    ``UserError`` for a file that cannot be opened, a volume, or a channel that does not exist.
    """
    suffix = "".join(path.suffixes[-2:]).lower()
    if suffix.endswith(NIFTI):
        return _read_nifti(path, limits)
    if suffix.endswith(DICOM):
        return _read_dicom(path, limits, channel)
    if suffix.endswith(ARRAYS):
        return _read_arrays(path, limits, channel)
    from backend.media.images import read_image

    return OpenedMap(read_image(path, limits))


def _read_arrays(path: Path, limits: Limits, channel: str) -> OpenedMap:
    from backend.media.arrays import read_arrays

    arrays = read_arrays(path, limits)
    planes: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        planes.update(_planes(name, array))
    if not planes:
        shapes = [f"{name} {' × '.join(map(str, array.shape)) or 'a single number'}" for name, array in arrays.items()]
        raise UserError(
            "The file holds no two-dimensional map.",
            f"It holds {'; '.join(shapes) or 'no arrays'}.",
            "Save one array of height × width, or one plane a class.",
        )
    names = tuple(planes)
    chosen = channel or likeliest(names)
    if chosen not in planes:
        raise UserError(
            f"The file has no map called {chosen!r}.", f"It holds {', '.join(names)}.", "Choose one of these."
        )
    notes = (f"The file holds {len(names)} maps; {chosen} was used.",) if len(names) > 1 else ()
    return OpenedMap(planes[chosen], chosen, names if len(names) > 1 else (), notes)


def plane_names(arrays: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Names of the two-dimensional maps that the arrays of a file offer."""
    return tuple(name for key, array in arrays.items() for name in _planes(key, array))


def _planes(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """The maps in one array: itself, or the planes of a [C, H, W] or [H, W, C] stack as ``name/0``, ``name/1`` …"""
    import numpy as np

    if array.dtype.kind not in "buif":
        return {}
    array = np.squeeze(array) if array.ndim > 2 else array
    if array.ndim == 2:
        return {name: array}
    if array.ndim != 3:
        return {}
    if array.dtype.kind == "u" and array.shape[-1] in (3, 4) and array.shape[0] > 4:
        return {name: array}
    axis = 0 if array.shape[0] <= array.shape[-1] else 2
    if array.shape[axis] > MOST_CHANNELS:
        return {}
    return {f"{name}/{index}": np.take(array, index, axis=axis) for index in range(array.shape[axis])}


def likeliest(names: tuple[str, ...]) -> str:
    """The map to show first: a well-known name, of a stack its second plane (the first is usually background)."""
    by_stem: dict[str, list[str]] = {}
    for name in names:
        by_stem.setdefault(name.split("/")[0].lower(), []).append(name)
    stem = next((known for known in PREFERRED if known in by_stem), next(iter(by_stem)))
    return by_stem[stem][1 if len(by_stem[stem]) > 1 else 0]


def _read_nifti(path: Path, limits: Limits) -> OpenedMap:
    import numpy as np

    from backend.media.nifti import read_nifti

    volume = read_nifti(path, limits)
    sides = [side for side in volume.array.shape if side > 1]
    if len(sides) > 2:
        raise _volume(volume.array.shape, np.sqrt((np.asarray(volume.affine)[:3, :3] ** 2).sum(axis=0)))
    if len(sides) < 2:
        raise UserError(
            "The NIfTI file holds no two-dimensional slice.",
            f"It measures {' × '.join(str(side) for side in volume.array.shape)}.",
            "Upload a slice of height × width.",
        )
    # NIfTI's first axis runs left to right, so the picture is the transpose.
    return OpenedMap(np.squeeze(volume.array).T, notes=("One slice of a NIfTI file.",))


def _volume(shape: tuple[int, ...], spacing_mm: np.ndarray) -> UserError:
    import numpy as np

    sizes = " × ".join(f"{step:.2g}" for step in spacing_mm)
    uneven = "" if np.ptp(spacing_mm) <= 0.05 * spacing_mm.max() else ", which are not cubes"
    return UserError(
        "This is a volume, not a single slice.",
        f"It measures {' × '.join(str(side) for side in shape)} voxels of {sizes} mm{uneven}.",
        VOLUME_ADVICE,
    )


def _read_dicom(path: Path, limits: Limits, channel: str) -> OpenedMap:
    from backend.media.dicom import read_dicom
    from backend.media.dicom_open import open_dataset, whole_number
    from backend.media.dicom_seg import is_segmentation

    if is_segmentation(path, limits):
        return _read_segments(path, limits, channel)
    frames = whole_number(open_dataset(path, limits, headers_only=True), "NumberOfFrames", 1)
    if frames > 1:
        raise UserError(
            f"This DICOM file has {frames} frames, not one.",
            "It is no segmentation.",
            "Upload what a segmenter made of it.",
        )
    return OpenedMap(read_dicom(path, limits).pixels[0])


def _read_segments(path: Path, limits: Limits, channel: str) -> OpenedMap:
    """One segment of a DICOM segmentation of a single slice."""
    from backend.media.dicom_seg import read_segmentation

    found = read_segmentation(path, limits)
    if len(found.shape) == 3:
        raise UserError(
            f"This DICOM segmentation has {found.shape[0]} frames, not one.",
            "Frames of a segmentation are the slices of a volume.",
            VOLUME_ADVICE,
        )
    names = tuple(f"segment {item.number}" + (f" ({item.label})" if item.label else "") for item in found.classes)
    chosen = channel or names[0]
    if chosen not in names:
        raise UserError(
            f"The file has no map called {chosen!r}.", f"It holds {', '.join(names)}.", "Choose one of these."
        )
    kind = "fractional DICOM segmentation, read as probability" if found.kind == "fractional" else "DICOM segmentation"
    notes = [f"A {kind}.", *found.notes]
    if len(names) > 1:
        notes.append(f"The file holds {len(names)} segments; {chosen} was used.")
    array = found.arrays[names.index(chosen)]
    return OpenedMap(array, chosen, names if len(names) > 1 else (), tuple(notes))
