"""One frame of anything stored, as an 8-bit PNG to look at. What is shown is never what is computed with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.media.limits import Limits

if TYPE_CHECKING:
    import numpy as np

    from backend.settings import Settings


def display_png(
    path: Path, media_type: str, settings: Settings, *, slide: bool = False, frame: int = 0, side: int = 2048
) -> bytes:
    """PNG, grey or RGB, 8 bit, at most ``side`` pixels a side; smaller pictures keep every pixel.

    A ``slide`` shows its overview. ``frame`` counts frames of a clip, slices of a DICOM volume or axial slices of a
    NIfTI volume from 0; -1 is the middle one. Raises ``UserError`` when the file is damaged, or has nothing to look at.
    """
    import cv2

    limits = Limits.from_settings(settings)
    pixels = _overview(path, limits) if slide else _frame(path, media_type, limits, frame)
    height, width = pixels.shape[:2]
    if max(height, width) > side:
        scale = side / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, png = cv2.imencode(".png", pixels)
    if not done:
        raise RuntimeError("the picture could not be encoded")
    return png.tobytes()


def _frame(path: Path, media_type: str, limits: Limits, frame: int) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3] RGB."""
    if media_type == "application/dicom":
        from backend.media.dicom import read_dicom, to_display

        return _pick(to_display(read_dicom(path, limits)), frame)
    if media_type.startswith("video/") or media_type == "image/gif":
        from backend.media.video import read_clip

        return _pick(read_clip(path, limits).frames, frame)
    if "nifti" in media_type or path.name.endswith((".nii", ".nii.gz")):
        return _axial(path, limits, frame)
    if media_type.startswith("image/"):
        return _picture(path, limits)
    raise UserError(
        "There is no picture of this file.", f"Its type is {media_type}, which has no one view.", "Download it instead."
    )


def _overview(path: Path, limits: Limits) -> np.ndarray:
    from backend.media.slides import open_slide

    with open_slide(path, limits) as slide:
        return slide.to_srgb(slide.thumbnail(2048))


def _picture(path: Path, limits: Limits) -> np.ndarray:
    from backend.media.images import read_image, to_rgb8

    pixels = read_image(path, limits)
    return pixels if pixels.ndim == 2 and pixels.dtype == "uint8" else to_rgb8(pixels)


def _axial(path: Path, limits: Limits, frame: int) -> np.ndarray:
    """An axial slice, seen from the feet with the patient's right on the left, as radiologists look at it."""
    import numpy as np

    from backend.media.images import to_rgb8
    from backend.media.nifti import read_nifti

    array = read_nifti(path, limits).canonical().array
    while array.ndim > 3:
        array = array[..., 0]
    index = array.shape[2] // 2 if frame < 0 else min(frame, array.shape[2] - 1)
    plane = np.ascontiguousarray(array[::-1, ::-1, index].T).astype(np.float32)
    return to_rgb8(plane)[..., 0]


def _pick(frames: np.ndarray, frame: int) -> np.ndarray:
    return frames[len(frames) // 2 if frame < 0 else min(frame, len(frames) - 1)]
