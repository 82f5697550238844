"""From a file to native frames with their times and their scale, before anything is cropped: the first half of
:mod:`backend.media.echo_clip`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.media.burned_in import Box
from backend.media.dicom_open import numbers, text, whole_number
from backend.media.limits import Limits

if TYPE_CHECKING:
    from pydicom import Dataset

# Video is scaled down to this many pixels a side while it is decoded: a fan of 112 pixels needs no more, and two
# seconds in 4K would otherwise fill 1.5 GB.
MAX_SIDE = 1024
ASSUMED_FPS = 30.0  # our choice for files without times: what most programs write
PLAUSIBLE_FPS = (1.0, 500.0)
EVEN = 0.02  # frames whose distances differ by no more than this share of their median are evenly timed
ULTRASOUND = ("US", "IVUS", "OT", "SC", "")  # SC and OT: captured from the screen of a scanner
NAMES = ("frames", "clip", "video", "images", "array", "arr_0")
# Ultrasound regions, PS3.3 C.8.5.5.1.1 and C.8.5.5.1.2: formats of space, then types of data.
TISSUE_FORMAT, CENTIMETRES = 1, 3
NO_PICTURE = {2: "an M-mode trace", 3: "a spectral Doppler trace", 4: "a waveform", 5: "a page of graphics"}


@dataclass(frozen=True)
class Region:
    """An ultrasound region of a DICOM file: ``box`` (top, bottom, left, right), half open; ``mm`` (y, x) a pixel."""

    box: Box
    mm: tuple[float, float] | None


@dataclass(frozen=True)
class NativeClip:
    """Frames as the file has them.

    ``frames`` is uint8 [T, H, W] or [T, H, W, 3] RGB; ``times`` float64 [T], seconds from the first frame, rising;
    ``timing`` says where they come from; ``mm`` is (y, x) a pixel where the file says; ``native_size`` (height, width)
    of the stored frames, which may be larger than ``frames``; ``heart_rate`` in beats a minute where the file says.
    """

    frames: np.ndarray
    times: np.ndarray
    timing: str
    container: str
    native_size: tuple[int, int]
    mm: tuple[float, float] | None = None
    regions: tuple[Region, ...] = ()
    heart_rate: float | None = None
    notes: tuple[str, ...] = ()
    declared_ultrasound: bool = False


def decode_clip(
    path: Path, limits: Limits, *, fps: float | None = None, cancelled: Callable[[], bool] | None = None
) -> NativeClip:
    """Decode a DICOM file, clip (MP4, MOV, AVI, WebM, GIF), picture, NPZ or NPY, told by content.

    ``fps`` replaces what the file says of its times. Raises ``UserError`` when the file is of another kind, damaged or
    over the limits, and when it is not ultrasound by its own account.
    """
    from backend.media.sniff import sniff

    path = Path(path)
    limits.check_file(path)
    found = sniff(path)
    if found.kind == "dicom":
        native = _dicom(path, limits)
    elif found.kind == "clip":
        native = _video(path, limits, cancelled)
    elif found.kind == "arrays":
        native = _arrays(path, limits)
    elif found.kind == "image":
        native = _picture(path, limits)
    else:
        kind = {"archive": "an archive", "slide": "a whole slide"}.get(found.kind, f"a {found.kind}")
        raise UserError(
            "The file is no echo clip.", f"It is {kind}.", "Choose a DICOM file, MP4, AVI, GIF or NPZ of one clip."
        )
    if fps is not None:
        native = replace(native, times=np.arange(len(native.frames)) / fps, timing="as you asked")
    return native


def fps_of(times: np.ndarray) -> float:
    """Frames a second by the median distance of rising ``times`` [T] in s; :data:`ASSUMED_FPS` for a single one."""
    return round(float(1 / np.median(np.diff(times))), 6) if len(times) > 1 else ASSUMED_FPS


def evenly(times: np.ndarray) -> bool:
    """Whether rising ``times`` [T] in s are evenly spaced, as far as their rounding to milliseconds lets one see."""
    gaps = np.diff(times)
    return len(gaps) < 2 or float(np.ptp(gaps)) <= max(EVEN * float(np.median(gaps)), 0.0021)


def _steady(count: int, fps: float | None, source: str) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Times of ``count`` evenly shown frames; without a plausible rate an assumed one, with a note that says so."""
    if fps is not None and np.isfinite(fps) and PLAUSIBLE_FPS[0] <= fps <= PLAUSIBLE_FPS[1]:
        return np.arange(count) / fps, source, ()
    note = f"The file does not say how fast it was recorded; {ASSUMED_FPS:.0f} frames a second were assumed."
    return np.arange(count) / ASSUMED_FPS, "assumed", (note,) if count > 1 else ()


# ---------------------------------------------------------------------------------------------------------- DICOM


