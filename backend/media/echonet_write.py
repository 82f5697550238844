"""Clips with their EF as a ZIP in the layout of EchoNet-Dynamic, which programs written for that data read unchanged.

The released writer of EchoNet-Synthetic put height, width and number of frames into one another's columns and coded
every AVI at 30 frames a second whatever its table said; here both come from the array that is written.
"""

from __future__ import annotations

import csv
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np

from backend.errors import UserError
from backend.media.marks import Mark, replacing
from backend.media.video import TIMEOUT_S, escape_metadata, ffmpeg, running
from backend.media.write_zip import write_zip as pack
from backend.provenance import Provenance

FILE_COLUMNS = ("FileName", "EF", "ESV", "EDV", "FrameHeight", "FrameWidth", "FPS", "NumberOfFrames", "Split")
MEASURED_COLUMN = "MeasuredEF"
TRACING_COLUMNS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")
CHORDS = 20
QUALITY = 2  # of MJPEG, 2 (best) to 31
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class EchoRecord:
    """One clip to write.

    ``name`` has letters, digits, - and _; ``frames`` is uint8 [T, H, W]; ``fps`` frames a second; ``ef`` in %, volumes
    in ml (``None``: an empty cell); ``tracings`` maps frames to lines float [N, 4] as :func:`trace` makes them.
    ``measured_ef`` in % stands beside ``ef`` where that is what was asked for.
    """

    name: str
    frames: np.ndarray
    fps: float
    ef: float
    esv: float | None = None
    edv: float | None = None
    split: Literal["TRAIN", "VAL", "TEST"] = "TRAIN"
    tracings: Mapping[int, np.ndarray] = field(default_factory=dict)
    measured_ef: float | None = None


def trace(mask: np.ndarray, chords: int = CHORDS) -> np.ndarray:
    """The outline of a left ventricle, bool [H, W], as EchoNet-Dynamic draws it: float64 [1 + ``chords``, 4].

    Lines (x1, y1, x2, y2) in pixels whose centres are whole numbers: the long axis from the apex to the middle of the
    mitral plane, then chords square to it in the middle of discs of equal height, from the apex on, left end first.
    Raises ``ValueError`` when there is no ventricle in the mask.
    """
    from scipy import ndimage

    from models.echo.volumes import area_length

    volume = area_length(mask)
    apex, base = np.array(volume.apex), np.array(volume.base)
    axis = (base - apex) / np.hypot(*(base - apex))
    across = np.array([-axis[1], axis[0]])
    across = across if across[1] < 0 else -across  # towards the left of the picture first
    soft = ndimage.gaussian_filter(mask.astype(np.float32), 0.5)
    heights = (np.arange(chords) + 0.5) / chords * np.hypot(*(base - apex))
    middle = apex + axis * heights[:, None]
    reach = np.arange(0, max(mask.shape), 0.1)
    ends = []
    for direction in (across, -across):
        places = middle.T[:, :, None] + direction[:, None, None] * reach
        outside = ndimage.map_coordinates(soft, places, order=1, mode="constant") < 0.5
        ends.append(middle + direction * reach[outside.argmax(1)][:, None])
    lines = [np.concatenate([apex[::-1], base[::-1]])]
    lines += [np.concatenate([one[::-1], other[::-1]]) for one, other in zip(*ends, strict=True)]
    return np.array(lines)


