from __future__ import annotations

import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from backend.errors import UserError
from backend.media.limits import Limits
from backend.media.video import ffmpeg, probe, read_clip
from tests.backend.media.real_files import check_sentence

LIMITS = Limits()


def _make(path: Path, *options: str, size: str = "64x48", rate: int = 10, seconds: float = 1) -> Path:
    """A test pattern, encoded by ffmpeg itself."""
    source = f"testsrc=size={size}:rate={rate}:duration={seconds}"
    command = [ffmpeg(), "-v", "error", "-y", "-f", "lavfi", "-i", source, *options, str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


@pytest.mark.parametrize(
    ("name", "options", "codec", "container"),
    [
        ("x.mp4", ["-c:v", "libx264", "-pix_fmt", "yuv420p"], "h264", "mp4"),
        ("x.mov", ["-c:v", "mjpeg"], "mjpeg", "mov"),
        ("x.avi", ["-c:v", "mpeg4"], "mpeg4", "avi"),
        ("raw.avi", ["-c:v", "rawvideo", "-pix_fmt", "bgr24"], "rawvideo", "avi"),
        ("x.gif", [], "gif", "gif"),
        ("x.webm", ["-c:v", "libvpx-vp9", "-deadline", "realtime"], "vp9", "webm"),
    ],
)
def test_every_container_decodes(tmp_path: Path, name: str, options: list[str], codec: str, container: str) -> None:
    path = _make(tmp_path / name, *options)
    path = path.rename(tmp_path / "clip.bin")  # by content, not by name
    facts = probe(path)
    assert (facts.codec, facts.container, facts.width, facts.height) == (codec, container, 64, 48)
    clip = read_clip(path, LIMITS)
    assert clip.frames.shape == (10, 48, 64, 3)
    assert clip.frames.dtype == np.uint8
    assert clip.fps == pytest.approx(10, rel=0.01)
    assert clip.properties == {
        "container": container,
        "codec": codec,
        "pixel_format": facts.pixel_format,
        "damaged": False,
    }
    assert clip.frames.std() > 20


def test_lossless_video_keeps_every_pixel(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), k * 40, np.uint8)) for k in range(5)]
    for k, frame in enumerate(frames):
        frame.save(tmp_path / f"{k}.png")
    command = [ffmpeg(), "-v", "error", "-framerate", "25", "-i", str(tmp_path / "%d.png"), "-c:v", "rawvideo"]
    subprocess.run([*command, "-pix_fmt", "bgr24", str(tmp_path / "x.avi")], check=True)
    clip = read_clip(tmp_path / "x.avi", LIMITS)
    np.testing.assert_array_equal(clip.frames, np.stack([np.asarray(frame) for frame in frames]))


def test_rotation_is_applied(tmp_path: Path) -> None:
    flat = _make(tmp_path / "x.mp4", "-pix_fmt", "yuv420p")
    command = [ffmpeg(), "-v", "error", "-display_rotation:v:0", "90", "-i", str(flat), "-c", "copy"]
    subprocess.run([*command, str(tmp_path / "turned.mp4")], check=True)
    turned = read_clip(tmp_path / "turned.mp4", LIMITS).frames
    assert turned.shape == (10, 64, 48, 3)
    np.testing.assert_array_equal(np.rot90(read_clip(flat, LIMITS).frames, 1, (1, 2)), turned)


def test_limits_of_frames_and_pixels(tmp_path: Path) -> None:
    path = _make(tmp_path / "x.mp4", "-pix_fmt", "yuv420p", rate=30, seconds=2)
    with pytest.raises(UserError, match="too long"):
        read_clip(path, Limits(max_frames=50))
    with pytest.raises(UserError, match="too large"):
        read_clip(path, Limits(max_pixels=64 * 48 * 10))
    with pytest.raises(UserError, match="too large"):
        read_clip(path, Limits(max_pixels=1000))
    assert len(read_clip(path, Limits(max_frames=60)).frames) == 60


def test_frames_over_the_longest_side_are_refused_unseen(tmp_path: Path) -> None:
    path = _make(tmp_path / "x.avi", "-c:v", "mjpeg", size="8208x16", seconds=0.1)
    with pytest.raises(UserError, match="8,208 × 16"):
        read_clip(path, LIMITS)


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True) if "ffmpeg" in child.name()}


def test_cancel_and_time_out_kill_the_decoder(tmp_path: Path) -> None:
    path = _make(
        tmp_path / "x.mp4", "-pix_fmt", "yuv420p", "-preset", "ultrafast", size="1280x720", rate=30, seconds=20
    )
    asked = threading.Event()
    threading.Timer(0.3, asked.set).start()
    started = time.monotonic()
    with pytest.raises(UserError, match="not finished"):
        read_clip(path, Limits(max_pixels=10**10), cancelled=asked.is_set)
    assert time.monotonic() - started < 5
    with pytest.raises(UserError, match="too long"):
        read_clip(path, Limits(max_pixels=10**10), timeout_s=0.15)
    assert not _children()


def test_a_cut_off_clip_gives_its_whole_frames(tmp_path: Path) -> None:
    path = _make(tmp_path / "x.avi", "-c:v", "mjpeg", seconds=3)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    clip = read_clip(path, LIMITS)
    assert 5 < len(clip.frames) < 30


@pytest.mark.parametrize("what", ["empty", "picture", "text", "playlist", "no video", "head only"])
def test_what_is_no_clip_gets_a_sentence(tmp_path: Path, what: str) -> None:
    path = tmp_path / "Mustermann.mp4"
    whole = _make(tmp_path / "whole.mp4", "-pix_fmt", "yuv420p").read_bytes()
    if what == "empty":
        path.write_bytes(b"")
    elif what == "picture":
        Image.new("L", (9, 9)).save(path, "PNG")
    elif what == "text":
        path.write_text("hello " * 50)
    elif what == "playlist":
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    elif what == "no video":
        source = ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac", "-f", "mp4"]
        subprocess.run([ffmpeg(), "-v", "error", *source, str(path)], check=True)
    else:
        path.write_bytes(whole[:60])
    with pytest.raises(UserError) as caught:
        read_clip(path, LIMITS)
    check_sentence(caught.value, "Mustermann")


def test_a_file_inside_a_file_is_not_followed(tmp_path: Path) -> None:
    """A concat script disguised by nothing but its name must not make the decoder open what it lists."""
    secret = _make(tmp_path / "secret.mp4", "-pix_fmt", "yuv420p")
    (tmp_path / "x.mp4").write_text(f"ffconcat version 1.0\nfile '{secret}'\n")
    with pytest.raises(UserError):
        read_clip(tmp_path / "x.mp4", LIMITS)


@pytest.mark.parametrize("seed", range(6))
def test_flipped_bytes_give_frames_or_a_sentence(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(_make(tmp_path / "x.mp4", "-pix_fmt", "yuv420p").read_bytes())
    for at in rng.integers(0, len(data), 30):
        data[at] = rng.integers(0, 256)
    (tmp_path / "y.mp4").write_bytes(data)
    try:
        assert len(read_clip(tmp_path / "y.mp4", LIMITS, timeout_s=20).frames)
    except UserError as error:
        check_sentence(error)