def _dicom(path: Path, limits: Limits) -> NativeClip:
    from backend.media.dicom import read_single, to_display
    from backend.media.dicom_open import open_dataset, require_pixels

    dataset = open_dataset(path, limits)
    require_pixels(dataset)
    modality = text(dataset, "Modality")
    if modality not in ULTRASOUND:
        kind = modality if modality.isalpha() and len(modality) <= 4 else "another modality"
        raise UserError("This is no ultrasound.", f"The DICOM file is {kind}.", "Choose an echo clip.")
    regions = _regions(dataset)
    image = read_single(dataset, limits)
    # Bytes without a window are grey levels already; stretching them to the full range would change the gain.
    plain = image.pixels.dtype == np.uint8 and image.window is None and image.display_lut is None
    frames = image.pixels if plain and image.photometric != "MONOCHROME1" else to_display(image)
    times, timing, notes = _dicom_times(dataset, len(frames))
    rate = numbers(dataset, "HeartRate")
    spacing = image.spacing_mm if image.spacing_mm and len(image.spacing_mm) == 2 and not regions else None
    if image.pixels.dtype.itemsize > 1 and image.pixels.ndim == 3:
        notes += (f"{image.properties['bits_stored']} bits a pixel were brought to the 8 bits a screen shows.",)
    if image.photometric == "PALETTE COLOR":
        notes += ("Its palette colours were looked up.",)
    return NativeClip(
        frames=frames,
        times=times,
        timing=timing,
        container="dicom",
        native_size=(int(frames.shape[1]), int(frames.shape[2])),
        mm=(float(spacing[0]), float(spacing[1])) if spacing else None,
        regions=regions,
        heart_rate=rate[0] if rate and 20 <= rate[0] <= 300 else None,
        notes=notes,
        declared_ultrasound=modality in ("US", "IVUS"),
    )


