"""A clip as the workbench keeps it (NPZ: grey frames with what was measured on them), and any clip as grey frames.

One NPZ is what pages play and what is computed with: nothing is lost in it, and it opens with ``numpy.load``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.arrays import read_arrays
from backend.media.limits import Limits
from backend.media.write_arrays import write_npz
from backend.provenance import Provenance

MEDIA_TYPE = "application/x-npz"
LARGEST_SIDE = 400  # pixels of a clip that is only looked at
NO_CLIP = UserError("This is no clip.", "It has no frames that could be played.", "Choose a clip.")


@dataclass(frozen=True)
class StoredClip:
    """``frames`` uint8 [T, H, W] grey, ``labels`` uint8 [T, H, W] codes or ``None``; ``fps`` frames a second.

    ``end_diastole`` and ``end_systole`` are frame numbers from 0; ``mm_per_px`` is ``None`` where nobody knows it;
    ``volumes_ml`` float [T] is that of the left ventricle, in ml, or in any unit where ``mm_per_px`` is ``None``.
    """

    frames: np.ndarray
    fps: float
    labels: np.ndarray | None = None
    mm_per_px: float | None = None
    end_diastole: tuple[int, ...] = ()
    end_systole: tuple[int, ...] = ()
    volumes_ml: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.frames.dtype != np.uint8 or self.frames.ndim != 3 or not self.frames.size:
            raise ValueError(f"frames are uint8 [T, H, W], not {self.frames.dtype} {self.frames.shape}")
        if self.labels is not None and (self.labels.dtype != np.uint8 or self.labels.shape != self.frames.shape):
            raise ValueError(f"labels are uint8 of the shape of the frames, not {self.labels.shape}")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"{self.fps} frames a second")


def write_stored_clip(path: Path, clip: StoredClip, provenance: Provenance) -> None:
    """Write it as NPZ: ``frames``, ``fps``, and what else is known of it."""
    arrays: dict[str, np.ndarray] = {"frames": clip.frames, "fps": np.array(clip.fps, np.float64)}
    if clip.labels is not None:
        arrays["labels"] = clip.labels
    if clip.mm_per_px is not None:
        arrays["mm_per_px"] = np.array(clip.mm_per_px, np.float64)
    if clip.volumes_ml is not None:
        arrays["volumes_ml"] = np.asarray(clip.volumes_ml, np.float32)
    for name in ("end_diastole", "end_systole"):
        arrays[name] = np.asarray(getattr(clip, name), np.int32)
    write_npz(path, arrays, provenance)


def read_stored_clip(path: Path, limits: Limits) -> StoredClip:
    """The inverse; any NPZ with grey ``frames`` uint8 [T, H, W] will do. Raises ``UserError`` for others."""
    arrays = read_arrays(path, limits)
    frames = arrays.get("frames", np.empty(0))
    if frames.dtype != np.uint8 or frames.ndim != 3 or not frames.size:
        raise NO_CLIP
    labels, volumes = arrays.get("labels"), arrays.get("volumes_ml")
    if labels is not None and (labels.dtype != np.uint8 or labels.shape != frames.shape):
        labels = None
    if volumes is not None and volumes.shape != (len(frames),):
        volumes = None
    fps, scale = _number(arrays, "fps"), _number(arrays, "mm_per_px")
    return StoredClip(
        frames,
        fps or 30.0,
        labels,
        scale or None,
        _indices(arrays, "end_diastole", len(frames)),
        _indices(arrays, "end_systole", len(frames)),
        volumes,
    )


def open_clip(path: Path, media_type: str, limits: Limits) -> StoredClip:
    """Any stored clip to look at: our NPZ as it is, others grey and at most :data:`LARGEST_SIDE` pixels a side.

    Raises ``UserError`` for what is no clip, has one frame only, or is damaged.
    """
    if media_type == "application/dicom":
        from backend.media.dicom import read_dicom, to_display

        image = read_dicom(path, limits)
        frames = to_display(image)
        if len(frames) < 2:
            raise NO_CLIP
        return StoredClip(_grey(frames), 1000 / image.frame_time_ms if image.frame_time_ms else 30.0)
    if media_type.startswith("video/") or media_type == "image/gif":
        from backend.media.video import read_clip

        clip = read_clip(path, limits)
        return StoredClip(_grey(clip.frames), clip.fps)
    if path.suffix in (".npz", ".npy") or "npz" in media_type:
        return read_stored_clip(path, limits)
    raise NO_CLIP


def _number(arrays: dict[str, np.ndarray], name: str) -> float:
    """A positive finite number, 0 where there is none."""
    value = arrays.get(name)
    if value is None or value.size != 1 or value.dtype.kind not in "iuf":
        return 0.0
    number = float(value.reshape(-1)[0])
    return number if math.isfinite(number) and number > 0 else 0.0


def _indices(arrays: dict[str, np.ndarray], name: str, count: int) -> tuple[int, ...]:
    values = arrays.get(name)
    if values is None or values.ndim != 1 or values.dtype.kind not in "iu":
        return ()
    return tuple(int(value) for value in values if 0 <= value < count)


def _grey(frames: np.ndarray) -> np.ndarray:
    """Luminance of uint8 [T, H, W] or [T, H, W, 3], scaled down to the largest side."""
    import cv2

    height, width = frames.shape[1:3]
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    made = np.empty((len(frames), size[1], size[0]), np.uint8)
    for index, frame in enumerate(frames):
        grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) if frame.ndim == 3 else frame
        made[index] = grey if scale == 1 else cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return made
