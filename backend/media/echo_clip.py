"""An echo clip from any file, ready for the models: the fan alone, grey, square, small and at a stated frame rate.

Works on what scanners, archives and phones write (DICOM, MP4, AVI, GIF, NPZ …). Nothing is guessed in silence: the
result says where crop, scale and frame rate come from, and what is no grey two-dimensional clip is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.burned_in import DARK, Box
from backend.media.echo_clip_colour import refuse_doppler, to_grey
from backend.media.echo_clip_decode import NativeClip, Region, decode_clip, evenly, fps_of
from backend.media.echo_sector import Fan, find_fan
from backend.media.limits import Limits

SIZE = 112
MIN_FRAMES = 8
BEAT_S = 0.8  # shorter clips may not hold a whole heartbeat
# Crop: the fan's depth decides the side of the square, and at most this share of its width may fall off.
CUT = 0.3
AGREES = 0.75  # overlap of a declared region with the fan found in it, from which the region is trusted
SHRUNK = (1, 2, 3, 4)  # by how much programs shrink frames without telling the regions
GROUND = 0.7  # of what lies outside the fan is black in ultrasound
SHARP_RATIO = 2.0  # from this ratio of native to asked rate, the nearest frame is taken instead of a blend


@dataclass(frozen=True)
class EchoSource:
    """A clip as the models see it, and how it came about.

    ``frames`` is uint8 [T, size, size], probe at the top, black outside the fan; ``fps`` frames a second of these
    frames and ``fps_from`` where that comes from; ``mm_per_px`` of these frames, ``None`` where the file does not say.
    ``crop`` is the square (top, bottom, left, right), half open, in pixels of the native frames, and may reach beyond
    them (black there); ``fan`` is float32 [N, 2], the corners (x, y) of the fan in native pixels; ``mask`` bool
    [size, size] is the fan in these frames. ``native_size`` is (height, width), ``native_fps`` and ``native_frames``
    are those of the file; ``native_shape`` is the size that ``crop`` and ``fan`` refer to, smaller than
    ``native_size`` when a large video was scaled down on its way in. ``heart_rate`` (1/min) is what the file says, if
    anything. ``notes`` are sentences for people.
    """

    frames: np.ndarray
    fps: float
    fps_from: str
    mm_per_px: float | None
    crop: Box
    fan: np.ndarray
    mask: np.ndarray
    native_size: tuple[int, int]
    native_shape: tuple[int, int]
    native_fps: float
    native_frames: int
    container: str
    heart_rate: float | None
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """How long the clip lasts."""
        return len(self.frames) / self.fps


def read_echo_clip(
    path: Path,
    limits: Limits,
    *,
    size: int = SIZE,
    fps: float | None = None,
    native_fps: float | None = None,
    min_frames: int = MIN_FRAMES,
    cancelled: Callable[[], bool] | None = None,
) -> EchoSource:
    """Read a clip and bring it to uint8 [T, ``size``, ``size``].

    ``fps`` asks for that rate; without it the clip keeps its own, unless its frames are unevenly timed: then they are
    brought to their median rate. ``native_fps`` corrects a file whose own rate is wrong. ``min_frames`` is the least
    number of frames in the file; 1 accepts a single picture (as a reference frame). ``cancelled`` is asked while a
    video is decoded. Raises ``UserError`` when the file is no ultrasound, is colour Doppler, does not move, is too
    short, damaged or over the limits; ``ValueError`` for rates that are not positive.
    """
    for rate in (fps, native_fps):
        if rate is not None and not (np.isfinite(rate) and rate > 0):
            raise ValueError(f"{rate} frames a second")
    native = decode_clip(path, limits, fps=native_fps, cancelled=cancelled)
    frames, notes = native.frames, list(native.notes)
    _check_length(len(frames), min_frames)
    fan = _fan(native)
    # A square that was cut before has nothing beside its fan, so the rim is left in peace.
    inside = fan.mask(frames.shape[1], frames.shape[2], 2 if _already_cropped(native, fan) else 0)
    if frames.ndim == 4:
        notes += refuse_doppler(frames, inside)
    notes += _say(fan, frames, inside)
    box, scale, told = _crop(native, fan)
    notes += told
    clip = _shrink(frames, box, size, fan.upright, inside)
    if box[1] - box[0] < size:
        notes.append(f"Its picture is only {box[1] - box[0]} pixels high and was enlarged.")
    times, rate = native.times, fps or fps_of(native.times)
    timing = native.timing
    if len(clip) > 1 and (fps is not None or not evenly(times)):
        if not evenly(times):
            notes.append(f"Its frames are unevenly timed and were brought to {rate:.4g} frames a second.")
        chosen = resample(clip, times, rate)
        timing = f"{timing}, resampled" if len(chosen) != len(clip) or not evenly(times) else timing
        clip = chosen
    if 1 < len(clip) < BEAT_S * rate:
        notes.append(f"It lasts {len(clip) / rate:.2g} s, which may be less than a heartbeat.")
    mask = _shrink(inside[None].astype(np.uint8) * 255, box, size, fan.upright)[0] > 127
    return EchoSource(
        frames=clip,
        fps=float(rate),
        fps_from=timing,
        mm_per_px=None if scale is None else float(scale[1]) * (box[3] - box[2]) / size,
        crop=box,
        fan=fan.polygon,
        mask=mask,
        native_size=native.native_size,
        native_shape=(int(frames.shape[1]), int(frames.shape[2])),
        native_fps=fps_of(native.times),
        native_frames=len(frames),
        container=native.container,
        heart_rate=native.heart_rate,
        notes=tuple(dict.fromkeys(notes)),
    )


def resample(frames: np.ndarray, times: np.ndarray, fps: float) -> np.ndarray:
    """Bring uint8 frames [T, H, W] at rising ``times`` [T] in s to ``fps`` frames a second: uint8 [N, H, W].

    The result begins with the first frame and covers the same time. Between frames it blends linearly; when the native
    rate is at least twice ``fps`` the nearest frame is taken instead. Our choice: a blend of two frames softens the
    speckle, and the error in time of the nearest one is then at most a quarter of the new frame time.
    """
    length = times[-1] + (times[-1] - times[0]) / max(1, len(times) - 1)  # the last frame is shown as long as others
    wanted = np.arange(max(1, int(np.floor(length * fps + 0.02)))) / fps
    after = np.clip(np.searchsorted(times, wanted - 1e-9), 1, len(times) - 1)
    part = np.clip((wanted - times[after - 1]) / (times[after] - times[after - 1]), 0, 1)
    if fps_of(times) >= SHARP_RATIO * fps:
        return frames[after - 1 + (part > 0.5)]
    out = np.empty((len(wanted), *frames.shape[1:]), np.uint8)
    for index, (late, weight) in enumerate(zip(after, part, strict=True)):
        if weight < 1e-6 or weight > 1 - 1e-6:
            out[index] = frames[late - 1 + round(weight)]
        else:
            blend = (1 - weight) * frames[late - 1].astype(np.float32) + weight * frames[late].astype(np.float32)
            out[index] = np.round(blend)
    return out


def _check_length(count: int, least: int) -> None:
    if count == 1 and least > 1:
        raise UserError(
            "The file holds a single picture.", "The heart has to be seen to move.", "Choose a clip of a heartbeat."
        )
    if count < least:
        raise UserError(
            "The clip is too short.", f"It has {count} frames and at least {least} are needed.", "Choose a longer clip."
        )


def _fan(native: NativeClip) -> Fan:
    """The fan. Raises ``UserError`` when nothing moves or there is no ultrasound."""
    frames = native.frames
    if len(frames) >= 4 and all(np.array_equal(frames[0], frame) for frame in frames[1:]):
        raise UserError(
            "Nothing moves in this clip.", "All its frames show the same picture.", "Choose a clip of a beating heart."
        )
    fan = find_fan(frames)
    if fan is None or (fan.shape == "other" and not native.declared_ultrasound) or not _on_black(frames, fan):
        raise UserError(
            "There is no ultrasound in this clip.",
            "No fan of moving speckle on a black ground was found.",
            "Choose an echo clip, as the scanner shows it.",
        )
    return fan


def _on_black(frames: np.ndarray, fan: Fan) -> bool:
    """Whether what lies around the fan is mostly black."""
    height, width = frames.shape[1:3]
    outside = ~fan.mask(height, width, margin=max(2, max(height, width) // 60))
    if outside.mean() < 0.02:
        return fan.shape == "sector"
    ground = frames[:: max(1, len(frames) // 8)][:, outside]
    return float((ground.reshape(-1, ground.shape[-1] if frames.ndim == 4 else 1).max(-1) <= 2 * DARK).mean()) > GROUND


def _say(fan: Fan, frames: np.ndarray, inside: np.ndarray) -> list[str]:
    notes = []
    if (frames[:: max(1, len(frames) // 16)].max(0)[~inside] > 4 * DARK).any():
        notes.append("What is printed or drawn outside the fan was blanked.")
    if not fan.upright:
        notes.append("The probe was shown at the bottom; the picture was turned over.")
    if fan.shape == "other":
        notes.append("The picture is not the fan of a cardiac probe.")
    if fan.second > 0.5:
        notes.append("There are several moving pictures in it; the largest was taken.")
    if fan.method == "texture" and len(frames) > 1:
        notes.append("With so few frames the fan was found by its texture.")
    return notes


def _crop(native: NativeClip, fan: Fan) -> tuple[Box, tuple[float, float] | None, list[str]]:
    """The square to cut out, in native pixels; millimetres a pixel (y, x); notes.

    A declared region that the fan fills decides, so that clips of one scanner are cropped alike. Frames are often
    halved after recording without a word to the regions: then the region that fits after the same shrinking is taken.
    """
    for factor in SHRUNK:
        for region in native.regions:
            box = _shrunk(region, factor)
            if box[1] > native.frames.shape[1] + 1 or box[3] > native.frames.shape[2] + 1:
                continue
            scale = None if region.mm is None else (region.mm[0] * factor, region.mm[1] * factor)
            told = []
            if factor > 1:
                told.append(f"The file describes frames {factor} times as large; its scale was adapted.")
            if _overlap(box, fan.box) >= AGREES:
                return _square(box, scale), scale, told
            if factor == 1 and _holds(box, fan.box):
                return _square(fan.box, scale), scale, told
    if _already_cropped(native, fan):
        height, width = native.frames.shape[1:3]
        return (0, height, 0, width), native.mm, []
    return _square(fan.box, native.mm), native.mm, []


def _already_cropped(native: NativeClip, fan: Fan) -> bool:
    """Whether the file holds a square around the fan already, as in EchoNet-Dynamic; it is then taken as it is."""
    height, width = native.frames.shape[1:3]
    return height == width and fan.upright and fan.box[1] - fan.box[0] >= 0.8 * height


def _shrunk(region: Region, factor: int) -> Box:
    top, bottom, left, right = (edge // factor for edge in region.box)
    return top, bottom, left, right


def _overlap(one: Box, other: Box) -> float:
    high = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    wide = max(0, min(one[3], other[3]) - max(one[2], other[2]))
    areas = [(box[1] - box[0]) * (box[3] - box[2]) for box in (one, other)]
    return high * wide / max(1, sum(areas) - high * wide)


def _holds(outer: Box, inner: Box) -> bool:
    y, x = (inner[0] + inner[1]) / 2, (inner[2] + inner[3]) / 2
    return outer[0] <= y < outer[1] and outer[2] <= x < outer[3]


def _square(box: Box, scale: tuple[float, float] | None) -> Box:
    """The square (in millimetres, where pixels are not square) round a box: as deep as it, centred on its width."""
    top, bottom, left, right = box
    aspect = 1.0 if scale is None else scale[0] / scale[1]  # a pixel's height over its width
    depth = max(bottom - top, int(np.ceil((1 - CUT) * (right - left) / aspect)))
    side = max(1, round(depth * aspect))
    first = round((left + right) / 2 - side / 2)
    upper = top - (depth - (bottom - top)) // 2
    return upper, upper + depth, first, first + side


def _shrink(frames: np.ndarray, crop: Box, size: int, upright: bool, inside: np.ndarray | None = None) -> np.ndarray:
    """Grey, cropped and resized frames, black outside ``inside``, uint8 [T, size, size]."""
    import cv2

    height, width = frames.shape[1:3]
    top, bottom, left, right = crop  # square in millimetres, so that one resize makes the pixels square
    rows, columns = slice(max(0, top), min(height, bottom)), slice(max(0, left), min(width, right))
    border = (max(0, -top), max(0, bottom - height), max(0, -left), max(0, right - width))
    out = np.empty((len(frames), size, size), np.uint8)
    same = (bottom - top, right - left) == (size, size)
    method = cv2.INTER_AREA if min(bottom - top, right - left) >= size else cv2.INTER_CUBIC
    black = None if inside is None else ~inside[rows, columns]
    for index, frame in enumerate(frames):
        part = to_grey(frame[rows, columns])
        if black is not None:
            part = np.where(black, np.uint8(0), part)
        part = cv2.copyMakeBorder(part, *border, cv2.BORDER_CONSTANT, value=0)
        small = part if same else cv2.resize(part, (size, size), interpolation=method)
        out[index] = small if upright else small[::-1]
    return out
