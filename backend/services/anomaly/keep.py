"""Store what was found: volumes on the voxels of the source, the table, the picture, the DICOM segmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.media.limits import Limits
from backend.provenance import Provenance
from backend.services.anomaly.requests import FindingRow
from backend.services.keeper import Keeper

COLUMNS = (
    "finding",
    "volume [ml]",
    "size",
    "peak",
    "mean",
    "voxel x",
    "voxel y",
    "voxel z",
    "centroid x [mm]",
    "centroid y [mm]",
    "centroid z [mm]",
    "MNI x [mm]",
    "MNI y [mm]",
    "MNI z [mm]",
    "region",
)


@dataclass(frozen=True)
class FindingsKeeper(Keeper):
    """Keeps volumes and findings of one scan."""

    def volume(
        self, name: str, array: np.ndarray, affine: np.ndarray, kind: str, facts: Mapping[str, Any] | None = None
    ) -> str:
        """Id of a NIfTI on the voxels of ``affine``."""
        from backend.media.write_nifti import write_nifti

        def write(path: Path, made: Provenance) -> None:
            write_nifti(path, array, affine, made)

        return self.add(name, "application/x-nifti", write, kind, facts)

    def table(self, name: str, rows: Sequence[FindingRow], verdicts: Mapping[int, str] | None = None) -> str:
        """Id of a CSV, one line a finding; with ``verdicts`` by label in a column of their own."""
        from backend.media.write_csv import write_csv

        columns = COLUMNS if verdicts is None else (*COLUMNS, "verdict")

        def write(path: Path, made: Provenance) -> None:
            lines = (
                cells(row) if verdicts is None else (*cells(row), verdicts.get(row.label, "not judged")) for row in rows
            )
            write_csv(path, columns, lines, made)

        return self.add(name, "text/csv", write, "table")

    def picture(self, name: str, pixels: np.ndarray) -> str:
        """Id of a PNG of uint8 [H, W, 3]."""
        from backend.media.write_png import write_png

        return self.add(name, "image/png", lambda path, made: write_png(path, pixels, made), "image")

    def segmentation(
        self, name: str, source: Path, labels: np.ndarray, rows: Sequence[FindingRow], limits: Limits
    ) -> str:
        """Id of a DICOM segmentation of ``labels`` [X, Y, Z] over the images of ``source``."""
        from backend.media.write_dicom_findings import write_findings

        titles = [title(row) for row in rows]
        stacked = np.ascontiguousarray(labels.transpose(2, 1, 0))

        def write(path: Path, made: Provenance) -> None:
            write_findings(path, source, stacked, titles, made, limits)

        return self.add(name, "application/dicom", write, "dicom")


def title(row: FindingRow) -> str:
    """What a finding is called in other programs."""
    return f"Finding {row.label}, {row.ml:.2f} ml"


def cells(row: FindingRow) -> tuple[Any, ...]:
    """The cells of :data:`COLUMNS`."""
    nothing = (None, None, None)
    place = row.centroid_mm or nothing
    return (
        row.label,
        row.ml,
        row.size,
        row.peak,
        row.mean,
        *row.voxel,
        *place,
        *(row.mni_mm or nothing),
        row.region,
    )
