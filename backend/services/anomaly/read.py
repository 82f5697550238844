"""Open a stored scan, whatever its format: grey values [X, Y, Z] and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from models.anomaly.preprocess import Grid, working_grid

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LARGEST = 60_000_000
"""Voxels on the working grid: several copies of them are held at once."""


@dataclass(frozen=True, eq=False)
class Scan:
    """A scan as it is stored. ``array`` float32 [X, Y, Z]: columns, rows, slices (of NIfTI the axes of the file).

    Where the file does not say how it lies (``known`` is False), voxels are taken as cubes of 1 mm, seen from below
    with the front on top, as scanners show axial slices. ``modality``: of DICOM, else ''.
    """

    array: np.ndarray
    grid: Grid
    known: bool
    source: Literal["nifti", "dicom", "picture"]
    modality: str = ""
    notes: tuple[str, ...] = ()


def read_scan(path: Path, limits: Limits) -> Scan:
    """Open a NIfTI, a DICOM file or series, or a grey picture. Raises ``UserError`` for anything else, and over limits.

    Of a NIfTI with several volumes it is the first.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        scan = _nifti(path, limits)
    elif name.endswith((".dcm", ".zip")):
        scan = _dicom(path, limits)
    elif name.endswith((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")):
        scan = _picture(path, limits)
    else:
        raise UserError(
            "This is no scan that can be looked at here.",
            "A NIfTI volume, a DICOM series or slice, or a grey picture is needed.",
            "Choose another file.",
        )
    if scan.array.min() == scan.array.max():
        raise UserError("The scan is empty.", "All its voxels have one value.", "Choose another one.")
    voxels = int(np.prod(working_grid(scan.grid).shape))
    if voxels > LARGEST:
        raise UserError(
            "The scan is too large.",
            f"It fills {voxels / 1e6:.0f} million voxels of 1 mm; up to {LARGEST / 1e6:.0f} million are looked at.",
            "Crop it to the head.",
        )
    return scan


def read_mask(path: Path, scan: Scan, limits: Limits) -> np.ndarray:
    """A brain mask that a person gives, bool on the voxels of the scan. Raises ``UserError`` where it does not fit."""
    given = read_scan(path, limits)
    if given.array.shape != scan.array.shape:
        raise UserError(
            "The brain mask does not fit the scan.",
            f"One has {_times(given.array.shape)} voxels, the other {_times(scan.array.shape)}.",
            "Give the mask of the same scan, or none.",
        )
    corners = np.array([[0, 0, 0], np.array(scan.grid.shape) - 1])
    apart = np.abs(given.grid.mm(corners) - scan.grid.mm(corners)).max()
    if scan.known and given.known and apart > max(scan.grid.spacing_mm):
        raise UserError(
            "The brain mask lies elsewhere than the scan.",
            f"Their corners are up to {apart:.0f} mm apart.",
            "Give the mask of the same scan, or none.",
        )
    return given.array > 0.5 if given.array.max() <= 1 else given.array > 0


def _nifti(path: Path, limits: Limits) -> Scan:
    from backend.media.nifti import read_nifti

    volume = read_nifti(path, limits)
    notes, array = [], volume.array
    if array.ndim == 4:
        notes.append(f"The file holds {array.shape[3]} volumes; the first was taken.")
        array = array[..., 0]
    known = bool(volume.properties.get("orientation_known", True))
    if not known:
        notes.append("The file does not say how the scan lies: left and right may be exchanged.")
    bad = int(volume.properties.get("not_finite", 0))
    if bad:
        notes.append(f"{bad:,} voxels that were no numbers count as 0.")
    x, y, z = array.shape
    return Scan(array.astype(np.float32), Grid((x, y, z), volume.affine), known, "nifti", notes=tuple(notes))


def _dicom(path: Path, limits: Limits) -> Scan:
    from backend.media.dicom import read_dicom
    from backend.media.dicom_seg import is_segmentation, read_segmentation

    if path.suffix.lower() == ".dcm" and is_segmentation(path, limits):
        found = read_segmentation(path, limits)
        stacked = found.label_map() if found.label_map().ndim == 3 else found.label_map()[None]
        affine, spacing, modality, notes = found.geometry.affine, found.geometry.spacing_mm, "SEG", found.notes
    else:
        image = read_dicom(path, limits)
        if image.pixels.ndim == 4 or image.content == "clip":
            raise UserError(
                "This is no scan of a brain.",
                "It is in colour or moves." if image.pixels.ndim == 4 else "Its pictures follow one another in time.",
                "Choose an MR series.",
            )
        stacked, affine, modality, notes = image.pixels, image.affine, image.modality, image.notes
        given = image.spacing_mm or ()
        spacing = given if len(given) == 3 else (1.0, *given) if len(given) == 2 else None  # type: ignore[assignment]
    array = np.ascontiguousarray(stacked.transpose(2, 1, 0), np.float32)
    x, y, z = array.shape
    placed = plain_affine(spacing) if affine is None else LPS_TO_RAS @ affine
    return Scan(array, Grid((x, y, z), placed), spacing is not None, "dicom", modality, tuple(notes))


def _picture(path: Path, limits: Limits) -> Scan:
    from backend.media.images import read_image

    pixels = read_image(path, limits)
    if pixels.ndim == 3:
        if any(not np.array_equal(pixels[..., 0], pixels[..., channel]) for channel in (1, 2)):
            raise UserError("This picture is in colour.", "A scan has greys only.", "Choose an MR slice.")
        pixels = pixels[..., 0]
    array = np.ascontiguousarray(pixels.T[..., None], np.float32)
    note = "A picture does not say its scale: its pixels were taken as 1 mm."
    return Scan(array, Grid((array.shape[0], array.shape[1], 1), plain_affine(None)), False, "picture", notes=(note,))


def plain_affine(stacked_mm: tuple[float, float, float] | None) -> np.ndarray:
    """An affine for a scan without one: columns to the left, rows to the back, slices upwards, (slices, rows, columns)
    in mm; ``None`` takes 1 mm for each."""
    z, y, x = stacked_mm or (1.0, 1.0, 1.0)
    return np.diag([-x, -y, z, 1.0])


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(str(side) for side in shape)
