"""Open a stored three-dimensional segmentation, whatever its format, with the geometry that the file tells.

Every volume is handed on as [X, Y, Z]: columns, rows, slices. NIfTI files keep their axes as they are stored; arrays,
TIFF stacks and DICOM frames, which are [slices, rows, columns], are turned, and :func:`as_stacked` turns them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backend.errors import UserError
from backend.services.topology.read import ARRAYS, DICOM, NIFTI, TIFF, likeliest, plane_names

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from backend.media.limits import Limits

MOST_CLASSES = 4  # planes of a stack that are taken for classes of one slice rather than slices of one class
MOST_MAPS = 64  # maps of a four-dimensional file
SPACINGS = ("spacing_mm", "spacing", "voxel_spacing")  # names of an NPZ's own voxel size, in the order of its axes
LARGEST = 160_000_000  # voxels of one map; the structure in it may fill a part of that, see ``volume_grid``


@dataclass(frozen=True)
class OpenedVolume:
    """One map of a file: ``array`` [X, Y, Z], and where it lies.

    ``affine`` takes voxel indices to millimetres in RAS+; where the file does not say (``known`` is False) voxels are
    taken as cubes of 1 mm. ``channel`` is the map's name and ``channels`` every name on offer. ``source`` is the family
    of the format, which decides how the axes are stored.
    """

    array: np.ndarray
    affine: np.ndarray
    known: bool
    source: Literal["nifti", "array", "tiff", "dicom"]
    channel: str = ""
    channels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Edges of a voxel along x, y and z, in mm; ``None`` where the file does not tell."""
        import numpy as np

        x, y, z = np.sqrt((np.asarray(self.affine)[:3, :3] ** 2).sum(axis=0))
        return (float(x), float(y), float(z)) if self.known else None


def read_volume(path: Path, limits: Limits, *, channel: str = "") -> OpenedVolume | None:
    """Open one map of the file if it is a volume; ``None`` where it is a picture, which :func:`read.read_map` opens.

    ``channel`` names the map where there are several, '' takes the likeliest. Raises ``UserError`` for a file that
    cannot be opened, is over the limits, or has no such map.
    """
    suffix = "".join(path.suffixes[-2:]).lower()
    opened: OpenedVolume | None = None
    if suffix.endswith(NIFTI):
        opened = _nifti(path, limits, channel)
    elif suffix.endswith(DICOM):
        opened = _dicom(path, limits, channel)
    elif suffix.endswith(ARRAYS):
        opened = _arrays(path, limits, channel)
    elif suffix.endswith(TIFF):
        opened = _tiff(path, limits)
    if opened is not None and opened.array.size > LARGEST:
        raise UserError(
            f"The volume is too large to repair in one piece: {' × '.join(map(str, opened.array.shape))} voxels.",
            f"It may have up to {LARGEST / 1e6:.0f} million.",
            "Crop it to the structure, or halve its resolution.",
        )
    return opened


def as_stacked(array: np.ndarray) -> np.ndarray:
    """[X, Y, Z] as [slices, rows, columns], and the other way round: how arrays, TIFF and DICOM keep a volume."""
    return array.transpose(2, 1, 0)


def plain_affine(stacked_mm: tuple[float, float, float] | None) -> np.ndarray:
    """An affine for a file without one: columns to the left, rows to the back, slices upwards, as a scanner shows.

    ``stacked_mm`` is the distance of (slices, rows, columns); ``None`` takes 1 mm for each.
    """
    import numpy as np

    z, y, x = stacked_mm or (1.0, 1.0, 1.0)
    return np.diag([-x, -y, z, 1.0])


def _nifti(path: Path, limits: Limits, channel: str) -> OpenedVolume | None:
    import numpy as np

    from backend.media.nifti import read_nifti

    volume = read_nifti(path, limits)
    bad = int(volume.properties.get("not_finite", 0))
    if bad:
        raise UserError(
            f"The map holds {bad:,} values that are not numbers (NaN or infinite).",
            f"That is {bad / volume.array.size:.2%} of its voxels, and a probability cannot be guessed there.",
            "Replace them, for example by 0, and upload the map again.",
        )
    shape = volume.array.shape
    if len(shape) == 3 and min(shape) == 1:
        return None
    affine = np.asarray(volume.affine, np.float64)
    known = bool(volume.properties.get("orientation_known", True)) or not np.allclose(np.diag(affine)[:3], 1)
    if len(shape) == 3:
        return OpenedVolume(volume.array, affine, known, "nifti")
    if min(shape[:3]) == 1 or shape[3] > MOST_MAPS:
        raise UserError(
            "This is a series, not a single segmentation.",
            f"The file measures {' × '.join(map(str, shape))}, that is {shape[3]} times the same volume.",
            "Export one volume of it.",
        )
    names = tuple(f"volume {index + 1}" for index in range(shape[3]))
    # Classes of a softmax add up to 1, and the first of them is the background.
    summed = volume.array.dtype.kind == "f" and np.allclose(volume.array.sum(axis=3), 1, atol=0.02)
    chosen = _named(channel, names, names[1 if summed else 0])
    note = f"The file holds {len(names)} volumes; {chosen} was used."
    array = np.ascontiguousarray(volume.array[..., names.index(chosen)])
    return OpenedVolume(array, affine, known, "nifti", chosen, names, (note,))


