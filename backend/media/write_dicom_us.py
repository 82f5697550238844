"""Echo clips as DICOM Ultrasound Multi-frame Image Storage, with all that a cardiac viewer asks a clip for.

Uncompressed MONOCHROME2 in Explicit VR Little Endian is the default: every viewer must read it (PS3.5 section 10), it
is exact, and 64 frames of 112 × 112 are 0.8 MB. JPEG Baseline, the usual form of ultrasound in archives, is the other
choice; it is lossy and the file says so. Source: PS3.3 A.7 (IOD), C.7.6.5 (cine), C.8.5.5 (regions), C.8.5.6 (image).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from backend.media.marks import digest_uid
from backend.media.write_dicom import save, us_multiframe
from backend.provenance import Provenance

if TYPE_CHECKING:
    from pydicom import Dataset

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
QUALITY = 95
SUBJECT = re.compile(r"[A-Za-z0-9-]{1,40}")
HEART = ("80891009", "Heart")
APICAL_FOUR_CHAMBER = ("399214001", "Apical four chamber")

Compression = Literal["none", "jpeg"]


def write_us_clip(
    path: Path,
    frames: np.ndarray,
    fps: float,
    provenance: Provenance,
    *,
    mm_per_px: float | None = None,
    heart_rate: float | None = None,
    subject: str = "",
    compression: Compression = "none",
    view: tuple[str, str] | None = APICAL_FOUR_CHAMBER,
) -> None:
    """Write an echo clip.

    ``frames`` is uint8 [T, H, W] (MONOCHROME2) or [T, H, W, 3] RGB; ``fps`` frames a second, above 0; ``mm_per_px`` the
    side of a (square) pixel, which becomes Pixel Spacing and one calibrated ultrasound region, and is left out where it
    is not known, for a made-up scale would be measured with; ``heart_rate`` beats a minute. ``subject`` (letters,
    digits, -) tells one patient who does not exist from another; ``view`` is the SNOMED CT code and meaning of the
    view. Raises ``ValueError`` for other input, ``UserError`` when the clip is larger than DICOM can hold.
    """
    if not np.isfinite(fps) or fps <= 0:
        raise ValueError(f"{fps} frames a second")
    if mm_per_px is not None and not 0 < mm_per_px < np.inf:
        raise ValueError(f"{mm_per_px} mm a pixel")
    if heart_rate is not None and not 0 < heart_rate < 1000:
        raise ValueError(f"{heart_rate} beats a minute")
    if subject and not SUBJECT.fullmatch(subject):
        raise ValueError(f"{subject!r} cannot name a subject")
    frames = np.asarray(frames)
    spacing = None if mm_per_px is None else (mm_per_px, mm_per_px)
    dataset = us_multiframe(frames, 1000 / fps, provenance, spacing)
    dataset.ImageType = ["DERIVED", "SECONDARY", "", "0001"]  # 0001: two-dimensional imaging (C.8.5.6.1.1)
    dataset.UltrasoundColorDataPresent = int(frames.ndim == 4)
    dataset.StartTrim, dataset.StopTrim = 1, len(frames)
    dataset.PreferredPlaybackSequencing = 0  # loop
    dataset.EffectiveDuration = round(len(frames) / fps, 6)
    if heart_rate is not None:
        dataset.HeartRate = round(heart_rate)
    dataset.AnatomicRegionSequence = [_code(*HEART)]
    if view is not None:
        dataset.ViewCodeSequence = [_code(*view)]
    if subject:
        kind = "Synthetic" if provenance.synthetic else "Anonymous"
        dataset.PatientName, dataset.PatientID = f"{kind}^{subject}", f"{kind.upper()}-{subject}"
    if compression == "jpeg":
        _compress(dataset, frames)
    _identify(dataset, repr((fps, heart_rate, subject, compression, view)))
    save(path, dataset)


def _code(value: str, meaning: str) -> Dataset:
    """A code of SNOMED CT."""
    from pydicom import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def _identify(dataset: Dataset, more: str) -> None:
    """UIDs that also depend on what was said beside the pixels, for one UID must never stand for two files."""
    from pydicom.uid import UID

    identity = UID(digest_uid("echo clip", dataset.SOPInstanceUID, more))
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = identity
    dataset.StudyInstanceUID = digest_uid("study", identity)
    dataset.SeriesInstanceUID = digest_uid("series", identity)


def _compress(dataset: Dataset, frames: np.ndarray) -> None:
    """JPEG Baseline, one fragment a frame with an offset table; colour as YCbCr 4:2:2 (PS3.5 8.2.1)."""
    import imagecodecs
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    options: dict[str, Any] = {"level": QUALITY}
    if frames.ndim == 4:
        dataset.PhotometricInterpretation, options["subsampling"] = "YBR_FULL_422", "422"
    coded = [bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(frame), **options)) for frame in frames]
    dataset.PixelData = encapsulate(coded, has_bot=True)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = UID(JPEG_BASELINE)
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = round(frames.nbytes / sum(map(len, coded)), 2)
    dataset.LossyImageCompressionMethod = "ISO_10918_1"
