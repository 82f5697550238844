"""DICOM segmentations of any number of segments and frames: one mask a segment, frames stacked by their position.

Binary, fractional and label-map segmentations (PS3.3 A.51, C.8.20). Frames that a writer left out because they are
empty are put back where the positions show a gap, since nothing continues across a slice it does not have.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from backend.errors import UserError
from backend.media.dicom_geometry import pixel_spacing_mm
from backend.media.dicom_open import damaged, numbers, open_dataset, text, whole_number
from backend.media.dicom_pixels import declared_shape, decode
from backend.media.dicom_values import functional_groups
from backend.media.limits import Limits

if TYPE_CHECKING:
    from pydicom import Dataset

log = logging.getLogger(__name__)

BINARY_SEG = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_SEG = "1.2.840.10008.5.1.4.1.1.66.7"
SAME_PLACE_MM = 1e-3  # frames of several segments at one position differ by rounding only
EVEN = 0.02  # share of the slice spacing by which a gap may miss a whole multiple of it


@dataclass(frozen=True)
class SegmentClass:
    """One segment: its number, which is its label in a label map, and what the file calls it ('' where unnamed)."""

    number: int
    label: str


@dataclass(frozen=True)
class SegmentGeometry:
    """Where the slices lie, in mm in the patient's LPS coordinates. Parts that the file does not say are ``None``.

    ``positions`` is float64 [D, 3], the centre of each slice's first pixel; ``orientation`` the directions in which
    columns and rows are counted, (6,); ``pixel_spacing_mm`` (between rows, between columns); ``slice_spacing_mm`` the
    distance of neighbouring slices; ``even`` says that it is the same between all of them.
    """

    positions: np.ndarray | None
    orientation: np.ndarray | None
    pixel_spacing_mm: tuple[float, float] | None
    slice_spacing_mm: float | None
    frame_of_reference: str
    even: bool = True

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """(slices, rows, columns), for a volume; ``None`` unless all three are known."""
        if self.pixel_spacing_mm is None or self.slice_spacing_mm is None:
            return None
        return self.slice_spacing_mm, *self.pixel_spacing_mm

    @property
    def affine(self) -> np.ndarray | None:
        """4 × 4, (column, row, slice, 1) to LPS millimetres; ``None`` where the file does not say."""
        if self.positions is None or self.orientation is None or self.pixel_spacing_mm is None:
            return None
        between_rows, between_columns = self.pixel_spacing_mm
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        step = normal * (self.slice_spacing_mm or 1.0)
        if len(self.positions) > 1:
            step = (self.positions[-1] - self.positions[0]) / (len(self.positions) - 1)
        affine = np.eye(4)
        affine[:3, 0] = self.orientation[:3] * between_columns
        affine[:3, 1] = self.orientation[3:] * between_rows
        affine[:3, 2], affine[:3, 3] = step, self.positions[0]
        return affine


@dataclass(frozen=True)
class Segmentation:
    """What a DICOM segmentation holds.

    ``arrays`` has one array a class, in the order of ``classes``: [H, W] for a single slice, else [D, H, W], uint8 of 0
    and 1, or float32 in 0..1 where ``kind`` is 'fractional'. ``overlap`` says that some pixel belongs to two segments.
    """

    classes: tuple[SegmentClass, ...]
    arrays: tuple[np.ndarray, ...]
    geometry: SegmentGeometry
    kind: Literal["binary", "fractional", "labelmap"]
    overlap: bool = False
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (D, H, W)."""
        return self.arrays[0].shape

    def label_map(self) -> np.ndarray:
        """Segment numbers as uint8 or uint16, 0 background; a fractional segment counts from a half upwards.

        A pixel of two segments carries the number of the stronger, and of the first where they are equal.
        """
        top = max(item.number for item in self.classes)
        labels = np.zeros(self.shape, np.uint8 if top < 256 else np.uint16)
        best = np.zeros(self.shape, np.float32)
        for item, array in zip(self.classes, self.arrays, strict=True):
            stronger = (array >= 0.5) & (array > best)
            labels[stronger] = item.number
            best[stronger] = array[stronger]
        return labels


def is_segmentation(path: Path, limits: Limits) -> bool:
    """Whether a DICOM file is a segmentation. Raises ``UserError`` when it cannot be opened."""
    return text(open_dataset(path, limits, headers_only=True), "Modality") == "SEG"


