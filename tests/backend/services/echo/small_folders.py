"""Tiny folders of clips for tests: phantoms and pydicom's real clip, in both layouts that are read."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

from backend.media.echo_clip import read_echo_clip
from backend.media.echonet_write import EchoRecord, write_zip
from backend.media.limits import Limits
from backend.media.write_dicom_us import write_us_clip
from backend.provenance import Provenance
from backend.samples import samples
from models.phantoms.echo import EchoClip, clip

RATE, FPS = 60.0, 16.0


def phantoms(count: int, frames: int = 48) -> list[EchoClip]:
    """Clips of three beats each, a second a beat."""
    return [clip(seed, ef=35 + 15 * seed, frames=frames, fps=FPS, heart_rate=RATE) for seed in range(count)]


def echonet_folder(folder: Path, count: int = 2, frames: int = 48) -> Path:
    """The layout of EchoNet-Dynamic: phantoms, and the real clip, whose ejection fraction is made up here."""
    made = Provenance.now(system="tests", action="write", synthetic=True)
    real = read_echo_clip(next(item.path for item in samples("clip") if item.id == "echo-four-chamber"), Limits())
    records = [EchoRecord(f"phantom{i}", c.frames, FPS, round(c.ef, 1)) for i, c in enumerate(phantoms(count, frames))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.with_suffix(".zip")
    write_zip(archive, [*records, EchoRecord("real", real.frames, real.fps, 60)], made)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
    return folder


def dicom_folder(folder: Path, count: int = 2) -> Path:
    """DICOM clips of phantoms beside a table with titles of its own."""
    made = Provenance.now(system="tests", action="write", synthetic=True)
    folder.mkdir(parents=True)
    with (folder / "fractions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["File", "LVEF"])
        for index, drawn in enumerate(phantoms(count)):
            write_us_clip(folder / f"clip{index}.dcm", drawn.frames, FPS, made)
            table.writerow([f"clip{index}.dcm", f"{drawn.ef:.1f}"])
    return folder