def write_zip(
    path: Path,
    records: Iterable[EchoRecord],
    provenance: Provenance,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> int:
    """Write clips one after another (memory stays at one) and return how many.

    The tables hold the columns of EchoNet-Dynamic. ``FileList.csv``, which is read by the names of its columns, gets
    one more where a measured EF is told. Of a clip's tracings the smallest ventricle comes first, since the released
    loader takes the last one for end-diastole. The mark is ``provenance.json`` and the comment of each AVI. Raises
    ``ValueError`` for no clip, a name that is unusable or taken and arrays of another kind; ``UserError`` when the
    encoder fails or is cancelled.
    """
    with tempfile.TemporaryDirectory(prefix="synthscope-") as scratch:
        folder = Path(scratch)
        rows, lines, files = [], [], []
        measured: list[float | None] = []
        taken: set[str] = set()
        for record in records:
            if not NAME.fullmatch(record.name) or record.name.lower() in taken:
                raise ValueError(f"{record.name!r} cannot be the name of a clip")
            taken.add(record.name.lower())
            clip = folder / f"{record.name}.avi"
            write_avi(clip, record.frames, record.fps, provenance, cancelled=cancelled)
            files.append((f"Videos/{clip.name}", clip))
            count, height, width = record.frames.shape
            volumes = [_cell(value) for value in (record.ef, record.esv, record.edv)]
            rows.append([record.name, *volumes, height, width, _cell(record.fps), count, record.split])
            measured.append(record.measured_ef)
            for frame, traced in sorted(record.tracings.items(), key=lambda item: _area(item[1])):
                if not 0 <= frame < count:
                    raise ValueError(f"there is no frame {frame} to trace")
                lines += [[clip.name, *(f"{value:.4f}" for value in line), frame] for line in np.asarray(traced)]
        if not files:
            raise ValueError("a ZIP without clips")
        titles: tuple[str, ...] = FILE_COLUMNS
        if any(value is not None for value in measured):
            titles = (*FILE_COLUMNS, MEASURED_COLUMN)
            rows = [[*row, _cell(value)] for row, value in zip(rows, measured, strict=True)]
        tables = [("FileList.csv", titles, rows), ("VolumeTracings.csv", TRACING_COLUMNS, lines)]
        for name, columns, cells in tables:
            with (folder / name).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([columns, *cells])
        pack(path, [*((name, folder / name) for name, _, _ in tables), *files], provenance)
    return len(files)


def write_avi(
    path: Path,
    frames: np.ndarray,
    fps: float,
    provenance: Provenance,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> None:
    """Write a grey clip as Motion JPEG, the codec of EchoNet-Dynamic, which OpenCV and every player decode.

    ``frames`` is uint8 [T, H, W], ``fps`` 0.1 to 1000. Grey levels keep their full range. Raises ``ValueError`` for
    other input, ``UserError`` when the encoder fails or is cancelled.
    """
    frames = np.asarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 3 or not frames.size:
        raise ValueError(f"a grey clip is uint8 [T, H, W], not {frames.dtype} {frames.shape}")
    if not 0.1 <= fps <= 1000:
        raise ValueError(f"{fps} frames a second")
    rate = Fraction(fps).limit_denominator(1001)
    with replacing(path) as temporary, tempfile.TemporaryDirectory(prefix="clip") as folder:
        metadata = Path(folder) / "metadata"
        text = escape_metadata(Mark(provenance).to_text())
        metadata.write_text(f";FFMETADATA1\ncomment={text}\n", encoding="utf-8")
        command = [ffmpeg(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray"]
        command += ["-s", f"{frames.shape[2]}x{frames.shape[1]}", "-r", str(rate), "-i", "pipe:0"]
        command += ["-f", "ffmetadata", "-i", str(metadata), "-map", "0:v", "-map_metadata", "1"]
        command += ["-vf", "scale=in_range=full:out_range=full", "-pix_fmt", "yuvj420p", "-c:v", "mjpeg"]
        command += ["-q:v", str(QUALITY), "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
        command += ["-f", "avi", str(temporary)]
        with running(command, TIMEOUT_S, cancelled, subprocess.PIPE) as (process, why):
            assert process.stdin is not None
            try:
                for frame in frames:
                    process.stdin.write(np.ascontiguousarray(frame).tobytes())
                process.stdin.close()
            except OSError:
                pass  # the encoder is gone, and its exit status says why
            code = process.wait()
        if why:
            raise why[0]
        if code:
            raise UserError("The clip could not be written.", "The encoder stopped.", "Check the free disk space.")


def _area(lines: np.ndarray) -> float:
    """A traced ventricle's area, but for a factor: its long axis times the mean chord."""
    across = np.asarray(lines, np.float64)
    lengths = np.hypot(across[:, 2] - across[:, 0], across[:, 3] - across[:, 1])
    return float(lengths[0] * lengths[1:].mean()) if len(lengths) > 1 else 0.0


def _cell(value: float | None) -> str:
    """A number without needless digits; '' for none."""
    return "" if value is None else f"{float(value):.10g}"
