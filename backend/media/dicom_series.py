"""Several DICOM files as one: sorted by position along the normal, or by instance number where there is none."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.media.dicom_geometry import pixel_spacing_mm, plane, sort_planes
from backend.media.dicom_open import numbers, open_dataset, require_pixels, text, whole_number
from backend.media.dicom_pixels import decode
from backend.media.limits import Limits
from backend.media.sniff import sniff

if TYPE_CHECKING:
    from pydicom import Dataset

    from backend.media.dicom import DicomImage


def dicom_files(paths: list[Path]) -> list[Path]:
    """Those of the files that are DICOM by content."""
    found = []
    for path in paths:
        try:
            if sniff(path).format == "dicom":
                found.append(path)
        except UserError:
            continue
    return found


def group_series(paths: list[Path], limits: Limits) -> tuple[list[tuple[Path, Dataset]], tuple[str, ...]]:
    """The series with the most pictures among DICOM files, headers only, in the order given; and what was left out.

    Pictures of one series that differ in size (a scout beside its slices) are told apart too. Raises ``UserError``
    when no file has a picture.
    """
    groups: dict[tuple[str, int, int], list[tuple[Path, Dataset]]] = defaultdict(list)
    without, last = 0, UserError("There is no DICOM image here.", "", "Choose the folder that holds the images.")
    for path in paths:
        try:
            header = open_dataset(path, limits, headers_only=True)
            if "Rows" not in header or "Columns" not in header:
                require_pixels(header)
            size = whole_number(header, "Rows"), whole_number(header, "Columns")
        except UserError as error:
            without, last = without + 1, error
            continue
        groups[(text(header, "SeriesInstanceUID"), *size)].append((path, header))
    if not groups:
        if len(paths) == 1:
            raise last
        raise UserError(
            "There is no DICOM image here.",
            f"None of the {len(paths)} DICOM files holds a picture that can be read.",
            "Choose the folder that holds the images.",
        )
    chosen = max(groups.values(), key=len)
    notes = []
    if len(groups) > 1:
        others = sum(len(group) for group in groups.values()) - len(chosen)
        notes.append(
            f"The files belong to {len(groups)} series; the one with the most images ({len(chosen)}) was taken and "
            f"{others} other {'image was' if others == 1 else 'images were'} left out."
        )
    if without:
        notes.append(f"{without} DICOM {'file' if without == 1 else 'files'} without a readable picture left out.")
    return chosen, tuple(notes)


def read_series(paths: list[Path], limits: Limits) -> DicomImage:
    """Read a series as one volume (or clip, where its images do not lie at distinct positions).

    Raises ``UserError`` when there is no picture among the files, or the images of the series do not fit together.
    """
    from backend.media.dicom import DicomImage, present, properties, read_single

    files = dicom_files(paths)
    if not files:
        raise UserError(
            "There is no DICOM file here.", "None of the files is DICOM by its content.", "Choose another folder."
        )
    chosen, notes = group_series(files, limits)
    if len(chosen) == 1:
        image = read_single(open_dataset(chosen[0][0], limits), limits)
        return replace(image, notes=image.notes + notes)
    limits.check_frames(len(chosen))
    first = chosen[0][1]
    limits.check_pixels(len(chosen), whole_number(first, "Rows"), whole_number(first, "Columns"))
    if any((whole_number(header, "NumberOfFrames", 1) or 1) > 1 for _, header in chosen):
        raise UserError(
            f"These are {len(chosen)} multi-frame files of one series.",
            "Each of them is a clip or volume of its own.",
            "Choose one of them.",
        )
    spacing = pixel_spacing_mm(first)
    planes = [plane(header) for _, header in chosen]
    order, distance, affine = None, None, None
    if all(item is not None for item in planes):
        order, distance, affine = sort_planes([item for item in planes if item is not None], spacing)
    if order is None:
        instance = [(numbers(header, "InstanceNumber") or (0.0,))[0] for _, header in chosen]
        order = np.argsort(np.array(instance), kind="stable")
        notes = (*notes, "The images do not lie at distinct positions, so they were put in order of instance number.")
    gaps = _uneven([planes[index] for index in order], distance)
    if gaps:
        notes = (*notes, gaps)
    slices: list[Any] = []
    window, lut, photometric = None, None, text(first, "PhotometricInterpretation") or "MONOCHROME2"
    for index in order:
        dataset = open_dataset(chosen[index][0], limits)
        require_pixels(dataset)
        values, own_window, own_lut = present(
            dataset, decode(dataset, limits), text(dataset, "PhotometricInterpretation") or "MONOCHROME2"
        )
        window, lut = window or own_window, lut if lut is not None else own_lut
        if slices and values.shape != slices[0].shape:
            raise UserError(
                "The images of this series do not fit together.", "Some are grey and some are in colour.", ""
            )
        slices.append(values)
    pixels = np.concatenate(slices)
    steps = (distance, *spacing) if distance and spacing else spacing
    content = "volume" if distance else "clip"
    facts = properties(first, pixels, content, steps, None)
    return DicomImage(
        pixels=pixels,
        spacing_mm=steps,
        frame_time_ms=None,
        modality=text(first, "Modality"),
        photometric=photometric,
        properties=facts | {"files": len(chosen)},
        content="volume" if distance else "clip",
        affine=affine,
        window=window,
        display_lut=lut,
        notes=notes,
    )


def _uneven(planes: list, distance: float | None) -> str:
    if not distance or any(item is None for item in planes):
        return ""
    normal = np.cross(planes[0][1], planes[0][2])
    gaps = np.diff([float(item[0] @ normal) for item in planes])
    missing = int(np.count_nonzero(np.abs(gaps - distance) > 0.1 * distance))
    if not missing:
        return ""
    return f"The slices are not evenly spaced: {missing} of {len(gaps)} gaps differ from {distance:.2f} mm."
