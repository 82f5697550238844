"""Where DICOM frames lie in space and time: spacing, order along the normal, affine, frame time.

Source: DICOM PS3.3 C.7.6.2 (image plane), C.8.5.5 (ultrasound regions), C.7.6.5 (cine).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from backend.media.dicom_open import numbers
from backend.media.dicom_values import functional_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom import Dataset

log = logging.getLogger(__name__)

CENTIMETRES = 3


def pixel_spacing_mm(dataset: Dataset) -> tuple[float, float] | None:
    """(between rows, between columns) in mm, from the pixel measures, the ultrasound regions or the plate."""
    groups = functional_groups(dataset, "PixelMeasuresSequence", int((numbers(dataset, "NumberOfFrames") or (1,))[0]))
    for source, keyword in (
        *((group, "PixelSpacing") for group in groups[:1]),
        (dataset, "PixelSpacing"),
        (dataset, "ImagerPixelSpacing"),
        (dataset, "NominalScannedPixelSpacing"),
    ):
        found = numbers(source, keyword)
        if len(found) == 2 and all(np.isfinite(found)) and min(found) > 0:
            return found[0], found[1]
    try:
        for region in dataset.get("SequenceOfUltrasoundRegions") or []:
            units = numbers(region, "PhysicalUnitsXDirection") + numbers(region, "PhysicalUnitsYDirection")
            delta = numbers(region, "PhysicalDeltaY") + numbers(region, "PhysicalDeltaX")
            if not _fits(dataset, region):
                continue  # the frames were resized after the scanner measured them
            if units == (CENTIMETRES, CENTIMETRES) and len(delta) == 2 and all(np.isfinite(delta)) and all(delta):
                return abs(delta[0]) * 10, abs(delta[1]) * 10
    except Exception as error:
        log.debug("ultrasound regions refused: %s", type(error).__name__)
    return None


def _fits(dataset: Dataset, region: Dataset) -> bool:
    """Whether an ultrasound region lies within the frame."""
    right, bottom = numbers(region, "RegionLocationMaxX1"), numbers(region, "RegionLocationMaxY1")
    columns, rows = numbers(dataset, "Columns"), numbers(dataset, "Rows")
    return not (right and columns and right[0] > columns[0]) and not (bottom and rows and bottom[0] > rows[0])


def frame_time_ms(dataset: Dataset) -> float | None:
    """Milliseconds between frames: Frame Time, median of the Frame Time Vector, or one of the rates."""
    for keyword in ("FrameTime", "FrameTimeVector"):
        found = [value for value in numbers(dataset, keyword) if np.isfinite(value) and value > 0]
        if found:
            return float(np.median(found))
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        found = [value for value in numbers(dataset, keyword) if np.isfinite(value) and value > 0]
        if found:
            return 1000.0 / found[0]
    return None


def plane(dataset: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(position, row direction, column direction) of one plane in mm, LPS; ``None`` unless well-formed."""
    position, orientation = numbers(dataset, "ImagePositionPatient"), numbers(dataset, "ImageOrientationPatient")
    if len(position) != 3 or len(orientation) != 6 or not all(np.isfinite(position + orientation)):
        return None
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    if min(np.linalg.norm(row), np.linalg.norm(column)) < 0.5 or np.linalg.norm(np.cross(row, column)) < 0.5:
        return None
    return np.array(position), row, column


def stack_geometry(dataset: Dataset, frames: int) -> tuple[np.ndarray | None, float | None, np.ndarray | None]:
    """(order of frames, spacing of slices in mm, affine) of a multi-frame volume; Nones when it is none."""
    positions = functional_groups(dataset, "PlanePositionSequence", frames)
    orientations = functional_groups(dataset, "PlaneOrientationSequence", frames)
    offsets = numbers(dataset, "GridFrameOffsetVector")
    planes = []
    if positions and orientations:
        for position, orientation in zip(positions, orientations, strict=True):
            merged = (numbers(position, "ImagePositionPatient"), numbers(orientation, "ImageOrientationPatient"))
            planes.append(_plane(*merged))
    elif len(offsets) == frames and frames > 1 and (first := plane(dataset)) is not None:
        normal = np.cross(first[1], first[2])
        planes = [(first[0] + normal * (offset - offsets[0]), first[1], first[2]) for offset in offsets]
    if len(planes) != frames or any(item is None for item in planes):
        spacing = numbers(dataset, "SpacingBetweenSlices") or numbers(dataset, "SliceThickness")
        if frames > 1 and spacing and spacing[0] > 0 and not frame_time_ms(dataset):
            return np.arange(frames), spacing[0], None
        return None, None, None
    return sort_planes([item for item in planes if item is not None], pixel_spacing_mm(dataset))


def _plane(position: tuple[float, ...], orientation: tuple[float, ...]):
    if len(position) != 3 or len(orientation) != 6 or not all(np.isfinite(position + orientation)):
        return None
    return np.array(position), np.array(orientation[:3]), np.array(orientation[3:])


def sort_planes(
    planes: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], spacing: tuple[float, float] | None
) -> tuple[np.ndarray | None, float | None, np.ndarray | None]:
    """Order along the normal of the first plane, median distance of neighbours in mm, and affine (LPS).

    Nones when the planes do not lie on distinct parallel positions (then they are not one stack).
    """
    _, row, column = planes[0]
    normal = np.cross(row, column)
    if any(np.abs(item[1] - row).max() > 1e-2 or np.abs(item[2] - column).max() > 1e-2 for item in planes):
        return None, None, None
    along = np.array([float(item[0] @ normal) for item in planes])
    order = np.argsort(along, kind="stable")
    if len(planes) == 1:
        return order, None, None
    gaps = np.diff(along[order])
    # The lower median is a gap that occurs: a missing slice must not invent a spacing of its own.
    distance = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    if distance <= 1e-4 or np.count_nonzero(gaps <= 1e-4):
        return None, None, None
    affine = np.eye(4)
    dy, dx = spacing or (1.0, 1.0)
    # DICOM's row direction is the direction in which the column index grows.
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = row * dx, column * dy, normal * distance
    affine[:3, 3] = planes[order[0]][0]
    return order, distance, affine
