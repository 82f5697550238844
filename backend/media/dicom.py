"""DICOM images: one file, a multi-frame file, or a series as a folder, a list of files or a ZIP archive."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from backend.errors import UserError
from backend.media.dicom_geometry import frame_time_ms, pixel_spacing_mm, stack_geometry
from backend.media.dicom_open import open_dataset, require_pixels, text, whole_number
from backend.media.dicom_pixels import declared_shape, decode
from backend.media.limits import Limits

if TYPE_CHECKING:
    from pydicom import Dataset

log = logging.getLogger(__name__)

Content = Literal["image", "clip", "volume"]
WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
# Defined terms of PS3.3 C.7.3.1.1.1 and C.7.6.3.1.2.
_MODALITIES = """
    ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DMS DG DOC DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL IVOCT
    IVUS KER KO LEN LS M3D MG MR NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG
    RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA
    XA XAPROTOCOL XC
"""
_PHOTOMETRIC = "MONOCHROME1 MONOCHROME2 RGB YBR_FULL YBR_FULL_422 YBR_PARTIAL_420 YBR_PARTIAL_422 YBR_ICT YBR_RCT XYB"
MODALITIES = frozenset(_MODALITIES.split())
PHOTOMETRIC = frozenset(_PHOTOMETRIC.split()) | {"PALETTE COLOR"}
# Modalities whose frames follow one another in time unless the file gives them positions in space.
IN_TIME = ("US", "IVUS", "XA", "RF", "ES", "GM", "OP", "SC", "OT", "NM")


@dataclass(frozen=True)
class Window:
    """VOI window: ``center`` and ``width`` in the units of the pixels; ``function`` as in DICOM (0028,1056)."""

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True)
class DicomImage:
    """A decoded DICOM image.

    ``pixels`` is [T, H, W], or [T, H, W, 3] RGB for colour, where T counts frames, or slices in ascending position
    along the normal. Grey pixels are modality values (rescale slope and intercept or modality LUT applied: HU for CT,
    Gy for a dose): integers where they stay whole, else float32. ``spacing_mm`` is (rows, columns), with the distance
    of slices in front for a volume, ``None`` where the file does not say. ``frame_time_ms`` is the time between
    frames of a clip. ``affine`` (4 × 4, volumes only) takes (column, row, slice, 1) to patient coordinates in mm, LPS.
    ``properties`` never identifies anybody.
    """

    pixels: np.ndarray
    spacing_mm: tuple[float, ...] | None
    frame_time_ms: float | None
    modality: str
    photometric: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    content: Content = "image"
    affine: np.ndarray | None = None
    window: Window | None = None
    display_lut: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def read_dicom(path: Path | Sequence[Path], limits: Limits) -> DicomImage:
    """Read an image, clip or volume.

    ``path`` is a file, a folder, a ZIP archive of DICOM files, or a list of files. Several files are one series: when
    they belong to more than one, that with the most slices is read and ``notes`` says so. Raises ``UserError`` when
    there is no picture, or it is damaged, too large or stored in an unsupported way.
    """
    from backend.media.dicom_series import read_series
    from backend.media.sniff import sniff

    if not isinstance(path, Path):
        return read_series(list(path), limits)
    if path.is_dir():
        return read_series(sorted(item for item in path.rglob("*") if item.is_file()), limits)
    limits.check_file(path)
    if sniff(path).kind == "archive":
        from backend.media.archive import unpack

        with tempfile.TemporaryDirectory(prefix="synthscope-") as folder:
            return read_series([item.path for item in unpack(path, Path(folder), limits)], limits)
    return read_single(open_dataset(path, limits), limits)


def read_single(dataset: Dataset, limits: Limits) -> DicomImage:
    """Decode one data set. Raises ``UserError`` as :func:`read_dicom`."""
    require_pixels(dataset)
    if is_whole_slide(dataset):
        raise UserError(
            "This DICOM file is one level of a whole slide.",
            "Its frames are tiles of one large picture.",
            "Open its folder in the Slides tab.",
        )
    frames, *_ = declared_shape(dataset, limits)
    pixels = decode(dataset, limits)
    photometric = text(dataset, "PhotometricInterpretation") or "MONOCHROME2"
    pixels, window, lut = present(dataset, pixels, photometric)
    modality = text(dataset, "Modality")
    order, spacing_z, affine = stack_geometry(dataset, frames)
    time_ms = frame_time_ms(dataset)
    plane = pixel_spacing_mm(dataset)
    content: Content = "image"
    spacing: tuple[float, ...] | None = plane
    if frames > 1 and order is not None and (time_ms is None or modality not in IN_TIME):
        content, pixels = "volume", pixels[order]
        spacing = (spacing_z, *plane) if spacing_z and plane else plane
    elif frames > 1:
        content, affine = ("clip" if time_ms or modality in IN_TIME else "volume"), None
    else:
        affine = None
    return DicomImage(
        pixels=np.ascontiguousarray(pixels),
        spacing_mm=spacing,
        frame_time_ms=time_ms if content == "clip" else None,
        modality=modality,
        photometric=photometric,
        properties=properties(dataset, pixels, content, spacing, time_ms if content == "clip" else None),
        content=content,
        affine=affine,
        window=window,
        display_lut=lut,
    )


def is_whole_slide(dataset: Dataset) -> bool:
    """Whether this is a level of a tiled DICOM slide: its frames are tiles, neither time nor depth."""
    return text(dataset, "SOPClassUID") == WHOLE_SLIDE


def properties(
    dataset: Dataset, pixels: np.ndarray, content: str, spacing: tuple[float, ...] | None, time_ms: float | None
) -> dict[str, Any]:
    """Facts worth showing that identify nobody, as plain JSON values."""
    modality, photometric = text(dataset, "Modality"), text(dataset, "PhotometricInterpretation")
    facts: dict[str, Any] = {
        "content": content,
        # Anything may be written in these fields; only what the standard defines leaves the file.
        "modality": modality if modality in MODALITIES else "OT",
        "photometric": photometric if photometric in PHOTOMETRIC else "",
        "transfer_syntax": dataset.file_meta.TransferSyntaxUID.name,
        "frames": int(pixels.shape[0]),
        "rows": int(pixels.shape[1]),
        "columns": int(pixels.shape[2]),
        "bits_stored": whole_number(dataset, "BitsStored", 0),
        "dtype": str(pixels.dtype),
    }
    if spacing:
        facts["spacing_mm"] = [round(value, 6) for value in spacing]
    if time_ms:
        facts["frame_time_ms"] = round(time_ms, 4)
    if "DoseGridScaling" in dataset:
        facts["unit"] = "relative" if text(dataset, "DoseUnits") == "RELATIVE" else "Gy"
    elif facts["modality"] == "CT":
        facts["unit"] = "HU"
    return facts


def present(
    dataset: Dataset, pixels: np.ndarray, photometric: str
) -> tuple[np.ndarray, Window | None, np.ndarray | None]:
    """Stored values → modality values or RGB, with what the display needs. See :class:`DicomImage`."""
    from pydicom.pixels import apply_color_lut

    from backend.media.dicom_values import modality_values, palette, voi

    if photometric == "PALETTE COLOR":
        try:
            colour = apply_color_lut(pixels, palette(dataset))
        except Exception as error:
            from backend.media.dicom_open import damaged

            log.debug("palette refused: %s", type(error).__name__)
            raise damaged("Its colour table is missing or broken.") from None
        colour = colour[..., :3]
        return ((colour >> 8).astype(np.uint8) if colour.dtype == np.uint16 else colour), None, None
    if pixels.ndim == 4:
        return pixels, None, None
    values = modality_values(dataset, pixels)
    window, lut = voi(dataset, values)
    return values, window, lut


def to_display(image: DicomImage) -> np.ndarray:
    """What a screen shows: uint8, [T, H, W] or [T, H, W, 3], 0 black to 255 white.

    Grey: the file's VOI LUT or window, else the full range of the values; MONOCHROME1 is inverted. Colour of more
    than 8 bits is scaled by its range. Source: DICOM PS3.3 C.11.2.1.
    """
    from backend.media.dicom_values import apply_window, full_range

    if image.pixels.ndim == 4:
        if image.pixels.dtype == np.uint8:
            return image.pixels
        return full_range(image.pixels)
    if image.display_lut is not None:
        lut, first = image.display_lut[:-1], int(image.display_lut[-1])
        index = np.clip(image.pixels.astype(np.int64) - first, 0, len(lut) - 1)
        shown = full_range(lut.astype(np.float64))[index]
    elif image.window is not None:
        shown = apply_window(image.pixels, image.window)
    else:
        shown = full_range(image.pixels)
    return 255 - shown if image.photometric == "MONOCHROME1" else shown