def read_segmentation(path: Path, limits: Limits) -> Segmentation:
    """Read a DICOM segmentation, all its segments, frames stacked in ascending position along the slice normal.

    Raises ``UserError`` for a file that is none, is damaged, over the limits, tiled over a whole slide, or without a
    described segment.
    """
    dataset = open_dataset(path, limits)
    if text(dataset, "Modality") != "SEG":
        raise UserError("This DICOM file is no segmentation.", "", "Choose a DICOM SEG, or another format.")
    if "TotalPixelMatrixRows" in dataset and text(dataset, "DimensionOrganizationType").startswith("TILED"):
        raise UserError(
            "This segmentation is tiled over a whole slide.",
            "Its frames are tiles of one large picture.",
            "Export the region of interest as one picture.",
        )
    frames, rows, columns, _ = declared_shape(dataset, limits)
    classes = _classes(dataset)
    kind = _kind(dataset)
    places, geometry, notes = _stack(dataset, frames, limits)
    depth = int(places.max()) + 1
    limits.check_pixels(depth * len(classes), rows, columns)
    pixels = decode(dataset, limits)
    shape = (depth, rows, columns)
    if kind == "labelmap":
        labels = np.zeros(shape, pixels.dtype)
        labels[places] = pixels
        arrays = [(labels == item.number).astype(np.uint8) for item in classes]
    else:
        arrays = _by_segment(dataset, pixels, places, classes, shape, kind)
    overlap = kind != "labelmap" and len(arrays) > 1 and _overlap(arrays)
    if overlap:
        notes += ("Some pixels belong to more than one segment.",)
    if depth == 1:
        arrays = [array[0] for array in arrays]
    return Segmentation(classes, tuple(arrays), geometry, kind, overlap, notes)


def geometry_of(dataset: Dataset, limits: Limits) -> tuple[tuple[int, ...], SegmentGeometry]:
    """Shape (H, W) or (D, H, W) and geometry of a segmentation's data set, without its pixels. Raises ``UserError``."""
    frames, rows, columns, _ = declared_shape(dataset, limits)
    places, geometry, _ = _stack(dataset, frames, limits)
    depth = int(places.max()) + 1
    return ((rows, columns) if depth == 1 else (depth, rows, columns)), geometry


def _kind(dataset: Dataset) -> Literal["binary", "fractional", "labelmap"]:
    stated = text(dataset, "SegmentationType")
    if stated == "LABELMAP" or text(dataset, "SOPClassUID") == LABELMAP_SEG:
        return "labelmap"
    return "fractional" if stated == "FRACTIONAL" else "binary"


def _classes(dataset: Dataset) -> tuple[SegmentClass, ...]:
    found: dict[int, SegmentClass] = {}
    for item in dataset.get("SegmentSequence") or []:
        number = whole_number(item, "SegmentNumber")
        if number > 0:  # 0 is the background of a label map
            found[number] = SegmentClass(number, text(item, "SegmentLabel"))
    if not found:
        raise damaged("It describes no segment.")
    return tuple(found[number] for number in sorted(found))


def _by_segment(
    dataset: Dataset,
    pixels: np.ndarray,
    places: np.ndarray,
    classes: tuple[SegmentClass, ...],
    shape: tuple[int, ...],
    kind: str,
) -> list[np.ndarray]:
    """One array a class; several frames of a segment at one place are joined."""
    groups = functional_groups(dataset, "SegmentIdentificationSequence", len(pixels))
    owners = [whole_number(group, "ReferencedSegmentNumber") for group in groups]
    if not owners and len(classes) == 1:
        owners = [classes[0].number] * len(pixels)
    if len(owners) != len(pixels):
        raise damaged("It does not say which frame belongs to which segment.")
    top = float(whole_number(dataset, "MaximumFractionalValue", 255) or 255) if kind == "fractional" else 1.0
    arrays = {item.number: np.zeros(shape, np.float32 if kind == "fractional" else np.uint8) for item in classes}
    for frame, place, owner in zip(pixels, places, owners, strict=True):
        if owner not in arrays:
            raise damaged(f"A frame belongs to segment {owner}, which is not described.")
        target = arrays[owner][place]
        np.maximum(target, np.clip(frame / top, 0, 1) if kind == "fractional" else frame > 0, out=target)
    return [arrays[item.number] for item in classes]


