"""The real apical four-chamber clip that pydicom ships, written in other forms; and things that are no echo clip."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from backend.media.dicom import read_dicom
from backend.media.limits import Limits
from backend.media.video import ffmpeg
from tests.backend.media.intake_samples import dicom_file

CROP = (15, 207, 74, 266)  # rows and columns of the fan's square in the clip of 240 × 320, read off by eye
RLE, JPEG_2000, PLAIN = RLELossless, JPEG2000Lossless, ExplicitVRLittleEndian


@cache
def real_frames() -> np.ndarray:
    """uint8 [30, 240, 320, 3] RGB, 30 frames a second, with what the scanner printed around the fan."""
    return read_dicom(dicom_file("examples_ybr_color.dcm"), Limits()).pixels


@cache
def real_grey() -> np.ndarray:
    """The same in grey, uint8 [30, 240, 320]."""
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in real_frames()])


def dicom(path: Path, frames: np.ndarray, syntax: UID = PLAIN, **elements: Any) -> Path:
    """An ultrasound multi-frame file of any pixels, with further elements by keyword."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid(entropy_srcs=["echo"])
    dataset.Modality, dataset.PatientName = "US", "ZEBEDEE^MAGDALENA"
    colour = frames.ndim == 4
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames.shape[:3]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * frames.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.add_new(0x7FE00010, "OW", np.ascontiguousarray(frames).tobytes())
    if syntax != PLAIN:
        dataset.compress(syntax)
    dataset.save_as(path, enforce_file_format=True)
    return path


def palette(path: Path, frames: np.ndarray, colours: np.ndarray) -> Path:
    """A PALETTE COLOR file of indices uint8 [T, H, W] into colours uint16 [256, 3]."""
    tables = {
        f"{name}PaletteColorLookupTable{part}": value
        for number, name in enumerate(("Red", "Green", "Blue"))
        for part, value in (("Descriptor", [256, 0, 16]), ("Data", colours[:, number].astype("<u2").tobytes()))
    }
    return dicom(path, frames, PhotometricInterpretation="PALETTE COLOR", FrameTime="40", **tables)


def region(box: tuple[int, int, int, int], delta_cm: float, form: int = 1) -> Dataset:
    """An ultrasound region (top, bottom, left, right; the last ones included) of square pixels."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = form, 1, 2
    item.RegionLocationMinY0, item.RegionLocationMaxY1, item.RegionLocationMinX0, item.RegionLocationMaxX1 = box
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = delta_cm
    return item


def video(path: Path, frames: np.ndarray, fps: float | str, *options: str) -> Path:
    """Encode RGB or grey frames by ffmpeg itself."""
    pixels = "gray" if frames.ndim == 3 else "rgb24"
    size = f"{frames.shape[2]}x{frames.shape[1]}"
    command = [ffmpeg(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", pixels, "-s", size, "-r", str(fps)]
    command += ["-i", "pipe:0", *options, str(path)]
    subprocess.run(command, input=np.ascontiguousarray(frames).tobytes(), check=True)
    return path


def doppler(frames: np.ndarray, hues: int = 2) -> np.ndarray:
    """RGB frames with flow painted over the left ventricle: red and blue, or power Doppler's one hue."""
    out, rng = frames.copy(), np.random.default_rng(3)
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    for index, frame in enumerate(out):
        shift = 6 * np.sin(index / 4)
        flow = np.hypot(y - 90 - shift, (x - 175) * 1.5) < 26
        flow &= cv2.GaussianBlur(rng.random(flow.shape), (0, 0), 3) > 0.47
        towards = (y < 90 + shift) | (hues == 1)
        frame[flow & towards] = (230, 60, 10)
        frame[flow & ~towards] = (10, 60, 230)
    return out


def ecg(frames: np.ndarray, base: int, height: int) -> np.ndarray:
    """Frames with a green trace that is drawn from left to right, beats of ``height`` pixels on row ``base``."""
    out = frames.copy()
    columns = np.arange(20, frames.shape[2] - 20)
    phase = columns * 0.04 % 6.28
    rows = base - height * np.exp(-(((phase - 3) / 0.15) ** 2)) - 0.2 * height * np.exp(-(((phase - 4) / 0.4) ** 2))
    for index, frame in enumerate(out):
        head = 20 + (frames.shape[2] - 40) * index // len(frames)
        for part in (columns < head - 5, columns > head + 15):
            line = np.stack([columns, rows], 1)[part].astype(np.int32)
            cv2.polylines(frame, [line], False, (0, 255, 0), 1)
    return out


def text_screen(frames: int, scrolling: bool) -> np.ndarray:
    """A page of print, uint8 [T, 240, 320, 3], still or moving up like the titles of a film."""
    out = np.zeros((frames, 240, 320, 3), np.uint8)
    for index, frame in enumerate(out):
        for line in range(-2, 14):
            place = (12, 20 + 18 * line - (3 * index % 18 if scrolling else 0))
            cv2.putText(
                frame, f"MEASUREMENT {line}: LVEF 0.{line + 30}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (200,) * 3
            )
    return out


def written(path: Path) -> Dataset:
    """A DICOM file, read by pydicom."""
    return pydicom.dcmread(path)