def _arrays(path: Path, limits: Limits, channel: str) -> OpenedVolume | None:
    import numpy as np

    from backend.media.arrays import read_arrays

    arrays = read_arrays(path, limits)
    solids: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        solids.update(_solids(name, array))
    if not solids or (channel and channel not in solids):
        return None
    flat = plane_names(arrays)
    names = (*solids, *(name for name in flat if name not in solids))
    first = likeliest(tuple(name for name in names if name in solids or "/" not in name))
    chosen = channel or first
    if chosen not in solids:
        return None
    spacing = _array_spacing(arrays)
    affine = plain_affine(spacing)
    notes = (f"The file holds {len(names)} maps; {chosen} was used as a volume.",) if len(names) > 1 else ()
    array = np.ascontiguousarray(as_stacked(solids[chosen]))
    return OpenedVolume(array, affine, spacing is not None, "array", chosen, names if len(names) > 1 else (), notes)


def _solids(name: str, array: np.ndarray) -> dict[str, np.ndarray]:
    """The volumes [D, H, W] in one array: itself, or the classes of a [C, D, H, W] or [D, H, W, C] stack."""
    import numpy as np

    if array.dtype.kind not in "buif":
        return {}
    array = np.squeeze(array) if array.ndim > 3 else array
    if array.ndim == 3 and min(array.shape) > 1:
        return {} if _is_stack_of_classes(array) else {name: array}
    if array.ndim != 4:
        return {}
    axis = 0 if array.shape[0] <= array.shape[-1] else 3
    if array.shape[axis] > MOST_MAPS:
        return {}
    return {f"{name}/{index}": np.take(array, index, axis=axis) for index in range(array.shape[axis])}


def _is_stack_of_classes(array: np.ndarray) -> bool:
    """Whether a [C, H, W] or [H, W, C] array is a picture in colour or the classes of one slice, not a volume."""
    import numpy as np

    axis = 0 if array.shape[0] <= array.shape[-1] else 2
    if array.shape[axis] <= MOST_CLASSES:
        return True
    return array.dtype.kind == "f" and bool(np.allclose(array.sum(axis=axis), 1, atol=0.02))


def _array_spacing(arrays: dict[str, np.ndarray]) -> tuple[float, float, float] | None:
    """(slices, rows, columns) in mm, if the file has three positive numbers under one of the usual names."""
    import numpy as np

    for name in SPACINGS:
        if name in arrays and arrays[name].size == 3:
            z, y, x = (float(step) for step in arrays[name].ravel())
            if np.isfinite([z, y, x]).all() and min(z, y, x) > 0:
                return z, y, x
    return None


def _tiff(path: Path, limits: Limits) -> OpenedVolume | None:
    import numpy as np

    from backend.media.tiff_stack import read_scale, read_stack

    stack = read_stack(path, limits)
    if stack is None:
        return None
    spacing = read_scale(path).spacing_mm
    array = np.ascontiguousarray(as_stacked(stack))
    notes = (f"The {array.shape[2]} pages were read as slices.",)
    return OpenedVolume(array, plain_affine(spacing), spacing is not None, "tiff", notes=notes)


def _dicom(path: Path, limits: Limits, channel: str) -> OpenedVolume | None:
    import numpy as np

    from backend.media.dicom_seg import is_segmentation, read_segmentation

    if not is_segmentation(path, limits):
        return None
    found = read_segmentation(path, limits)
    if len(found.shape) < 3:
        return None
    names = tuple(f"segment {item.number}" + (f" ({item.label})" if item.label else "") for item in found.classes)
    chosen = _named(channel, names, names[0])
    array = found.arrays[names.index(chosen)]
    affine = found.geometry.affine
    spacing = found.geometry.spacing_mm
    notes = list(found.notes)
    if len(names) > 1:
        notes.append(f"The file holds {len(names)} segments; {chosen} was used.")
    to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM counts to the left and to the back
    return OpenedVolume(
        np.ascontiguousarray(as_stacked(array)),
        plain_affine(spacing) if affine is None else to_ras @ affine,
        spacing is not None,
        "dicom",
        chosen,
        names if len(names) > 1 else (),
        tuple(notes),
    )


def _named(channel: str, names: tuple[str, ...], default: str) -> str:
    chosen = channel or default
    if chosen not in names:
        raise UserError(
            f"The file has no map called {chosen!r}.", f"It holds {', '.join(names)}.", "Choose one of these."
        )
    return chosen
