"""NIfTI-1 with the mark as a header extension."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from backend.media.marks import NIFTI_COMMENT, Mark, replacing
from backend.notices import RESEARCH_ONLY
from backend.provenance import Provenance

TYPES = (np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64)


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray, provenance: Provenance) -> None:
    """Write a volume; gzipped when the name ends in ``.gz``.

    ``array`` is [X, Y, Z] or [X, Y, Z, T] of integers up to 32 bits, float32, float64 or bool (as uint8); ``affine``
    is 4 × 4, voxel indices to millimetres in RAS+, stored as sform and, where it is a rotation, as qform. Values are
    stored as they are, without scaling. Raises ``ValueError`` for other input.
    """
    import nibabel
    from nibabel.nifti1 import Nifti1Extension

    array, affine = np.asarray(array), np.asarray(affine, np.float64)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.ndim not in (3, 4) or array.dtype not in TYPES or not array.size:
        raise ValueError(f"a volume is a real [X, Y, Z(, T)], not {array.dtype} {array.shape}")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ValueError("the affine cannot be inverted")
    kind = nibabel.Nifti1Image if max(array.shape) <= 32767 else nibabel.Nifti2Image
    image = kind(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm", "sec" if array.ndim == 4 else 0)
    image.header["descrip"] = RESEARCH_ONLY.encode()
    image.header.extensions.append(Nifti1Extension(NIFTI_COMMENT, Mark(provenance).to_text().encode()))
    with replacing(path) as temporary, temporary.open("wb") as file:
        if Path(path).suffix == ".gz":
            # No name and no time in the gzip header, so that equal volumes are equal files.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as zipped:
                image.to_stream(zipped)
        else:
            image.to_stream(file)
