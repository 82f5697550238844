"""Open a file of several classes: label map, stack of class probabilities or DICOM segmentation, 2D or 3D."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.services.topology.classes import MOST_CLASSES, ClassesKind
from backend.services.topology.input import describe, interpret
from backend.services.topology.outputs import plane_of
from backend.services.topology.read import ARRAYS, DICOM, NIFTI, TIFF, likeliest, read_map
from backend.services.topology.volume_read import as_stacked, read_volume

SUM_TOLERANCE = 0.02  # how far the classes of a softmax may miss 1, for half precision
FAR_FROM_ONE = 1e-3


@dataclass(frozen=True)
class ClassInput:
    """The classes of one file.

    ``labels`` is the input's class of each pixel, [H, W] or [X, Y, Z] of integers, ``background`` the value of none;
    ``classes`` are (value, name), ascending; ``probability(value)`` is that class as float32 of the same shape in 0..1.
    ``mask(value)`` is the class before, bool, which in a DICOM segmentation may overlap others. ``like`` is an array in
    whose type results are stored. ``spacing_mm`` and ``affine`` are known for some volumes.
    """

    labels: np.ndarray
    background: int
    classes: tuple[tuple[int, str], ...]
    kind: ClassesKind
    probability: Callable[[int], np.ndarray]
    mask: Callable[[int], np.ndarray]
    like: np.ndarray
    channel: str = ""
    spacing_mm: tuple[float, float, float] | None = None
    affine: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def open_classes(path: Path, limits: Limits, *, channel: str = "", mend_frame: bool = True) -> ClassInput:
    """Open a stored file of several classes. Raises ``UserError`` where it is none or cannot be opened."""
    suffix = "".join(path.suffixes[-2:]).lower()
    if suffix.endswith(DICOM) and (found := _dicom(path, limits)) is not None:
        return found
    stack = _stack(path, suffix, limits, channel)
    if stack is not None:
        return stack
    volume = read_volume(path, limits, channel=channel)
    if volume is not None:
        contents = describe(volume.array, reading="labels", volume=True)
        values = _listed([entry.value for entry in contents.labels])
        return _label_map(
            volume.array,
            values,
            volume.channel,
            volume.notes,
            spacing_mm=volume.spacing_mm,
            affine=volume.affine if volume.known else None,
        )
    opened = read_map(path, limits, channel=channel)
    contents = describe(opened.array, reading="labels")
    values = _listed([entry.value for entry in contents.labels])
    plane = plane_of(opened.array)
    found = _label_map(plane, values, opened.channel, opened.notes)
    if not mend_frame:
        return found
    # The frame that some segmenters leave empty is mended for each class as for a single mask.
    return _mended(found, opened.array)


def several_labels(path: Path, limits: Limits, *, channel: str = "") -> bool:
    """Whether a file holds more than one class, so that each would be refined by itself. Raises ``UserError``."""
    suffix = "".join(path.suffixes[-2:]).lower()
    if suffix.endswith(DICOM):
        found = _dicom(path, limits)
        return found is not None and len(found.classes) > 1
    if _stack(path, suffix, limits, channel) is not None:
        return True
    volume = read_volume(path, limits, channel=channel)
    array = volume.array if volume is not None else read_map(path, limits, channel=channel).array
    contents = describe(array, volume=volume is not None)
    return contents.kind == "labels" and len(contents.labels) > 1


def _listed(values: list[int]) -> list[int]:
    if len(values) > MOST_CLASSES:
        raise UserError(
            f"This map has {len(values):,} labels.",
            f"Each is refined by itself, up to {MOST_CLASSES}; so many usually number single objects, not classes.",
            "Repair all labels together, or merge them into classes.",
        )
    return sorted(values)


def _label_map(
    given: np.ndarray,
    values: list[int],
    channel: str,
    notes: tuple[str, ...],
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    affine: np.ndarray | None = None,
) -> ClassInput:
    labels = given.astype(np.int64) if given.dtype.kind == "f" else given
    return ClassInput(
        labels=labels,
        background=int(labels.min()),
        classes=tuple((value, "") for value in values),
        kind="labels",
        probability=lambda value: (labels == value).astype(np.float32),
        mask=lambda value: labels == value,
        like=given,
        channel=channel,
        spacing_mm=spacing_mm,
        affine=affine,
        notes=notes,
    )


def _mended(found: ClassInput, raw: np.ndarray) -> ClassInput:
    """The same with ``interpret``'s mended frame: of a pixel on the frame that becomes foreground the neighbour's."""
    from dataclasses import replace

    labels = found.labels.copy()
    note = ""
    for value, _ in found.classes:
        read = interpret(raw, reading="labels", label=value)
        gained = (read.probability >= 0.5) & (labels == found.background)
        if gained.any():
            labels[gained] = value
            note = read.notes[-1]
    if not note:
        return found
    return replace(
        found,
        labels=labels,
        probability=lambda value: (labels == value).astype(np.float32),
        mask=lambda value: labels == value,
        notes=(*found.notes, note),
    )


def _dicom(path: Path, limits: Limits) -> ClassInput | None:
    """A DICOM segmentation with any number of segments; ``None`` for other DICOM files."""
    from backend.media.dicom_seg import is_segmentation, read_segmentation

    if not is_segmentation(path, limits):
        return None
    seg = read_segmentation(path, limits)
    turn = as_stacked if len(seg.shape) == 3 else np.asarray
    arrays = {item.number: turn(array) for item, array in zip(seg.classes, seg.arrays, strict=True)}
    if not any((array >= 0.5).any() for array in arrays.values()):
        raise UserError(
            "The segmentation is empty.",
            "No segment has a pixel, so there is no structure to repair.",
            "Upload a segmentation with some foreground in it.",
        )
    labels = turn(seg.label_map())
    affine = seg.geometry.affine
    notes = seg.notes
    if seg.overlap:
        notes += ("In the result each pixel belongs to one segment.",)
    spacing = seg.geometry.spacing_mm if len(seg.shape) == 3 else None
    return ClassInput(
        labels=labels,
        background=0,
        classes=tuple((item.number, item.label) for item in seg.classes if (arrays[item.number] >= 0.5).any()),
        kind="probabilities" if seg.kind == "fractional" else "labels",
        probability=lambda value: arrays[value].astype(np.float32),
        mask=lambda value: arrays[value] >= 0.5,
        like=labels,
        spacing_mm=None if spacing is None else (spacing[2], spacing[1], spacing[0]),
        affine=None if affine is None else np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine,
        notes=notes,
    )


def _stack(path: Path, suffix: str, limits: Limits, channel: str) -> ClassInput | None:
    """A file of class probabilities; ``None`` where it holds none."""
    found: tuple[np.ndarray, str] | None = None
    spacing, affine = None, None
    if suffix.endswith(ARRAYS):
        from backend.media.arrays import read_arrays

        arrays = {key: array for key, array in read_arrays(path, limits).items() if array.dtype.kind == "f"}
        stacks = {key: stack for key, array in arrays.items() if (stack := _classes_first(array)) is not None}
        if channel and channel.split("/")[0] not in stacks:
            return None
        if stacks:
            name = channel.split("/")[0] or likeliest(tuple(stacks))
            found = stacks[name], name
    elif suffix.endswith(NIFTI):
        from backend.media.nifti import read_nifti

        volume = read_nifti(path, limits)
        array = volume.array
        if array.ndim == 4 and array.dtype.kind == "f" and not volume.properties.get("not_finite"):
            stack = np.moveaxis(array, 3, 0)
            if min(stack.shape[1:]) == 1:
                stack = np.squeeze(stack, axis=tuple(1 + a for a in range(3) if stack.shape[1 + a] == 1)).swapaxes(1, 2)
            found = (stack, "") if _is_probability(stack) else None
            spacing, affine = volume.spacing_mm, volume.affine
    elif suffix.endswith(TIFF):
        from backend.media.tiff_stack import read_stack

        pages = read_stack(path, limits)
        if pages is not None and pages.dtype.kind == "f" and len(pages) <= MOST_CLASSES and _sums_to_one(pages):
            found = pages, ""
    if found is None:
        return None
    stack, name = found
    if stack.ndim == 4 and spacing is None:
        stack = stack.transpose(0, 3, 2, 1)  # classes of [D, H, W] slices, as [C, X, Y, Z]
    return _from_stack(stack, name, spacing if stack.ndim == 4 else None, affine if stack.ndim == 4 else None)


def _classes_first(array: np.ndarray) -> np.ndarray | None:
    """[C, …] of an array of class probabilities in either order of axes; ``None`` where it is something else."""
    array = np.squeeze(array)
    if array.ndim not in (3, 4):
        return None
    for axis in (0, array.ndim - 1):
        stack = np.moveaxis(array, axis, 0)
        small = len(stack) <= MOST_CLASSES and len(stack) < min(stack.shape[1:])
        if small and np.isfinite(stack).all() and _is_probability(stack) and (array.ndim == 4 or _sums_to_one(stack)):
            return stack
    return None


def _is_probability(stack: np.ndarray) -> bool:
    return bool(stack.min() >= -FAR_FROM_ONE and stack.max() <= 1 + FAR_FROM_ONE) and len(stack) > 1


def _sums_to_one(stack: np.ndarray) -> bool:
    return bool(np.allclose(stack.sum(axis=0, dtype=np.float64), 1, atol=SUM_TOLERANCE))


def _from_stack(
    stack: np.ndarray, name: str, spacing_mm: tuple[float, float, float] | None, affine: np.ndarray | None
) -> ClassInput:
    """Classes [C, …] of a softmax, whose first is the background, or independent probabilities of C classes."""
    soft = _sums_to_one(stack)
    if soft:
        labels = stack.argmax(axis=0)
        first, kind = 1, "softmax"
        notes = (f"A stack of {len(stack)} class probabilities that add up to 1; class 0 was taken as background.",)
    else:
        labels = np.where(stack.max(axis=0) >= 0.5, stack.argmax(axis=0) + 1, 0)
        first, kind = 0, "probabilities"
        notes = (f"A stack of {len(stack)} independent probabilities, numbered from 1.",)
    shift = 0 if soft else 1
    small = labels.astype(np.uint8)
    if small.max() == small.min():
        raise UserError(
            "Every pixel belongs to the same class.",
            "The stack has no structure to repair.",
            "Upload probabilities of at least two classes that both occur.",
        )
    present = set(np.unique(small).tolist())
    return ClassInput(
        labels=small,
        background=0,
        classes=tuple((index + shift, "") for index in range(first, len(stack)) if index + shift in present),
        kind="softmax" if kind == "softmax" else "probabilities",
        probability=lambda value: np.clip(stack[value - shift], 0, 1).astype(np.float32),
        mask=lambda value: small == value,
        like=small,
        channel=name,
        spacing_mm=spacing_mm,
        affine=affine,
        notes=notes,
    )
