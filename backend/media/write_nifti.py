"""NIfTI-1 with the mark as a header extension."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

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
    _store(path, image)


def write_nifti_like(path: Path, array: np.ndarray, source: Path, provenance: Provenance) -> None:
    """Write a label map over the voxels of ``source``, a single-file NIfTI: its header with our numbers in it.

    ``array`` has the shape of the source's voxels (axes of length 1 may be missing) and holds integers up to 32 bits or
    booleans. Affines, their codes, units and voxel sizes stay bit for bit; type, scaling and texts are ours, and the
    intent says that these are labels. Raises ``ValueError`` for an array that does not fit.
    """
    import nibabel
    from nibabel.nifti1 import Nifti1Extension, Nifti1Extensions

    array = np.asarray(array)
    if array.dtype == bool:
        array = array.astype(np.uint8)
    if array.dtype not in TYPES or array.dtype.kind not in "iu":
        raise ValueError(f"labels are integers of up to 32 bits, not {array.dtype}")
    with source.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(source, "rb") if zipped else source.open("rb") as file:
        head = file.read(8)
        file.seek(0)
        kind = nibabel.Nifti2Image if head[4:7] == b"n+2" or _is_second(head) else nibabel.Nifti1Image
        given = kind.from_stream(file)
        shape = tuple(given.shape)
    if [side for side in shape if side > 1] != [side for side in array.shape if side > 1]:
        raise ValueError(f"labels {array.shape} do not fit voxels {shape}")
    header = given.header.copy()
    header.extensions = Nifti1Extensions()
    header.set_data_dtype(array.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = RESEARCH_ONLY.encode()
    header["aux_file"] = b""
    header.set_intent("label")
    image = kind(array.reshape(shape), None, header)
    for name in ("qform_code", "sform_code", "pixdim", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y"):
        image.header[name] = given.header[name]
    for name in ("qoffset_z", "srow_x", "srow_y", "srow_z", "xyzt_units"):
        image.header[name] = given.header[name]
    image.header.extensions.append(Nifti1Extension(NIFTI_COMMENT, Mark(provenance).to_text().encode()))
    _store(path, image)


def _is_second(head: bytes) -> bool:
    return head[:4] in (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # 540: the length of a NIfTI-2 header


def _store(path: Path, image: Any) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        if Path(path).suffix == ".gz":
            # No name and no time in the gzip header, so that equal volumes are equal files.
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0) as zipped:
                image.to_stream(zipped)
        else:
            image.to_stream(file)
