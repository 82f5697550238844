"""Grey values of DICOM images: rescale, modality LUT, dose scaling, windows and VOI LUTs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from backend.media.dicom_open import damaged, numbers, text

if TYPE_CHECKING:
    from pydicom import Dataset

    from backend.media.dicom import Window

log = logging.getLogger(__name__)


def modality_values(dataset: Dataset, pixels: np.ndarray) -> np.ndarray:
    """Stored values [T, H, W] → modality values, integers where slope and intercept are whole, else float32.

    Slope and intercept may differ from frame to frame (enhanced multi-frame objects). Source: PS3.3 C.11.1.
    """
    if "ModalityLUTSequence" in dataset:
        from pydicom.pixels import apply_modality_lut

        try:
            return np.asarray(apply_modality_lut(pixels, dataset))
        except Exception as error:
            log.debug("modality lut refused: %s", type(error).__name__)
            raise damaged("Its table of grey values is broken.") from None
    scaling = numbers(dataset, "DoseGridScaling")
    if scaling:
        return (pixels * np.float64(scaling[0])).astype(np.float32)
    frames = functional_groups(dataset, "PixelValueTransformationSequence", len(pixels))
    pairs = [_rescale(item) for item in (frames or [dataset])]
    if all(pair == (1.0, 0.0) for pair in pairs):
        return pixels
    whole = pixels.dtype.kind in "iu" and all(float(s).is_integer() and float(i).is_integer() for s, i in pairs)
    slope = np.array([pair[0] for pair in pairs]).reshape(-1, 1, 1)
    intercept = np.array([pair[1] for pair in pairs]).reshape(-1, 1, 1)
    values = pixels * slope + intercept
    if not whole:
        return values.astype(np.float32)
    low, high = values.min(), values.max()
    for dtype in (np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.float32)


def _rescale(dataset: Dataset) -> tuple[float, float]:
    slope, intercept = numbers(dataset, "RescaleSlope"), numbers(dataset, "RescaleIntercept")
    pair = (slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)
    return pair if all(np.isfinite(pair)) and pair[0] != 0 else (1.0, 0.0)


def palette(dataset: Dataset) -> Dataset:
    """The colour tables of a data set in little-endian order, which is the only one that pydicom applies rightly."""
    import pydicom

    plain = [item for item in dataset.group_dataset(0x0028) if "PaletteColor" in item.keyword]
    if dataset.original_encoding[1] is not False or any("Segmented" in item.keyword for item in plain):
        return dataset
    tables = pydicom.Dataset()
    for element in plain:
        value = element.value
        if isinstance(value, bytes) and element.VR == "OW":
            value = np.frombuffer(value, ">u2").astype("<u2").tobytes()
        tables.add_new(element.tag, element.VR, value)
    return tables


def functional_groups(dataset: Dataset, keyword: str, frames: int) -> list[Dataset]:
    """One item of a functional group macro per frame (shared ones repeated); empty when the file has none."""
    try:
        per_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
        found = [item[keyword].value[0] for item in per_frame if item.get(keyword)]
        if len(found) == frames:
            return found
        shared = dataset.get("SharedFunctionalGroupsSequence") or []
        if shared and shared[0].get(keyword):
            return [shared[0][keyword].value[0]] * frames
    except Exception as error:
        log.debug("functional group refused: %s", type(error).__name__)
    return []


def voi(dataset: Dataset, values: np.ndarray) -> tuple[Window | None, np.ndarray | None]:
    """The first window, or VOI LUT as an array whose last number is the value that its first entry stands for."""
    from backend.media.dicom import Window

    tables = dataset.get("VOILUTSequence") if "VOILUTSequence" in dataset else None
    if tables:
        try:
            descriptor = [int(value) for value in tables[0].LUTDescriptor]
            data = tables[0].LUTData
            if isinstance(data, bytes):
                data = np.frombuffer(data, np.uint8 if descriptor[2] <= 8 else np.uint16)
            table = np.asarray(data, np.int64).ravel()
            first = descriptor[1]
            if values.dtype.kind == "i" and first > np.iinfo(np.int16).max:
                first -= 1 << 16
            if len(table) > 1:
                return None, np.append(table, first)
        except Exception as error:
            log.debug("voi lut refused: %s", type(error).__name__)
    groups = functional_groups(dataset, "FrameVOILUTSequence", len(values))
    source = groups[0] if groups else dataset
    center, width = numbers(source, "WindowCenter"), numbers(source, "WindowWidth")
    if center and width and np.isfinite(center[0]) and np.isfinite(width[0]) and width[0] > 0:
        function = text(source, "VOILUTFunction") or "LINEAR"
        return Window(center[0], width[0], function), None
    return None, None


def apply_window(values: np.ndarray, window: Window) -> np.ndarray:
    """uint8 by the linear, exact-linear or sigmoid function of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = window.center, window.width
    if window.function == "SIGMOID":
        exponent = np.clip(-4 * (values.astype(np.float32) - center) / width, -60, 60)
        return np.round(255 / (1 + np.exp(exponent))).astype(np.uint8)
    if window.function == "LINEAR" and width > 1:
        center, width = center - 0.5, width - 1
    scaled = (values.astype(np.float32) - (center - width / 2)) / max(width, 1e-6)
    return np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)


def full_range(values: np.ndarray) -> np.ndarray:
    """uint8 from the least to the greatest finite value; a constant picture is black, not-a-number is black."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(values[finite].min()), float(values[finite].max())
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    scaled = (np.where(finite, values, low).astype(np.float32) - low) / (high - low)
    return np.round(255 * np.clip(scaled, 0, 1)).astype(np.uint8)
