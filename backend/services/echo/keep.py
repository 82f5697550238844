"""Store what an echo job made: the clip, its curve as a table, and films of it, all with the same origin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backend.media.stored_clip import MEDIA_TYPE, StoredClip, write_stored_clip
from backend.media.write_csv import write_csv
from backend.media.write_mp4 import write_mp4
from backend.provenance import Provenance
from backend.services.echo.overlay import enlarged, overlaid
from backend.services.echo.requests import Measured
from backend.services.keeper import Keeper

ENLARGED = 4  # times, of films: 112 pixels are few on a screen


class EchoKeeper(Keeper):
    """Keeps clips, their curves and films of them."""

    def clip(self, name: str, clip: StoredClip, properties: Mapping[str, Any] | None = None) -> str:
        """Id of the clip as NPZ."""
        facts = {"frames": len(clip.frames), "fps": clip.fps, "kind": "clip", **(properties or {})}
        return self.add(name, MEDIA_TYPE, lambda path, made: write_stored_clip(path, clip, made), "clip", facts)

    def film(self, name: str, frames: np.ndarray, fps: float, labels: np.ndarray | None = None) -> str:
        """Id of an MP4, enlarged; with ``labels`` uint8 [T, H, W] they lie over the frames."""

        def pictures() -> Iterator[np.ndarray]:
            for index, frame in enumerate(frames):
                self.ctx.check_cancelled()
                large = enlarged(frame, ENLARGED)
                if labels is None:
                    yield large
                else:
                    wide = labels[index].repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)
                    yield overlaid(large, wide)

        def write(path: Path, made: Provenance) -> None:
            write_mp4(path, pictures(), fps, made)

        return self.add(name, "video/mp4", write, "video")

    def dicom(self, name: str, frames: np.ndarray, fps: float, heart_rate: float | None) -> str:
        """Id of a DICOM Ultrasound Multi-frame image; one seed is one subject. No scale is stated: none is known."""
        from backend.media.write_dicom_us import write_us_clip

        subject = "" if self.seed is None or self.parents else str(self.seed)

        def write(path: Path, made: Provenance) -> None:
            write_us_clip(path, frames, fps, made, heart_rate=heart_rate, subject=subject)

        return self.add(name, "application/dicom", write, "dicom")

    def curve(self, name: str, measured: Measured) -> str:
        """Id of the CSV of what the page plots: one row a frame."""
        unit = measured.unit
        columns = ("frame", "time [s]", f"LV volume [{unit}]", f"LV volume, smoothed [{unit}]", "mark", "EF [%]")
        marks = dict.fromkeys(measured.end_diastole, "ED") | dict.fromkeys(measured.end_systole, "ES")

        def rows() -> Iterator[tuple[Any, ...]]:
            for frame, (volume, smooth) in enumerate(zip(measured.volumes, measured.smooth, strict=True)):
                told = measured.ef if frame == 0 else None
                yield frame + 1, frame / measured.fps, volume, smooth, marks.get(frame, ""), told

        return self.rows(name, columns, rows())

    def rows(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
        """Id of a CSV."""
        return self.add(name, "text/csv", lambda path, made: write_csv(path, columns, rows, made), "table")