def _overlap(arrays: list[np.ndarray]) -> bool:
    taken = np.zeros(arrays[0].shape, bool)
    for array in arrays:
        here = array >= 0.5
        if (taken & here).any():
            return True
        taken |= here
    return False


def _stack(dataset: Dataset, frames: int, limits: Limits) -> tuple[np.ndarray, SegmentGeometry, tuple[str, ...]]:
    """For each frame the index of its slice, the geometry of the slices, and notes."""
    positions = [
        numbers(group, "ImagePositionPatient") for group in functional_groups(dataset, "PlanePositionSequence", frames)
    ]
    turned = [
        numbers(group, "ImageOrientationPatient")
        for group in functional_groups(dataset, "PlaneOrientationSequence", frames)
    ]
    reference, plane = text(dataset, "FrameOfReferenceUID"), pixel_spacing_mm(dataset)
    thickness = _between_slices(dataset, frames)
    known = len(positions) == frames == len(turned) and all(
        len(a) == 3 and len(b) == 6 and np.isfinite(a + b).all() for a, b in zip(positions, turned, strict=True)
    )
    if known and max(np.abs(np.subtract(item, turned[0])).max() for item in turned) > 1e-2:
        raise UserError(
            "The slices of this segmentation are not parallel.",
            "They cannot be stacked into one volume.",
            "Export one stack of slices.",
        )
    if not known:
        places = _by_order(dataset, frames)
        return places, SegmentGeometry(None, None, plane, thickness, reference), ()
    orientation = np.array(turned[0])
    normal = np.cross(orientation[:3], orientation[3:])
    points = np.array(positions)
    along = points @ normal
    levels, places = _levels(along)
    here = np.array([points[places == index][0] for index in range(len(levels))])
    if len(levels) == 1:
        return places, SegmentGeometry(here, orientation, plane, thickness, reference), ()
    gaps = np.diff(levels)
    step = _step(gaps, thickness)
    counts = np.rint(gaps / step).astype(int)
    if np.abs(gaps - counts * step).max() > EVEN * step * max(1, counts.max()):
        note = "The slices lie at uneven distances; they were stacked as they follow one another."
        geometry = SegmentGeometry(here, orientation, plane, float(np.median(gaps)), reference, even=False)
        return places, geometry, (note,)
    where = np.concatenate([[0], np.cumsum(counts)])
    depth = int(where[-1]) + 1
    limits.check_frames(depth)
    filled = np.stack([np.interp(np.arange(depth), where, here[:, axis]) for axis in range(3)], axis=1)
    missing = depth - len(levels)
    noun = "slice" if missing == 1 else "slices"
    notes = (f"{missing} empty {noun} that the file leaves out were put back.",) if missing else ()
    distance = float((levels[-1] - levels[0]) / (depth - 1))
    return where[places], SegmentGeometry(filled, orientation, plane, distance, reference), notes


def _step(gaps: np.ndarray, stated: float | None) -> float:
    """The distance of neighbouring slices: the stated one where the gaps agree with it, else the smallest gap."""
    if stated and np.abs(gaps / stated - np.maximum(1, np.rint(gaps / stated))).max() <= EVEN:
        return stated
    return float(gaps.min())


def _levels(along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct positions along the normal, ascending, and the index of each frame among them."""
    order = np.argsort(along, kind="stable")
    new = np.concatenate([[True], np.diff(along[order]) > SAME_PLACE_MM])
    places = np.empty(len(along), int)
    places[order] = np.cumsum(new) - 1
    return along[order][new], places


def _by_order(dataset: Dataset, frames: int) -> np.ndarray:
    """Without positions: the frames of each segment follow one another."""
    groups = functional_groups(dataset, "SegmentIdentificationSequence", frames)
    owners = [whole_number(group, "ReferencedSegmentNumber", 0) for group in groups] or [0] * frames
    seen: dict[int, int] = {}
    places = []
    for owner in owners:
        places.append(seen.setdefault(owner, 0))
        seen[owner] += 1
    return np.array(places)


def _between_slices(dataset: Dataset, frames: int) -> float | None:
    """Spacing Between Slices, else Slice Thickness, in mm."""
    groups = functional_groups(dataset, "PixelMeasuresSequence", frames)
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        found = numbers(groups[0], keyword) if groups else numbers(dataset, keyword)
        if found and np.isfinite(found[0]) and found[0] > 0:
            return found[0]
    return None
