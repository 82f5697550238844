"""One DICOM file in, one clean DICOM file out: header by the profile, pixels without burned-in text for ultrasound."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.media.burned_in import Box, Masked, mask_burned_in
from backend.media.deidentify import Identities, deidentify
from backend.media.deidentify_images import strip_jpeg
from backend.media.dicom import DicomImage, read_single, to_display
from backend.media.dicom_open import damaged, open_dataset, text, whole_number
from backend.media.dicom_pixels import decode
from backend.media.limits import Limits

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.dataset import FileDataset

log = logging.getLogger(__name__)

ULTRASOUND = ("US", "IVUS")
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
# Tissue, flow and spectra are picture; waveforms and graphics are not (PS3.3 C.8.5.5.1.1).
PICTURE_FORMATS = (1, 2, 3)
JPEG_SYNTAXES = tuple(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 57, 70))


def clean_dicom(path: Path, target: Path, identities: Identities, limits: Limits) -> tuple[DicomImage, tuple[str, ...]]:
    """Open one DICOM image for real, clean it and write it to ``target``.

    Returns the image as read (pixels not yet masked) and what was changed. Raises ``UserError`` as ``read_dicom``.
    """
    dataset = open_dataset(path, limits)
    image = read_single(dataset, limits)
    notes: tuple[str, ...] = ()
    cleaned = False
    if image.modality in ULTRASOUND:
        masked = mask_burned_in(to_display(image), ultrasound_regions(dataset))
        if masked.blanked_pixels:
            _replace_pixels(dataset, image, masked, limits)
            cleaned = True
        notes = (_say(masked),)
    elif text(dataset, "BurnedInAnnotation") == "YES":
        notes = ("The file says that text is burned into the picture: look at it before you share it.",)
    elif text(dataset, "SOPClassUID").startswith(SECONDARY_CAPTURE) and text(dataset, "BurnedInAnnotation") != "NO":
        notes = ("This is a screenshot: names may be part of the picture, so look at it before you share it.",)
    if not cleaned:
        _strip_fragments(dataset)
    notes += deidentify(dataset, identities, pixels_cleaned=cleaned)
    write_dataset(dataset, target)
    return image, notes


def write_dataset(dataset: FileDataset, target: Path) -> None:
    """Write a data set as a DICOM file. Raises ``UserError`` when its elements cannot be written."""
    try:
        dataset.save_as(target, enforce_file_format=True)
    except OSError:
        raise
    except Exception as error:
        # pydicom's writers raise what the damaged value happens to break.
        log.debug("dicom writer refused: %s", type(error).__name__)
        raise damaged("Some of its elements cannot be written again.") from None


def ultrasound_regions(dataset: Dataset) -> list[Box]:
    """Declared picture regions as (top, bottom, left, right), half open; empty without any."""
    found = []
    try:
        for region in dataset.get("SequenceOfUltrasoundRegions") or []:
            if int(region.RegionSpatialFormat) in PICTURE_FORMATS:
                corners = (region.RegionLocationMinY0, region.RegionLocationMaxY1)
                sides = (region.RegionLocationMinX0, region.RegionLocationMaxX1)
                found.append((int(corners[0]), int(corners[1]) + 1, int(sides[0]), int(sides[1]) + 1))
    except Exception as error:
        log.debug("ultrasound regions refused: %s", type(error).__name__)
        return []
    return found


def _say(masked: Masked) -> str:
    if not masked.sector.found:
        if masked.blanked_pixels:
            return "No ultrasound sector was found; what looked like text was blanked. Look at it before you share it."
        return "No ultrasound sector and no text was found. Look at it before you share it."
    if masked.blanked_pixels:
        return "Everything outside the ultrasound sector was blanked: scanners print names and dates there."
    return "Nothing is printed outside the ultrasound sector."


def _replace_pixels(dataset: FileDataset, image: DicomImage, masked: Masked, limits: Limits) -> None:
    """Put the masked pixels into the data set, compressed without loss (JPEG-LS, PS3.5 8.2.3)."""
    from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless

    if image.pixels.ndim == 4:
        black = (~masked.mask).astype(image.pixels.dtype)[..., None]
        pixels = masked.frames if image.pixels.dtype == np.uint8 else image.pixels * black
        dataset.PhotometricInterpretation, dataset.PlanarConfiguration, dataset.SamplesPerPixel = "RGB", 0, 3
        dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
        dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
        for element in list(dataset.group_dataset(0x0028)):
            if "PaletteColor" in element.keyword or element.keyword in ("SmallestImagePixelValue", "PixelPaddingValue"):
                del dataset[element.tag]
    else:
        pixels = decode(dataset, limits)
        black = pixels.max() if image.photometric == "MONOCHROME1" else pixels.min()
        pixels = np.where(masked.mask, black, pixels).astype(pixels.dtype)
        if dataset.BitsAllocated == 1:
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit = 7
    pixels = np.ascontiguousarray(pixels if len(pixels) > 1 else pixels[0])
    _drop(dataset, "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "FloatPixelData", "DoubleFloatPixelData")
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if whole_number(dataset, "BitsAllocated") <= 16:
        dataset.compress(JPEGLSLossless, pixels, encoding_plugin="pyjpegls", generate_instance_uid=False)
    else:
        dataset.PixelData = pixels.tobytes()


def _strip_fragments(dataset: FileDataset) -> None:
    """Drop comments and application data inside JPEG-compressed frames; pixels and colour transform stay."""
    from pydicom.encaps import encapsulate, generate_frames

    if dataset.file_meta.TransferSyntaxUID not in JPEG_SYNTAXES or "PixelData" not in dataset:
        return
    frames = whole_number(dataset, "NumberOfFrames", 1) or 1
    pieces, changed = [], False
    try:
        for piece in generate_frames(dataset.PixelData, number_of_frames=frames):
            stripped, removed = strip_jpeg(piece)
            pieces.append(stripped)
            changed = changed or removed
    except (UserError, ValueError):
        return
    if changed:
        _drop(dataset, "ExtendedOffsetTable", "ExtendedOffsetTableLengths")
        dataset.PixelData = encapsulate(pieces, has_bot=False)
        dataset["PixelData"].is_undefined_length = True


def _drop(dataset: Dataset, *keywords: str) -> None:
    for keyword in keywords:
        if keyword in dataset:
            del dataset[keyword]
