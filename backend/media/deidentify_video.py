"""Clips without container texts, and ultrasound clips without what is printed around the sector."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.burned_in import DARK, Masked, mask_burned_in
from backend.media.deidentify_images import strip_gif
from backend.media.intake import Intake
from backend.media.limits import Limits
from backend.media.sniff import Sniffed

TIMEOUT_S = 300
# Streams of these codecs can carry user data between frames (SEI messages): type numbers by ITU-T H.264 and H.265.
SEI = {"h264": "filter_units=remove_types=6", "hevc": "filter_units=remove_types=39|40"}


def clean_clip(source: Path, kind: Sniffed, scratch: Path, limits: Limits) -> Intake:
    """Open a clip for real and write it without metadata.

    Frames are copied as they are compressed, unless the clip is an ultrasound sector with something printed around
    it: then that is blanked and the clip coded anew as H.264. Raises ``UserError``.
    """
    from backend.media.video import read_clip

    clip = read_clip(source, limits)
    facts = {
        "frames": len(clip.frames),
        "rows": int(clip.frames.shape[1]),
        "columns": int(clip.frames.shape[2]),
        "fps": round(float(clip.fps), 4),
    }
    if looks_like_ultrasound(clip.frames):
        masked = mask_burned_in(clip.frames)
        if masked.sector.found and masked.blanked_pixels > 0.0005 * masked.mask.size:
            return _coded_anew(masked, float(clip.fps), scratch, facts)
    target = scratch / f"clean{kind.suffix}"
    if kind.format == "gif":
        data, removed = strip_gif(source.read_bytes())
        target.write_bytes(data)
        notes = ("Comments inside the GIF were removed.",) if removed else ()
    else:
        codec = str(clip.properties.get("codec", ""))
        _remux(source, target, codec)
        notes = ("Texts, dates and sound were removed from the clip.",)
    return Intake(target, "clip", kind.media_type, kind.suffix, facts, notes)


def looks_like_ultrasound(frames: np.ndarray) -> bool:
    """Whether frames uint8 [T, H, W, 3] show a mostly grey, moving sector on a mostly black ground."""
    from backend.media.burned_in import find_sector

    chosen = frames[:: max(1, len(frames) // 32)]
    sector = find_sector(chosen)
    share = sector.mask.mean()
    if sector.method != "motion" or not 0.08 < share < 0.9:
        return False
    ground = chosen[:, ~sector.mask]
    inside = chosen[:, sector.mask].astype(np.int16)
    coloured = np.ptp(inside, axis=-1) > 40
    return bool((ground.max(-1) <= 2 * DARK).mean() > 0.7 and coloured.mean() < 0.35)


def _remux(source: Path, target: Path, codec: str) -> None:
    """Copy the first video stream into a new container without metadata, chapters, sound or attachments."""
    from backend.media.video import ffmpeg

    command = [ffmpeg(), "-v", "error", "-nostdin", "-y", "-i", str(source), "-map", "0:v:0", "-c", "copy"]
    command += ["-map_metadata", "-1", "-map_metadata:s", "-1", "-map_chapters", "-1", "-fflags", "+bitexact"]
    if codec in SEI:
        command += ["-bsf:v", SEI[codec]]
    _run([*command, str(target)], None)


def _coded_anew(masked: Masked, fps: float, scratch: Path, facts: dict) -> Intake:
    """H.264 at a quality where coding is invisible (constant rate factor 10), even sides by repeating the last row."""
    from backend.media.video import ffmpeg

    _, height, width, _ = masked.frames.shape
    target = scratch / "clean.mp4"
    command = [ffmpeg(), "-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{width}x{height}", "-r", f"{fps:.6f}", "-i", "pipe:0"]
    command += ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-crf", "10", "-preset", "fast"]
    command += ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    _run([*command, str(target)], masked.frames)
    notes = (
        "Everything outside the ultrasound sector was blanked: scanners print names and dates there.",
        "The clip was coded anew as H.264, and its texts and sound were removed.",
    )
    return Intake(target, "clip", "video/mp4", ".mp4", facts, notes)


def _run(command: list[str], frames: np.ndarray | None) -> None:
    data = None if frames is None else np.ascontiguousarray(frames).data.cast("B")
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise UserError("The clip takes too long to clean.", "The time for one clip is up.", "Cut it.") from None
    if done.returncode:
        raise UserError("The clip cannot be cleaned.", "Its frames cannot be put into a new file.", "Save it as MP4.")
