"""Real healthy scans from a folder, beside the phantoms. A patient with a lesion mask is never read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.training.anomaly_slices import SHAPE_SIDE, Slices, cut, number_of, with_neighbours

LESIONS = "lesions.nii.gz"
SCANS = {"T1": "t1", "T2": "t2", "FLAIR": "flair"}
EVERY_MM = 2
"""Distance of the slices that are taken of a scan."""
STRIPPED = 0.75
"""Share of voxels above 0 from which a scan is taken to have a head around its brain."""


def read_scans(folder: Path, neighbours: int, sides: tuple[int, int]) -> Slices:
    """Slices of every healthy scan below ``folder``, in the form of the phantoms', without shapes.

    Read are patients' folders with ``T1``, ``T2`` or ``FLAIR`` as ``.nii.gz``, and ``.npz`` with ``vol`` [X, Y, Z]
    as VoxelMorph ships its T1 scans (axes left, inferior, anterior). All must be skull-stripped, with 0 around the
    brain. A folder that holds ``lesions.nii.gz`` is left out. Raises ``UserError`` when nothing is left, or a scan
    cannot be read or shows more than a brain.
    """
    found: list[tuple[np.ndarray, int]] = []
    patients: list[int] = []
    for index, path in enumerate(sorted({*folder.rglob("*.npz"), *(scan.parent for scan in folder.rglob("*.nii.gz"))})):
        for volume, sequence in _scans(path):
            found.append((_slices(volume, neighbours, sides), number_of(sequence)))
            patients.append(index)
    counts = [len(images) for images, _ in found]
    if not sum(counts):
        raise UserError(
            "The folder holds no healthy scan.",
            "Patients' folders with T1.nii.gz, T2.nii.gz or FLAIR.nii.gz are read, unless they hold a lesion mask.",
            "Give another folder, or train on phantoms alone.",
        )
    return Slices(
        np.concatenate([images for images, _ in found]),
        np.repeat(np.array([number for _, number in found], np.uint8), counts),
        np.repeat(np.array(patients, np.int32), counts),
        np.zeros((0, SHAPE_SIDE, SHAPE_SIDE), bool),
    )


def _scans(path: Path) -> list[tuple[np.ndarray, str]]:
    """Volumes [X, Y, Z] in RAS order at 1 mm of one patient, each with its sequence."""
    if path.suffix == ".npz":
        try:
            with np.load(path, allow_pickle=False) as content:
                volume = np.asarray(content["vol"], np.float32)
        except (OSError, ValueError, KeyError):
            raise UserError("A scan of the folder cannot be read.", "An .npz file has no volume 'vol'.") from None
        if volume.ndim != 3:
            raise UserError("A scan of the folder cannot be read.", "The 'vol' of an .npz file is no volume.")
        return [(np.moveaxis(volume[::-1, ::-1], 1, 2), "t1")]
    if (path / LESIONS).exists():
        return []
    return [
        (_nifti(path / f"{name}.nii.gz"), sequence)
        for name, sequence in SCANS.items()
        if (path / f"{name}.nii.gz").is_file()
    ]


def _nifti(path: Path) -> np.ndarray:
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError

    from models.anomaly.preprocess import Grid, resample, working_grid

    try:
        image = nib.Nifti1Image.from_filename(path)
        values = np.asarray(image.dataobj, np.float32)
        x, y, z = values.shape
        source = Grid((x, y, z), np.asarray(image.affine))
    except (OSError, ValueError, EOFError, ImageFileError):
        raise UserError("A scan of the folder cannot be read.", "A NIfTI file is damaged or is no volume.") from None
    return resample(values, source, working_grid(source))


def _slices(volume: np.ndarray, neighbours: int, sides: tuple[int, int]) -> np.ndarray:
    mask = volume > 0
    if mask.mean() > STRIPPED:
        raise UserError(
            "A scan of the folder shows more than a brain.",
            "Where there is no brain its values must be 0.",
            "Strip the skull first.",
        )
    inside = np.flatnonzero(mask.any((0, 1)))
    if not len(inside):
        return np.zeros((0, 1 + 2 * neighbours, *sides), np.uint8)
    around = with_neighbours(range(int(inside[0]), int(inside[-1]) + 1, EVERY_MM), neighbours, volume.shape[2])
    taken = np.moveaxis(volume[:, :, around.ravel()], -1, 0)
    return cut(taken, taken > 0, around.shape, sides)[0]
