"""MP4 that plays everywhere: H.264, yuv420p, BT.709, index in front, the mark as its comment."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.marks import Mark, replacing
from backend.media.video import TIMEOUT_S, escape_metadata, ffmpeg, running
from backend.provenance import Provenance

CRF = 18  # visually lossless by x264's own account


def write_mp4(
    path: Path,
    frames: np.ndarray | Iterable[np.ndarray],
    fps: float,
    provenance: Provenance,
    *,
    cancelled: Callable[[], bool] | None = None,
    timeout_s: float = 10 * TIMEOUT_S,
) -> tuple[str, ...]:
    """Write a clip and return notes on what had to be changed.

    ``frames`` is uint8 [T, H, W] or [T, H, W, 3] RGB, or an iterable of such frames (memory then stays at one frame);
    ``fps`` is 0.1 to 1000. Odd sides get their last row or column repeated, since 4:2:0 colour needs even ones; the
    note that says so is in the file too. One encoder thread, so that equal input gives equal bytes on any machine.
    Raises ``ValueError`` for other arrays, ``UserError`` when the encoder fails, is cancelled or runs out of time.
    """
    if not 0.1 <= fps <= 1000:
        raise ValueError(f"{fps} frames a second")
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise ValueError("a clip without frames")
    first = _rgb(first)
    height, width = first.shape[:2]
    notes = _notes(width, height)
    shape = height + height % 2, width + width % 2
    rate = Fraction(fps).limit_denominator(1001)
    with replacing(path) as temporary, tempfile.TemporaryDirectory(prefix="clip") as folder:
        metadata = Path(folder) / "metadata"
        text = escape_metadata(Mark(provenance, notes).to_text())
        metadata.write_text(f";FFMETADATA1\ncomment={text}\n", encoding="utf-8")
        command = [ffmpeg(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
        command += ["-s", f"{shape[1]}x{shape[0]}", "-r", str(rate), "-i", "pipe:0"]
        command += ["-f", "ffmetadata", "-i", str(metadata), "-map", "0:v", "-map_metadata", "1"]
        command += ["-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd+full_chroma_int"]
        command += ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", str(CRF), "-preset", "medium", "-threads", "1"]
        command += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-color_range", "tv"]
        command += ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-movflags", "+faststart", "-f", "mp4"]
        command += [str(temporary)]
        with running(command, timeout_s, cancelled, subprocess.PIPE) as (process, why):
            assert process.stdin is not None
            try:
                for frame in chain([first], stream):
                    process.stdin.write(_even(_rgb(frame), shape).tobytes())
                process.stdin.close()
                code = process.wait()
            except (BrokenPipeError, OSError):
                code = process.wait()
        if why:
            raise why[0]
        if code:
            raise UserError("The clip could not be written.", "The encoder stopped.", "Check the free disk space.")
    return notes


def _notes(width: int, height: int) -> tuple[str, ...]:
    if width % 2 == 0 and height % 2 == 0:
        return ()
    sides = [name for name, odd in (("column", width % 2), ("row", height % 2)) if odd]
    return (f"The last {' and '.join(sides)} of {width} × {height} pixels was repeated: MP4 needs even sides.",)


def _rgb(frame: np.ndarray) -> np.ndarray:
    frame = np.asarray(frame)
    if frame.ndim == 2:
        frame = np.repeat(frame[..., None], 3, axis=2)
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or not frame.size:
        raise ValueError(f"a frame is uint8 [H, W] or [H, W, 3], not {frame.dtype} {frame.shape}")
    return frame


def _even(frame: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    bottom, right = shape[0] - frame.shape[0], shape[1] - frame.shape[1]
    if not 0 <= bottom <= 1 or not 0 <= right <= 1:
        raise ValueError("frames of different sizes")
    return np.pad(frame, ((0, bottom), (0, right), (0, 0)), mode="edge") if bottom or right else frame
