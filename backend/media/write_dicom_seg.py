"""A changed DICOM segmentation beside the one it came from: same frame of reference, same places, same segments.

Written by highdicom as BINARY (PS3.3 A.51). Segment descriptions, spacing, orientation and positions are the source's;
the patient is not: whoever the source named, this file names nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.media.dicom_open import open_dataset, text
from backend.media.dicom_seg import SegmentGeometry, geometry_of
from backend.media.limits import Limits
from backend.media.marks import SOFTWARE, Mark, digest_uid
from backend.media.write_dicom import EXPLICIT_LITTLE, IMPLEMENTATION, moment, put_mark, save
from backend.provenance import Provenance

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

SERIES_NUMBER = 100
UNKNOWN_THICKNESS_MM = 1.0  # where the source states no distance of slices, which the object has to


def write_segmentation(
    path: Path, source: Path, masks: Mapping[int, np.ndarray], provenance: Provenance, limits: Limits
) -> None:
    """Write ``masks``, bool [H, W] or [D, H, W] by segment number, as the segmentation ``source`` would hold them.

    The masks have the shape that ``read_segmentation(source)`` gave, and a number for each of its segments; frames
    without foreground are left out, as is usual. Equal arguments give equal bytes. Raises ``ValueError`` for masks that
    do not fit the source, ``UserError`` where the source does not say where its slices lie.
    """
    import highdicom

    dataset = open_dataset(source, limits, headers_only=True)
    shape, geometry = geometry_of(dataset, limits)
    if sorted(masks) != sorted(_numbers(dataset)) or any(mask.shape != shape for mask in masks.values()):
        raise ValueError(f"masks {[(key, mask.shape) for key, mask in masks.items()]} do not fit {shape}")
    numbers = sorted(masks)
    stack = np.stack([np.asarray(masks[number], bool) for number in numbers], axis=-1)
    stack = stack.reshape(-1, *stack.shape[-3:])
    placed = geometry.positions is not None and geometry.orientation is not None
    if len(stack) > 1 and not placed:
        raise UserError(
            "The result cannot be written as DICOM.",
            "The segmentation does not say where its slices lie.",
            "Convert it to NIfTI, which keeps slices in their order, and upload that.",
        )
    if not stack.any():
        raise UserError("Nothing is left to write.", "A DICOM segmentation cannot be empty.", "Lower the threshold.")
    identity = digest_uid("seg", Mark(provenance).to_text(), text(dataset, "SOPInstanceUID"), stack.tobytes())
    save_segments(
        path,
        [_reference(dataset, shape, geometry)],
        stack.astype(np.uint8),
        _descriptions(dataset, numbers),
        identity,
        provenance,
        content_label="SEGMENTATION",
        omit_empty_frames=placed,
        **(_placement(highdicom, geometry) if placed else {}),
    )


def save_segments(
    path: Path,
    images: Sequence[Dataset],
    stack: np.ndarray,
    descriptions: Sequence[Any],
    identity: str,
    provenance: Provenance,
    **more: Any,
) -> None:
    """Write binary segments, uint8 [D, H, W, segments], over ``images`` with the UID ``identity`` and without a name.

    ``descriptions``: highdicom's, one a segment; ``more``: other arguments of highdicom's ``Segmentation``.
    """
    import highdicom

    made = highdicom.seg.Segmentation(
        source_images=images,
        pixel_array=stack,
        segmentation_type="BINARY",
        segment_descriptions=descriptions,
        series_instance_uid=digest_uid("series", identity),
        series_number=SERIES_NUMBER,
        sop_instance_uid=identity,
        instance_number=1,
        manufacturer=SOFTWARE,
        manufacturer_model_name=SOFTWARE,
        software_versions=(provenance.code_version or "unknown")[:64],
        device_serial_number="0",
        **more,
    )
    _make_repeatable(made, provenance, identity)
    put_mark(made, provenance)
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "Written without identity"
    made.SeriesDescription = f"{SOFTWARE} {provenance.system} {provenance.action}"[:64]
    save(path, made)


def _numbers(dataset: Dataset) -> list[int]:
    return [int(item.SegmentNumber) for item in dataset.SegmentSequence if int(item.SegmentNumber) > 0]


def _reference(dataset: Dataset, shape: tuple[int, ...], geometry: SegmentGeometry) -> Dataset:
    """The source as highdicom wants to see it: one image in the frame of reference, of a patient without name."""
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import UID

    reference = Dataset()
    reference.file_meta = FileMetaDataset()
    reference.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        setattr(reference, keyword, text(dataset, keyword) or digest_uid("missing", keyword))
    reference.PatientName, reference.PatientID = "Anonymous^", "ANONYMOUS"
    reference.PatientBirthDate = reference.PatientSex = reference.AccessionNumber = reference.StudyID = ""
    reference.StudyDate = reference.StudyTime = ""
    reference.Modality = "SEG"
    reference.Rows, reference.Columns = shape[-2:]
    reference.SpecificCharacterSet = "ISO_IR 192"
    shared, measures = Dataset(), Dataset()
    measures.PixelSpacing = [_decimal(value) for value in geometry.pixel_spacing_mm or (1.0, 1.0)]
    measures.SliceThickness = _decimal(geometry.slice_spacing_mm or UNKNOWN_THICKNESS_MM)
    shared.PixelMeasuresSequence = [measures]
    reference.SharedFunctionalGroupsSequence = [shared]
    reference.NumberOfFrames = 1 if geometry.positions is None else len(geometry.positions)
    if geometry.positions is not None and geometry.orientation is not None:
        reference.FrameOfReferenceUID = geometry.frame_of_reference or digest_uid("frame", reference.SOPInstanceUID)
        turned = Dataset()
        turned.ImageOrientationPatient = [_decimal(value) for value in geometry.orientation]
        shared.PlaneOrientationSequence = [turned]
        reference.PerFrameFunctionalGroupsSequence = [_place(point) for point in geometry.positions]
    return reference


def _place(point: np.ndarray) -> Dataset:
    """The functional group of one slice that lies at ``point``, mm in LPS."""
    from pydicom import Dataset

    group, place = Dataset(), Dataset()
    place.ImagePositionPatient = [_decimal(value) for value in point]
    group.PlanePositionSequence = [place]
    return group


def _decimal(value: float) -> Any:
    """A decimal string of at most 16 characters."""
    from pydicom.valuerep import DSfloat

    return DSfloat(float(value), auto_format=True)


def _placement(highdicom: Any, geometry: SegmentGeometry) -> dict[str, Any]:
    if geometry.positions is None or geometry.orientation is None:
        raise ValueError("a placement needs positions")
    distance = geometry.slice_spacing_mm
    measures = highdicom.PixelMeasuresSequence(
        geometry.pixel_spacing_mm or (1.0, 1.0),
        distance or UNKNOWN_THICKNESS_MM,
        distance if len(geometry.positions) > 1 and geometry.even else None,
    )
    return {
        "pixel_measures": measures,
        "plane_orientation": highdicom.PlaneOrientationSequence("PATIENT", geometry.orientation.tolist()),
        "plane_positions": [highdicom.PlanePositionSequence("PATIENT", point.tolist()) for point in geometry.positions],
    }


def _descriptions(dataset: Dataset, numbers: list[int]) -> list[SegmentDescription]:
    """The source's own descriptions; one that lost too much on its way is written anew around its label.

    The object numbers its segments 1, 2, 3 …; descriptions follow in the order of the source's numbers.
    """
    from copy import deepcopy

    import highdicom

    by_number = {int(item.SegmentNumber): item for item in dataset.SegmentSequence}
    found = []
    for place, number in enumerate(numbers, start=1):
        item = deepcopy(by_number[number])
        item.SegmentNumber = place
        try:
            found.append(highdicom.seg.SegmentDescription.from_dataset(item))
        except (AttributeError, ValueError, TypeError, KeyError):
            found.append(
                highdicom.seg.SegmentDescription(
                    segment_number=place,
                    segment_label=text(item, "SegmentLabel") or f"Segment {number}",
                    segmented_property_category=highdicom.sr.CodedConcept("85756007", "SCT", "Tissue"),
                    segmented_property_type=highdicom.sr.CodedConcept("85756007", "SCT", "Tissue"),
                    algorithm_type="SEMIAUTOMATIC",
                    algorithm_identification=highdicom.AlgorithmIdentificationSequence(
                        SOFTWARE, highdicom.sr.CodedConcept("123109", "DCM", "Manual Processing"), "1"
                    ),
                )
            )
    return found


def _make_repeatable(made: Dataset, provenance: Provenance, identity: str) -> None:
    """Times and generated UIDs of the provenance and the content, so that equal input gives equal bytes."""
    from pydicom.uid import UID

    when = moment(provenance)
    date, time = when.strftime("%Y%m%d"), when.strftime("%H%M%S.%f")
    made.InstanceCreationDate, made.InstanceCreationTime = date, time
    made.ContentDate, made.ContentTime = date, time
    made.StudyDate, made.StudyTime = date, time
    for keyword in ("SeriesDate", "SeriesTime"):
        if keyword in made:
            setattr(made, keyword, date if keyword.endswith("Date") else time)
    made.file_meta.ImplementationClassUID = UID(IMPLEMENTATION)
    made.file_meta.ImplementationVersionName = SOFTWARE.upper()
    dimension = digest_uid("dimension", identity)
    for item in made.get("DimensionOrganizationSequence") or []:
        item.DimensionOrganizationUID = dimension
    for item in made.get("DimensionIndexSequence") or []:
        item.DimensionOrganizationUID = dimension
