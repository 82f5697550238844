"""Small made-up scans with a known bright spot, as NIfTI and as DICOM series."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

SPOT_MM = np.array([8.0, -5.0, 4.0])
"""Centre of the spot in the space of the scanner, RAS+."""
RADIUS_MM = 5.0


def oblique(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> np.ndarray:
    """An affine with axes near left, posterior, superior, tilted by 10 and 6 degrees, the origin in its middle."""
    a, b = np.deg2rad(10), np.deg2rad(6)
    tilt = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ turn @ np.diag([-1.0, -1.0, 1.0]) @ np.diag(spacing)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


def ball(shape: tuple[int, int, int], affine: np.ndarray, radius_mm: float = 22) -> tuple[np.ndarray, np.ndarray]:
    """A ball of brain, brighter to the right, with a bright spot in it, and the spot as a mask; grey 0 outside."""
    index = np.stack(np.indices(shape), -1)
    places = index @ affine[:3, :3].T + affine[:3, 3]
    spot = np.linalg.norm(places - SPOT_MM, axis=-1) < RADIUS_MM
    noise = np.random.default_rng(0).normal(0, 4, shape)
    image = np.where(np.linalg.norm(places, axis=-1) < radius_mm, 450 + 6 * places[..., 0] + noise + 500 * spot, 0)
    return image.astype(np.int16), spot


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_series(folder: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    """The scan [X, Y, Z] as a series of DICOM files, last slice first, of a patient with a name."""
    folder.mkdir()
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    edges = np.sqrt((lps[:3, :3] ** 2).sum(0))
    directions = lps[:3, :3] / edges
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    for number, index in enumerate(reversed(range(array.shape[2])), 1):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        slice_ = FileDataset(str(folder / "x"), Dataset(), file_meta=meta, preamble=b"\0" * 128)
        slice_.SOPClassUID, slice_.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        slice_.StudyInstanceUID, slice_.SeriesInstanceUID, slice_.FrameOfReferenceUID = study, series, frame
        slice_.Modality, slice_.PatientName, slice_.PatientID = "MR", "Doe^Jane", "ZEBEDEE-4711"
        slice_.InstanceNumber, slice_.SeriesNumber = number, 1
        slice_.Rows, slice_.Columns = array.shape[1], array.shape[0]
        slice_.PixelSpacing = [round(float(edges[1]), 6), round(float(edges[0]), 6)]
        slice_.SliceThickness = round(float(edges[2]), 6)
        slice_.ImageOrientationPatient = [round(float(value), 9) for value in (*directions[:, 0], *directions[:, 1])]
        place = lps[:3, :3] @ np.array([0, 0, index]) + lps[:3, 3]
        slice_.ImagePositionPatient = [round(float(value), 6) for value in place]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
        slice_.PixelData = np.ascontiguousarray(array[:, :, index].T, np.int16).tobytes()
        slice_.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return folder