def _dicom_times(dataset: Dataset, count: int) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Times of the frames (PS3.3 C.7.6.5): the element that Frame Increment Pointer names first, then the others."""
    pointer = text(dataset, "FrameIncrementPointer").replace(" ", "")
    order = ["FrameTime", "FrameTimeVector"]
    if "0018,1065" in pointer or pointer.endswith("181065"):
        order.reverse()
    notes: tuple[str, ...] = ()
    for keyword in order:
        values = np.array(numbers(dataset, keyword))
        if not len(values) or not np.isfinite(values).all():
            continue
        if keyword == "FrameTime" and 1000 / PLAUSIBLE_FPS[1] <= values[0] <= 1000 / PLAUSIBLE_FPS[0]:
            return _steady(count, 1000 / values[0], "Frame Time")
        if keyword == "FrameTimeVector":
            # Increments in ms; the first belongs to the first frame and counts for nothing.
            if len(values) == count > 1 and (values[1:] > 0).all() and 2 <= np.median(values[1:]) <= 1000:
                return np.concatenate([[0.0], np.cumsum(values[1:])]) / 1000, "Frame Time Vector", ()
            notes = ("Its Frame Time Vector cannot be used: it does not give every frame a later time.",)
    for keyword, name in (("CineRate", "Cine Rate"), ("RecommendedDisplayFrameRate", "Recommended Display Frame Rate")):
        found = numbers(dataset, keyword)
        if found and PLAUSIBLE_FPS[0] <= found[0] <= PLAUSIBLE_FPS[1]:
            times, source, more = _steady(count, found[0], name)
            return times, source, notes + more
    times, source, more = _steady(count, None, "")
    return times, source, notes + more


def _regions(dataset: Dataset) -> tuple[Region, ...]:
    """The two-dimensional regions. Raises ``UserError`` when there are regions and none of them is a picture."""
    found, others = [], []
    try:
        for item in dataset.get("SequenceOfUltrasoundRegions") or []:
            form = whole_number(item, "RegionSpatialFormat", 0)
            if form != TISSUE_FORMAT:
                others.append(form)
                continue
            x = [int(numbers(item, f"RegionLocation{end}")[0]) for end in ("MinX0", "MaxX1")]
            y = [int(numbers(item, f"RegionLocation{end}")[0]) for end in ("MinY0", "MaxY1")]
            units = numbers(item, "PhysicalUnitsXDirection") + numbers(item, "PhysicalUnitsYDirection")
            delta = numbers(item, "PhysicalDeltaY") + numbers(item, "PhysicalDeltaX")
            usable = units == (CENTIMETRES, CENTIMETRES) and len(delta) == 2 and np.isfinite(delta).all() and all(delta)
            mm = (10 * abs(delta[0]), 10 * abs(delta[1])) if usable else None
            if 0 <= x[0] < x[1] and 0 <= y[0] < y[1]:
                found.append(Region((y[0], y[1] + 1, x[0], x[1] + 1), mm))
    except (IndexError, ValueError, OverflowError, TypeError, UserError):
        return ()  # a damaged description of a picture that can still be looked at
    if others and not found and (kind := NO_PICTURE.get(others[0])):
        raise UserError("This is no two-dimensional echo clip.", f"The file holds {kind}.", "Choose a B-mode clip.")
    return tuple(found)


# ------------------------------------------------------------------------------------------------- video and arrays


def _video(path: Path, limits: Limits, cancelled: Callable[[], bool] | None) -> NativeClip:
    from backend.media.video import frame_times, probe, read_clip

    clip = read_clip(path, limits, max_side=MAX_SIDE, cancelled=cancelled)
    facts = probe(path)
    count = len(clip.frames)
    # A container tells times of at most microseconds; equal ones would stand still.
    shown = frame_times(path)
    usable = len(shown) == count > 1 and bool((np.diff(shown) > 1e-6).all())
    # The mean distance is exact where the declared rate was rounded to two digits.
    rate = (count - 1) / float(shown[-1]) if usable else facts.fps or None
    times, timing, notes = _steady(count, rate, "the rate in the file")
    if usable and not evenly(shown) and PLAUSIBLE_FPS[0] <= fps_of(shown) <= PLAUSIBLE_FPS[1]:
        times, timing, notes = shown, "the frame times in the file", ()
    height, width = int(clip.frames.shape[1]), int(clip.frames.shape[2])
    tall = (height > width) != (facts.height > facts.width)
    native = (facts.width, facts.height) if tall else (facts.height, facts.width)
    if max(native) > max(height, width):
        notes += (f"Its frames of {native[1]} × {native[0]} pixels were scaled down to {width} × {height}.",)
    if clip.properties["damaged"]:
        notes += ("The end of the file is damaged; the frames before it were read.",)
    return NativeClip(
        frames=clip.frames,
        times=times,
        timing=timing,
        container=facts.container,
        native_size=native,
        notes=notes,
    )


def _picture(path: Path, limits: Limits) -> NativeClip:
    from backend.media.images import read_image

    pixels = read_image(path, limits)
    frames = _to_bytes(pixels[None] if pixels.ndim == 2 else pixels[None, ..., :3])
    return NativeClip(frames, np.zeros(1), "a single picture", "image", (frames.shape[1], frames.shape[2]))


def _arrays(path: Path, limits: Limits) -> NativeClip:
    from backend.media.arrays import read_arrays

    arrays = read_arrays(path, limits)
    clips = {name: found for name, array in arrays.items() if (found := _as_clip(array)) is not None}
    named = [name for name in NAMES if name in clips] or (list(clips) if len(clips) == 1 else [])
    if not named:
        raise UserError(
            "There is no clip among the arrays.",
            "A clip is [frames, rows, columns], with or without three colours at the end.",
            "Name it “frames” and save it again.",
        )
    values = clips[named[0]]
    limits.check_frames(len(values))
    frames = _to_bytes(values)

    def number(*keys: str) -> float | None:
        found = [float(arrays[key].reshape(-1)[0]) for key in keys if key in arrays and arrays[key].size == 1]
        return found[0] if found and np.isfinite(found[0]) and found[0] > 0 else None

    period = number("frame_time_ms")
    times, timing, notes = _steady(len(frames), number("fps") or (1000 / period if period else None), "its array “fps”")
    scale = number("mm_per_px")
    return NativeClip(
        frames=frames,
        times=times,
        timing=timing,
        container="arrays",
        native_size=(frames.shape[1], frames.shape[2]),
        mm=(scale, scale) if scale else None,
        notes=notes,
    )


def _as_clip(array: np.ndarray) -> np.ndarray | None:
    """[T, H, W] or [T, H, W, 3] from the usual orders of axes; ``None`` for what can be no clip."""
    if array.dtype.kind not in "uif":
        return None
    if array.ndim == 5 and 1 in (array.shape[0], array.shape[1]):
        array = array[0] if array.shape[0] == 1 else array[:, 0]
    if array.ndim == 4 and array.shape[-1] not in (1, 3):
        for axis in (1, 0):  # [T, C, H, W], then [C, T, H, W]
            if array.shape[axis] in (1, 3):
                array = np.moveaxis(array, axis, -1)
                break
    if array.ndim == 4:
        array = array[..., 0] if array.shape[-1] == 1 else array
    shape_fits = array.ndim == 3 or (array.ndim == 4 and array.shape[-1] == 3)
    return array if shape_fits and min(array.shape[1:3]) >= 16 else None


def _to_bytes(values: np.ndarray) -> np.ndarray:
    """Any numbers → uint8: bytes as they are, 0…1 and −1…1 as such, everything else by its own range."""
    if values.dtype == np.uint8:
        return np.ascontiguousarray(values)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f" and low >= -1 and high <= 1:
        low, high = (0.0, 1.0) if low >= 0 else (-1.0, 1.0)
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    scale = 255 / (high - low) if high > low else 0.0
    out = np.empty(values.shape, np.uint8)
    for index, frame in enumerate(values):  # one by one: a clip of floats would double its memory
        out[index] = np.clip((frame.astype(np.float32) - low) * scale + 0.5, 0, 255)
    return out
