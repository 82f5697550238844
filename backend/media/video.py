"""Clips in MP4, MOV, AVI, WebM and GIF, decoded by ffmpeg in a process of its own.

The process is told which container it gets (by content), may open no other file and no network address, may use common
codecs only, and is killed when it takes too long, sends too much or is not wanted any more.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits

TIMEOUT_S = 180.0
MAX_SIDE = 8192
DEMUXERS = {"mp4": "mov", "mov": "mov", "avi": "avi", "gif": "gif", "webm": "matroska"}
CODECS = (
    "h264,hevc,av1,libdav1d,vp8,vp9,libvpx,libvpx-vp9,mpeg4,mpeg2video,mpeg1video,mjpeg,gif,rawvideo,png,qtrle,"
    "prores,dnxhd,dvvideo,huffyuv,ffvhuff,ffv1,utvideo,msmpeg4v1,msmpeg4v2,msmpeg4v3,msmpeg4,wmv1,wmv2,wmv3,vc1,"
    "h263,theora,msvideo1,msrle,cinepak,v210,bmp,jpeg2000,libopenjpeg"
)
CUT_OFF = "Its data is damaged or cut off."


@dataclass(frozen=True)
class Clip:
    """``frames`` is uint8 [T, H, W, 3] RGB; ``fps`` frames a second; ``properties`` name codec and container."""

    frames: np.ndarray
    fps: float
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoFacts:
    """What a file declares of its first video stream, before a frame is decoded. ``duration_s`` may be unknown."""

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    fps: float
    duration_s: float | None


@lru_cache(maxsize=1)
def ffmpeg() -> str:
    """The ffmpeg program to run. Raises ``UserError`` where there is none."""
    import imageio_ffmpeg

    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise UserError(
            "Clips cannot be read or written.",
            "The ffmpeg program is missing from this installation.",
            "Install imageio-ffmpeg again.",
        ) from None


def probe(path: Path) -> VideoFacts:
    """What the file declares. Raises ``UserError`` when it is no clip or has no picture in it."""
    container = _container(path)
    command = [ffmpeg(), "-hide_banner", "-nostdin", *_input(path, container)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise _too_long() from None
    text = done.stderr.decode("utf-8", "replace")
    stream = re.search(r"Stream #\S+.*?: Video: (\w+)[^\n]*", text)
    if stream is None:
        raise UserError("The clip cannot be read.", "There is no video in it, or it is damaged.", "Export it again.")
    line = stream.group(0)
    size = re.search(r"[ ,](\d{1,6})x(\d{1,6})[ ,\[\n]", line + "\n")
    if size is None or int(size[1]) < 1 or int(size[2]) < 1:
        raise UserError("The clip cannot be read.", CUT_OFF, "Export it again and retry.")
    rate = re.search(r"([\d.]+)(k?) fps", line) or re.search(r"([\d.]+)(k?) tbr", line)
    fps = float(rate[1]) * (1000 if rate[2] else 1) if rate else 0.0
    length = re.search(r"Duration: (\d+):(\d\d):(\d\d\.\d+)", text)
    seconds = int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]) if length else None
    pixels = re.search(r"Video: \w+(?: \([^)]*\))*, (\w+)", line)
    return VideoFacts(container, stream[1], pixels[1] if pixels else "", int(size[1]), int(size[2]), fps, seconds)


def read_clip(
    path: Path,
    limits: Limits,
    *,
    max_side: int | None = None,
    cancelled: Callable[[], bool] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Clip:
    """Decode every frame of the first video stream; sound is left out, rotation is applied.

    Frames of more than ``max_side`` pixels on their longer side are scaled down to it by area while they are decoded,
    and the limit of pixels then counts what comes out. ``cancelled`` is asked several times a second; when it says yes
    the decoder is killed and ``UserError`` raised.
    Raises ``UserError`` when the file is no clip, damaged, over the limits in frames or pixels, or takes longer than
    ``timeout_s`` seconds. A clip whose end is cut off gives the frames that are whole, and ``properties['damaged']``.
    """
    path = Path(path)
    limits.check_file(path)
    facts = probe(path)
    if facts.codec not in CODECS.split(","):
        raise UserError("The clip cannot be read.", f"Its codec ({facts.codec}) is not read here.", "Save it as MP4.")
    if max(facts.width, facts.height) > MAX_SIDE:
        raise UserError(
            "The clip is too large.",
            f"Its frames are {facts.width:,} × {facts.height:,} pixels and the limit is {MAX_SIDE:,} a side.",
            "Scale it down.",
        )
    if max_side is None:
        limits.check_pixels(facts.height, facts.width)
    if facts.duration_s and facts.fps and facts.duration_s * facts.fps > 2 * limits.max_frames:
        limits.check_frames(int(facts.duration_s * facts.fps))
    command = [ffmpeg(), "-v", "error", "-nostdin", "-threads", "2", *_input(path, facts.container)]
    command += ["-map", "0:v:0", "-fps_mode", "passthrough", "-an", "-sn", "-dn"]
    if max_side and max(facts.width, facts.height) > max_side:
        smaller = f"w='min(iw,{max_side})':h='min(ih,{max_side})':force_original_aspect_ratio=decrease"
        command += ["-vf", f"scale={smaller}:flags=area"]
    command += ["-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "pipe:1"]
    pixels, count, shape = bytearray(), 0, (0, 0, 3)  # grows in place: a list of frames would have to be copied
    with running(command, timeout_s, cancelled) as (process, why):
        assert process.stdout is not None
        for data, size in _ppm(process.stdout):
            count, shape = count + 1, shape if count else size
            limits.check_frames(count)
            limits.check_pixels(count, *shape[:2])
            if size != shape:
                raise UserError("The clip cannot be read.", CUT_OFF, "Export it again and retry.")
            pixels += data
        code = process.wait()
    if why:
        raise why[0]
    if not count:
        raise UserError("The clip cannot be read.", CUT_OFF, "Export it again and retry.")
    frames = np.frombuffer(pixels, np.uint8).reshape(count, *shape)
    properties = {
        "container": facts.container,
        "codec": facts.codec,
        "pixel_format": facts.pixel_format,
        "damaged": code != 0,
    }
    return Clip(frames, facts.fps or 25.0, properties)


def frame_times(path: Path) -> np.ndarray:
    """When each frame of the first video stream is shown, seconds from the first, float64 [T], in order of showing.

    Read from the container without decoding, so that files with a variable frame rate are told from others; empty
    where it does not say. A container may list a frame that the decoder drops: compare the counts.
    Raises ``UserError`` when the file is no clip.
    """
    command = [ffmpeg(), "-v", "error", "-nostdin", *_input(path, _container(path)), "-map", "0:v:0", "-c", "copy"]
    try:
        done = subprocess.run(
            [*command, "-f", "framecrc", "pipe:1"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _too_long() from None
    text = done.stdout.decode("ascii", "replace")
    base = re.search(r"^#tb 0: (\d+)/(\d+)", text, re.MULTILINE)
    shown = re.findall(r"^0,\s*-?\d+,\s*(-?\d+),", text, re.MULTILINE)
    if base is None or not shown or not int(base[2]):
        return np.zeros(0)
    times = np.sort(np.array(shown, np.float64)) * int(base[1]) / int(base[2])
    return times - times[0]


def read_metadata(path: Path) -> dict[str, str]:
    """The global metadata of a clip (``comment``, ``encoder`` …). Raises ``UserError`` when it is no clip."""
    command = [ffmpeg(), "-v", "error", "-nostdin", *_input(path, _container(path)), "-f", "ffmetadata", "pipe:1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    text = done.stdout.decode("utf-8", "replace")
    values: dict[str, str] = {}
    # ffmetadata: key=value lines, in which = ; # \ and line breaks are escaped by a backslash
    for line in re.findall(r"(?:\\.|[^\\\n])+", text, re.DOTALL):
        if line.startswith(("[", ";")):
            if line.startswith("["):
                break
            continue
        parts = re.match(r"((?:\\.|[^\\=])*)=(.*)", line, re.DOTALL)
        if parts:
            values[_unescape(parts[1])] = _unescape(parts[2])
    return values


def escape_metadata(text: str) -> str:
    """A value for an ffmetadata file."""
    return re.sub(r"([=;#\\\n])", r"\\\1", text)


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)


def _container(path: Path) -> str:
    from backend.media.sniff import sniff

    found = sniff(path).format
    if found not in DEMUXERS:
        raise UserError("The file is no clip.", "It is none of MP4, MOV, AVI, WebM or GIF.", "Save it as MP4.")
    return found


def _input(path: Path, container: str) -> list[str]:
    """Input options that leave the program nothing to open but this file."""
    demuxer = DEMUXERS[container]
    options = ["-protocol_whitelist", "file", "-codec_whitelist", CODECS, "-max_pixels", str(MAX_SIDE * MAX_SIDE)]
    return [*options, "-f", demuxer, "-i", f"file:{Path(path).resolve()}"]


def _ppm(stream: IO[bytes]) -> Iterator[tuple[bytes, tuple[int, int, int]]]:
    """Bytes and shape (H, W, 3) of each picture of a stream of binary PPMs; a cut-off last one is dropped."""
    while True:
        if stream.readline(8) != b"P6\n":
            return
        try:
            width, height = (int(n) for n in stream.readline(32).split())
        except ValueError:
            return
        if stream.readline(8) != b"255\n" or not 0 < width <= MAX_SIDE or not 0 < height <= MAX_SIDE:
            return
        data = stream.read(width * height * 3)
        if len(data) < width * height * 3:
            return
        yield data, (height, width, 3)


@contextmanager
def running(
    command: list[str], timeout_s: float, cancelled: Callable[[], bool] | None, stdin: int = subprocess.DEVNULL
) -> Iterator[tuple[subprocess.Popen[bytes], list[UserError]]]:
    """A process that does not outlive the block, the time or the wish for it; the list says which of them ended it."""
    why: list[UserError] = []
    over = threading.Event()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=errors, bufsize=1 << 20)

        def watch() -> None:
            deadline = time.monotonic() + timeout_s
            while not over.wait(0.1):
                if cancelled is not None and cancelled():
                    why.append(UserError("The clip was not finished.", "Somebody asked for it to stop."))
                elif time.monotonic() > deadline:
                    why.append(_too_long())
                if why:
                    process.kill()
                    return

        watcher = threading.Thread(target=watch, name="ffmpeg-watch", daemon=True)
        watcher.start()
        try:
            yield process, why
        finally:
            over.set()
            watcher.join()
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    try:
                        pipe.close()
                    except OSError:
                        continue  # the other end is gone already
            process.wait()


def _too_long() -> UserError:
    return UserError("The clip takes too long to read.", "The time for one clip is up.", "Cut it or scale it down.")
