"""Findings in a DICOM series as a DICOM segmentation over the same images, written by highdicom.

One segment a finding, BINARY (PS3.3 A.51). The series is our de-identified copy: the file names nobody.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.media.dicom_geometry import pixel_spacing_mm, plane, sort_planes, stack_geometry
from backend.media.dicom_open import open_dataset, text, whole_number
from backend.media.limits import Limits
from backend.media.marks import SOFTWARE, Mark, digest_uid
from backend.media.write_dicom_seg import save_segments
from backend.provenance import Provenance

if TYPE_CHECKING:
    from pydicom import Dataset

MOST_SEGMENTS = 100


def write_findings(
    path: Path, source: Path, labels: np.ndarray, names: Sequence[str], provenance: Provenance, limits: Limits
) -> None:
    """Write ``labels``, integers [D, H, W] in the order that ``read_dicom(source)`` gives, as one segment a label.

    ``names[i]`` belongs to label i + 1; labels beyond :data:`MOST_SEGMENTS` are left out. Equal arguments give equal
    bytes. Raises ``ValueError`` for labels that do not fit the source, ``UserError`` for a source without places in
    space, or when nothing was found.
    """
    import highdicom

    images, order = _images(source, limits)
    numbers = [number for number in range(1, min(len(names), MOST_SEGMENTS) + 1) if (labels == number).any()]
    if not numbers:
        raise UserError("Nothing is left to write.", "A DICOM segmentation cannot be empty.", "Lower the threshold.")
    rows, columns = whole_number(images[0], "Rows"), whole_number(images[0], "Columns")
    if labels.shape != (len(order), rows, columns):
        raise ValueError(f"labels {labels.shape} do not fit {len(order)} images of {rows} × {columns}")
    if any("FrameOfReferenceUID" not in image for image in images):
        raise UserError(
            "The findings cannot be written as DICOM.",
            "The images do not say where they lie in space.",
            "Use the label map as NIfTI.",
        )
    stored = np.empty_like(labels)
    stored[order] = labels
    stack = np.stack([stored == number for number in numbers], axis=-1).astype(np.uint8)
    identity = digest_uid("seg", Mark(provenance).to_text(), text(images[0], "SOPInstanceUID"), stack.tobytes())
    descriptions = [
        _description(highdicom, place, names[number - 1], provenance) for place, number in enumerate(numbers, 1)
    ]
    save_segments(
        path, images, stack, descriptions, identity, provenance, content_label="FINDINGS", omit_empty_frames=True
    )


def _images(source: Path, limits: Limits) -> tuple[list[Dataset], np.ndarray]:
    """The images of a stored series, headers only, and for each slice as it is read the number of its image."""
    from backend.media.archive import unpack
    from backend.media.dicom_series import dicom_files, group_series
    from backend.media.sniff import sniff

    if sniff(source).kind != "archive":
        dataset = open_dataset(source, limits, headers_only=True)
        frames = whole_number(dataset, "NumberOfFrames", 1) or 1
        order, _, _ = stack_geometry(dataset, frames)
        return [_complete(dataset)], np.arange(frames) if order is None or frames == 1 else order
    with tempfile.TemporaryDirectory(prefix="synthscope-") as folder:
        files = dicom_files([item.path for item in unpack(source, Path(folder), limits)])
        chosen, _ = group_series(files, limits)
        headers = [header for _, header in chosen]
    planes = [plane(header) for header in headers]
    found = [item for item in planes if item is not None]
    order = sort_planes(found, pixel_spacing_mm(headers[0]))[0] if len(found) == len(planes) else None
    if order is None:
        raise UserError(
            "The findings cannot be written as DICOM.",
            "The images do not lie at distinct places.",
            "Use the label map as NIfTI.",
        )
    return [_complete(header) for header in headers], order


def _complete(dataset: Dataset) -> Dataset:
    """What the object has to repeat of its source, empty where the de-identified source lacks it."""
    for keyword, value in (("PatientName", "Anonymous^"), ("PatientID", "ANONYMOUS")):
        setattr(dataset, keyword, value)
    for keyword in ("PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
        setattr(dataset, keyword, "")
    return dataset


def _description(highdicom: Any, place: int, name: str, provenance: Provenance) -> Any:
    concept = highdicom.sr.CodedConcept
    return highdicom.seg.SegmentDescription(
        segment_number=place,
        segment_label=name[:64],
        segmented_property_category=concept("49755003", "SCT", "Morphologically abnormal structure"),
        segmented_property_type=concept("52988006", "SCT", "Lesion"),
        algorithm_type="AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            f"{SOFTWARE} {provenance.system}"[:64],
            concept("123110", "DCM", "Artificial Intelligence"),
            (provenance.code_version or "unknown")[:64],
        ),
    )
