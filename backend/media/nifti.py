"""NIfTI-1 and NIfTI-2 volumes, plain or gzipped, and the orientation of their axes."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits

MAX_EXTENSIONS = 64 * 1024 * 1024
TO_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # NIfTI xyzt_units: metre, millimetre, micron
BROKEN = UserError("The volume cannot be read.", "Its data is damaged or cut off.", "Export it again and retry.")


@dataclass(frozen=True)
class Volume:
    """A scan. ``array`` is [X, Y, Z] (or [X, Y, Z, T]); ``affine`` takes voxel indices to millimetres in RAS+."""

    array: np.ndarray
    affine: np.ndarray
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edge lengths of a voxel along the array's axes, in mm."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(0))
        return float(x), float(y), float(z)

    @property
    def orientation(self) -> str:
        """Which way the axes point, as three letters: 'RAS' means right, anterior, superior."""
        return orientation(self.affine)

    def canonical(self) -> Volume:
        """The same scan with its axes flipped and swapped to be as near to RAS+ as they can; nothing is resampled."""
        return to_canonical(self)


def read_nifti(path: Path, limits: Limits) -> Volume:
    """Read a volume as it is stored.

    Integers stay integers (int16, uint8 …) when the file has no scaling; everything else becomes float32 with slope
    and intercept applied, NaN and infinities as 0. A last axis of length 1 is dropped. Where sform and qform are both
    absent or unusable, the affine is made of the voxel size alone and ``properties['orientation_known']`` is False;
    ``properties['not_finite']`` counts the voxels that were NaN or infinite.
    Raises ``UserError`` when the file is no NIfTI, damaged, over the limits, or holds colours or complex numbers.
    """
    import nibabel

    path = Path(path)
    stored = limits.check_file(path)
    try:
        with closing(_open(path)) as file:
            head = file.read(540)
            shape, bytes_needed = _check_header(head, limits)
            limits.check_unpacked(bytes_needed, stored)
        kind = nibabel.Nifti2Image if head[4:7] == b"n+2" else nibabel.Nifti1Image
        with closing(_open(path)) as file:
            image = kind.from_stream(file)
            header = image.header
            proxy: Any = image.dataobj
            slope, intercept = proxy.slope, proxy.inter
            plain = header.get_data_dtype().kind in "iu" and slope == 1 and intercept == 0
            array = np.asarray(proxy) if plain else np.asarray(image.get_fdata(dtype=np.float32))
    except UserError:
        raise
    except MemoryError:
        raise UserError(
            "The volume cannot be read.", "It asks for more memory than there is.", "Crop or downsample it."
        ) from None
    except Exception:  # nibabel, gzip and zlib each have exceptions of their own for damaged files
        raise BROKEN from None
    bad = 0
    if not plain:
        bad = int(array.size - np.isfinite(array).sum())
        array = np.nan_to_num(array, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    array = np.ascontiguousarray(array.reshape(shape))
    affine, known = _affine(image)
    units = TO_MM.get(int(header["xyzt_units"]) & 7, 1.0)
    if units != 1.0:
        affine = np.diag([units, units, units, 1.0]) @ affine
    properties = {
        "version": 2 if head[4:7] == b"n+2" else 1,
        "stored_type": str(header.get_data_dtype()),
        "scaled": not plain and slope not in (None, 0, 1),
        "orientation": orientation(affine),
        "orientation_known": known,
        "not_finite": bad,
    }
    return Volume(array, affine, properties)


def orientation(affine: np.ndarray) -> str:
    """The direction in which each axis grows, as three letters of RL, AP and SI."""
    import nibabel

    return "".join(code or "?" for code in nibabel.aff2axcodes(np.asarray(affine, np.float64)))


def to_canonical(volume: Volume) -> Volume:
    """The volume with axes as near to RAS+ as flips and swaps bring them; voxels keep their place in millimetres."""
    from nibabel import orientations

    turn = orientations.io_orientation(volume.affine)
    array = orientations.apply_orientation(volume.array, turn)
    affine = volume.affine @ orientations.inv_ornt_aff(turn, volume.array.shape[:3])
    return Volume(np.ascontiguousarray(array), affine, {**volume.properties, "orientation": orientation(affine)})


def from_canonical(array: np.ndarray, like: Volume) -> np.ndarray:
    """An array that was made on ``to_canonical(like)`` turned back to the axes of ``like``."""
    from nibabel import orientations

    turn = orientations.io_orientation(like.affine)
    back = orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), turn)
    return np.ascontiguousarray(orientations.apply_orientation(array, back))


def read_comments(path: Path) -> list[str]:
    """Texts of the header extensions of code 6 (comment). Raises ``ValueError`` or ``OSError`` when it is no NIfTI."""
    with closing(_open(path)) as file:
        head = file.read(540)
        order, second = _layout(head)
        start = 544 if second else 352
        offset = _vox_offset(head, order, second)
        if not start <= offset <= MAX_EXTENSIONS:
            return []
        body = (head + file.read(max(0, offset - len(head))))[start - 4 : offset]
    texts, at = [], 4
    if len(body) < 4 or body[0] == 0:
        return []
    while at + 8 <= len(body):
        size, code = struct.unpack_from(order + "ii", body, at)
        if size < 8 or at + size > len(body):
            break
        if code == 6:
            texts.append(body[at + 8 : at + size].rstrip(b"\x00 \n").decode("utf-8", "replace"))
        at += size
    return texts


def _open(path: Path) -> Any:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else path.open("rb")


def _layout(head: bytes) -> tuple[str, bool]:
    """Byte order and whether it is NIfTI-2. Raises ``ValueError``."""
    for order in "<>":
        if len(head) >= 348 and struct.unpack_from(order + "i", head)[0] == 348 and head[344:347] in (b"n+1", b"ni1"):
            return order, False
        if len(head) >= 540 and struct.unpack_from(order + "i", head)[0] == 540 and head[4:7] in (b"n+2", b"ni2"):
            return order, True
    raise ValueError("no NIfTI header")


def _vox_offset(head: bytes, order: str, second: bool) -> int:
    offset = struct.unpack_from(order + "q", head, 168)[0] if second else struct.unpack_from(order + "f", head, 108)[0]
    if not np.isfinite(offset):
        raise ValueError("no offset")
    return int(offset)


def _check_header(head: bytes, limits: Limits) -> tuple[tuple[int, ...], int]:
    """Shape to return and bytes to unpack, by the header alone; limits are checked here."""
    try:
        order, second = _layout(head)
    except ValueError:
        raise UserError(
            "The file is no NIfTI volume.", "It does not begin with a NIfTI header.", "Export it as .nii or .nii.gz."
        ) from None
    if head[344:347] == b"ni1" or head[4:7] == b"ni2":
        raise UserError(
            "The volume cannot be read alone.",
            "It is one half of a pair of files, .hdr and .img.",
            "Save it as a single .nii or .nii.gz.",
        )
    dims = struct.unpack_from(order + "8q", head, 16) if second else struct.unpack_from(order + "8h", head, 40)
    if not 1 <= dims[0] <= 7:
        raise BROKEN
    shape = list(dims[1 : dims[0] + 1])
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    if len(shape) < 2 or len(shape) > 4:
        raise UserError(
            "The volume cannot be used.",
            f"It has {len(shape)} dimensions; a scan has three, and four with time.",
            "Export one channel of it.",
        )
    shape += [1] * (3 - len(shape))
    limits.check_pixels(*shape)
    if len(shape) == 4:
        limits.check_frames(shape[3])
    code, bits = struct.unpack_from(order + "hh", head, 12 if second else 70)
    if code in (128, 2304, 32, 1792, 2048):
        raise UserError(
            "The volume cannot be used.",
            "Its voxels are colours or complex numbers; one real number a voxel is needed.",
            "Export a grey or magnitude image.",
        )
    if bits not in (8, 16, 32, 64, 128):
        raise BROKEN
    offset = _vox_offset(head, order, second)
    if not 0 <= offset <= MAX_EXTENSIONS:
        raise BROKEN
    return tuple(shape), offset + prod(shape) * bits // 8


def _affine(image: Any) -> tuple[np.ndarray, bool]:
    """The affine to use and whether the file really says how the scan lies."""
    header = image.header
    for code, read in (("sform_code", header.get_sform), ("qform_code", header.get_qform)):
        if int(header[code]) <= 0:
            continue
        try:
            affine = np.asarray(read(), np.float64)
        except (ValueError, np.linalg.LinAlgError):
            continue
        if np.isfinite(affine).all() and abs(np.linalg.det(affine[:3, :3])) > 1e-9:
            return affine, True
    zooms = [abs(float(z)) for z in header.get_zooms()[:3]]
    zooms = [z if np.isfinite(z) and z > 0 else 1.0 for z in zooms] + [1.0] * (3 - len(zooms))
    return np.diag([*zooms, 1.0]), False
