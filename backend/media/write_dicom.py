"""DICOM with the mark inside: Secondary Capture for stills, Ultrasound Multi-frame for clips.

Uncompressed, Explicit VR Little Endian, which every viewer opens. Synthetic pictures say SyntheticData (0008,001C) =
YES. Nobody is named: the patient is 'Synthetic' or 'Anonymous', and every UID and time comes from the content and its
provenance, so that equal input gives equal bytes. Source: PS3.3 A.8.1, A.8.4, A.7 (IODs) and C.7.6, C.8.5.6, C.12.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.media.marks import LONG_TEXT, PRIVATE_CREATOR, PRIVATE_GROUP, SOFTWARE, Mark, digest_uid, replacing
from backend.provenance import Provenance

if TYPE_CHECKING:
    from pydicom import Dataset

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
US_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
IMPLEMENTATION = digest_uid("synthscope implementation 1")
MAX_PIXEL_BYTES = (1 << 32) - 2
SHORT_TEXT = 1024
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def write_secondary_capture(
    path: Path, array: np.ndarray, provenance: Provenance, *, spacing_mm: tuple[float, float] | None = None
) -> None:
    """Write one picture.

    ``array`` is uint8 [H, W, 3] RGB, or uint8, uint16 or bool (as 0 and 255) [H, W]; ``spacing_mm`` is (row, column)
    spacing of a calibrated picture. Raises ``ValueError`` for other arrays.
    """
    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8) * 255
    if (array.ndim == 3 and array.shape[2] == 3) or array.ndim == 2:
        frames = array[None]
    else:
        raise ValueError(f"a picture is [H, W] or [H, W, 3], not {array.shape}")
    dataset = _common(frames, provenance, SECONDARY_CAPTURE, "OT", spacing_mm)
    dataset.ConversionType = "SYN" if provenance.synthetic else "WSD"
    if array.ndim == 2:
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    save(path, dataset)


def write_us_multiframe(
    path: Path,
    frames: np.ndarray,
    frame_time_ms: float,
    provenance: Provenance,
    *,
    spacing_mm: tuple[float, float] | None = None,
) -> None:
    """Write an ultrasound clip.

    ``frames`` is uint8 [T, H, W] or [T, H, W, 3] RGB; ``frame_time_ms`` milliseconds between frames, above 0;
    ``spacing_mm`` is (row, column) spacing, written as Pixel Spacing and as one Ultrasound Region over the whole frame.
    Raises ``ValueError`` for other input, ``UserError`` when the clip is larger than DICOM can hold (4 GiB).
    """
    save(path, us_multiframe(frames, frame_time_ms, provenance, spacing_mm))


def us_multiframe(
    frames: np.ndarray, frame_time_ms: float, provenance: Provenance, spacing_mm: tuple[float, float] | None
) -> Dataset:
    """The data set that :func:`write_us_multiframe` writes."""
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or (frames.ndim == 4 and frames.shape[3] != 3):
        raise ValueError(f"a clip is uint8 [T, H, W] or [T, H, W, 3], not {frames.dtype} {frames.shape}")
    if not np.isfinite(frame_time_ms) or frame_time_ms <= 0:
        raise ValueError(f"{frame_time_ms} ms between frames")
    dataset = _common(frames, provenance, US_MULTI_FRAME, "US", spacing_mm)
    dataset.NumberOfFrames = len(frames)
    dataset.FrameIncrementPointer = 0x00181063
    dataset.FrameTime = _decimal(frame_time_ms)
    dataset.CineRate = max(1, round(1000 / frame_time_ms))
    dataset.RecommendedDisplayFrameRate = dataset.CineRate
    if spacing_mm is not None:
        dataset.SequenceOfUltrasoundRegions = [_region(frames.shape[1], frames.shape[2], spacing_mm)]
    return dataset


def _common(
    frames: np.ndarray,
    provenance: Provenance,
    sop_class: str,
    modality: str,
    spacing_mm: tuple[float, float] | None,
) -> Dataset:
    """Everything both objects have: patient, study, series, equipment, image pixels, SOP common, derivation."""
    from pydicom import Dataset, FileMetaDataset
    from pydicom.uid import UID

    if frames.dtype not in (np.uint8, np.uint16) or not frames.size or max(frames.shape[1:3]) > 65535:
        raise ValueError(f"pixels of {frames.dtype} {frames.shape} cannot be written")
    if frames.nbytes > MAX_PIXEL_BYTES:
        raise UserError(
            "The clip is too large for DICOM.", "One DICOM file holds at most 4 GiB of pixels.", "Save it as MP4."
        )
    mark, pixels = Mark(provenance), np.ascontiguousarray(frames, dtype=frames.dtype.newbyteorder("<")).tobytes()
    text = mark.to_text()
    identity = digest_uid(sop_class, text, str(frames.shape), repr(spacing_mm), pixels)
    made = moment(provenance)
    date, time = made.strftime("%Y%m%d"), made.strftime("%H%M%S.%f")

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    ds.file_meta.MediaStorageSOPInstanceUID = UID(identity)
    ds.file_meta.TransferSyntaxUID = UID(EXPLICIT_LITTLE)
    ds.file_meta.ImplementationClassUID = UID(IMPLEMENTATION)
    ds.file_meta.ImplementationVersionName = SOFTWARE.upper()

    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, identity
    ds.InstanceCreationDate, ds.InstanceCreationTime, ds.TimezoneOffsetFromUTC = date, time, "+0000"
    ds.PatientName = "Synthetic" if provenance.synthetic else "Anonymous"
    ds.PatientID = "SYNTHETIC" if provenance.synthetic else "ANONYMOUS"
    ds.PatientBirthDate = ds.PatientSex = ""
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "No patient: made by a model" if provenance.synthetic else "Written without identity"
    ds.StudyInstanceUID = digest_uid("study", identity)
    ds.StudyDate, ds.StudyTime = date, time
    ds.ReferringPhysicianName = ds.StudyID = ds.AccessionNumber = ""
    ds.StudyDescription = f"{SOFTWARE} {provenance.system}"[:64]
    ds.Modality = modality
    ds.SeriesInstanceUID, ds.SeriesNumber = digest_uid("series", identity), 1
    ds.SeriesDescription = f"{SOFTWARE} {provenance.system} {provenance.action}"[:64]
    ds.Manufacturer = ds.ManufacturerModelName = SOFTWARE
    ds.SoftwareVersions = (provenance.code_version or "unknown")[:64]
    ds.InstanceNumber = 1
    ds.PatientOrientation = ""
    ds.ContentDate, ds.ContentTime = date, time
    ds.ImageType = ["DERIVED", "SECONDARY"]
    put_mark(ds, provenance)

    colour = frames.ndim == 4
    ds.Rows, ds.Columns = frames.shape[1:3]
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        ds.PlanarConfiguration = 0
    ds.BitsAllocated = ds.BitsStored = 8 * frames.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, 0
    if not colour:
        ds.PresentationLUTShape = "IDENTITY"
    if spacing_mm is not None:
        ds.PixelSpacing = [_decimal(spacing_mm[0]), _decimal(spacing_mm[1])]
    ds.add_new(0x7FE00010, "OW" if frames.itemsize == 2 else "OB", pixels + b"\x00" * (len(pixels) % 2))
    return ds


def put_mark(ds: Dataset, provenance: Provenance) -> None:
    """Say in a data set that it is derived, by what, and whether it is synthetic; the whole mark goes in as text."""
    mark = Mark(provenance)
    text = mark.to_text()
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    ds.DerivationDescription = _derivation(mark)
    ds.add_new(0x0008001C, "CS", "YES" if provenance.synthetic else "NO")
    ds.ContributingEquipmentSequence = [_equipment(provenance)]
    if len(text) <= LONG_TEXT:
        ds.ImageComments = text
    else:
        ds.ImageComments = mark.sentences
        ds.private_block(PRIVATE_GROUP, PRIVATE_CREATOR, create=True).add_new(0x01, "UT", text)


def _derivation(mark: Mark) -> str:
    """For the eyes of a person: the sentences and what made it, within the 1024 characters of an ST."""
    made = mark.provenance
    parts = [mark.sentences, f"Made by {SOFTWARE}: {made.system} {made.action}."]
    if made.seed is not None:
        parts.append(f"Seed {made.seed}.")
    if made.weights:
        parts.append("Weights " + ", ".join(f"{name} {digest[:12]}" for name, digest in sorted(made.weights.items())))
    return " ".join(parts)[:SHORT_TEXT]


def _equipment(provenance: Provenance) -> Dataset:
    """The program as equipment that contributed (C.12, Contributing Equipment Sequence)."""
    from pydicom import Dataset

    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109103", "DCM"
    purpose.CodeMeaning = "Modifying Equipment"
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = [purpose]
    item.Manufacturer = item.ManufacturerModelName = SOFTWARE
    item.SoftwareVersions = (provenance.code_version or "unknown")[:64]
    item.ContributionDateTime = moment(provenance).strftime("%Y%m%d%H%M%S.%f+0000")
    item.ContributionDescription = f"{provenance.system} {provenance.action}"[:SHORT_TEXT]
    return item


def _region(rows: int, columns: int, spacing_mm: tuple[float, float]) -> Dataset:
    """One calibrated two-dimensional tissue region over the whole frame (C.8.5.5); centimetres a pixel."""
    from pydicom import Dataset

    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.RegionLocationMinX0 = item.RegionLocationMinY0 = 0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = columns - 1, rows - 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaY, item.PhysicalDeltaX = spacing_mm[0] / 10, spacing_mm[1] / 10
    return item


def moment(provenance: Provenance) -> datetime:
    """When it was made, UTC, by its provenance; the same moment for all that do not say."""
    try:
        return datetime.fromisoformat(provenance.made_at).astimezone(UTC)
    except ValueError:
        return EPOCH


def _decimal(value: float) -> str:
    """A DS of at most 16 characters."""
    for digits in range(16, 0, -1):
        text = f"{float(value):.{digits}g}"
        if len(text) <= 16:
            return text
    raise ValueError(f"{value} has no decimal string")


def save(path: Path, dataset: Dataset) -> None:
    """Write the data set; the file appears only when it is complete."""
    with replacing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
