"""DICOM clips stored as video (MPEG-2, H.264, HEVC): one bit stream for all frames, decoded by ffmpeg."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backend.errors import UserError
from backend.media.dicom_open import damaged
from backend.media.limits import Limits

if TYPE_CHECKING:
    from pydicom import Dataset

TIMEOUT_S = 300
# Elementary streams and the containers that PS3.5 8.2.5 to 8.2.9 allow around them; no format that opens other files.
FORMATS = "mpegvideo,mpeg,mpegts,h264,hevc,mov"


def decode_video(dataset: Dataset, frames: int, rows: int, columns: int, limits: Limits) -> np.ndarray:
    """RGB uint8 [T, H, W, 3] of a data set whose transfer syntax is a video codec.

    Raises ``UserError`` when the stream is damaged or is not of the declared size.
    """
    from pydicom.encaps import generate_fragments

    from backend.media.video import ffmpeg

    data = dataset.get("PixelData") or b""
    try:
        fragments = list(generate_fragments(data))
    except Exception:
        raise damaged("Its video stream cannot be found.") from None
    # The first fragment is the offset table.
    stream = b"".join(fragments[1:])
    limits.check_ratio(frames * rows * columns * 3, len(stream))
    size = rows * columns * 3
    with tempfile.TemporaryDirectory(prefix="synthscope-") as folder:
        source = Path(folder) / "stream"
        source.write_bytes(stream)
        command = [ffmpeg(), "-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe"]
        command += ["-format_whitelist", FORMATS, "-i", str(source), "-map", "0:v:0", "-fps_mode", "passthrough"]
        command += ["-frames:v", str(frames + 1), "-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"]
        head = f"P6\n{columns} {rows}\n255\n".encode()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            watch = threading.Timer(TIMEOUT_S, process.kill)
            watch.start()
            try:
                # One picture more than declared is asked for; a stream of larger pictures is cut off here.
                decoded = process.stdout.read((frames + 1) * (size + len(head)))  # type: ignore[union-attr]
            finally:
                late = not watch.is_alive()
                watch.cancel()
                process.kill()
    if late:
        raise UserError("The clip takes too long to read.", "The time for one clip is up.", "Cut it.")
    step = size + len(head)
    if len(decoded) % step or any(not decoded.startswith(head, at) for at in range(0, len(decoded), step)):
        raise damaged("The size inside its video stream is not the size it declares.")
    count = len(decoded) // step
    if count != frames:
        raise damaged(f"It declares {frames} frames and its video stream holds {count}.")
    pixels = np.frombuffer(decoded, np.uint8).reshape(count, step)[:, len(head) :]
    return np.ascontiguousarray(pixels).reshape(frames, rows, columns, 3)
