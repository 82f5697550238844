from __future__ import annotations

import gzip
import itertools
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from backend.errors import UserError
from backend.media.limits import Limits
from backend.media.nifti import Volume, from_canonical, orientation, read_nifti, to_canonical
from tests.backend.media.real_files import check_sentence

LIMITS = Limits()
RNG = np.random.default_rng(20260302)
AFFINE = np.array([[0, 0, 2.0, -10], [-1.5, 0, 0, 20], [0, 1.0, 0, 5], [0, 0, 0, 1]])


def _save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE, kind: type = nibabel.Nifti1Image) -> None:
    kind(array, affine, dtype=array.dtype).to_filename(path)


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32])
def test_values_type_and_affine_survive(tmp_path: Path, name: str, kind: type, dtype: type) -> None:
    array = (RNG.normal(size=(4, 5, 6)) * 50).astype(dtype)
    _save(tmp_path / name, array, kind=kind)
    volume = read_nifti(tmp_path / name, LIMITS)
    assert volume.array.dtype == dtype
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.spacing_mm == (1.5, 1.0, 2.0)
    assert volume.properties["version"] == (1 if kind is nibabel.Nifti1Image else 2)


def test_the_name_does_not_matter(tmp_path: Path) -> None:
    _save(tmp_path / "x.nii.gz", np.ones((2, 3, 4), np.uint8))
    (tmp_path / "x.nii.gz").rename(tmp_path / "scan.bin")
    assert read_nifti(tmp_path / "scan.bin", LIMITS).array.shape == (2, 3, 4)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((3, 3, 3), np.int16), np.eye(4))
    stored = np.arange(27, dtype="<i2").reshape(3, 3, 3)
    image.header.set_slope_inter(0.5, -3)
    data = bytearray(image.to_bytes())
    data[352:] = stored.tobytes(order="F")
    data[112:120] = struct.pack("<ff", 0.5, -3)
    (tmp_path / "x.nii").write_bytes(data)
    volume = read_nifti(tmp_path / "x.nii", LIMITS)
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array, stored * 0.5 - 3)


def test_not_a_number_becomes_zero_and_a_single_time_point_a_volume(tmp_path: Path) -> None:
    array = np.ones((2, 3, 4, 1), np.float32)
    array[0, 0, 0] = np.nan
    array[1, 0, 0] = np.inf
    _save(tmp_path / "x.nii", array)
    read = read_nifti(tmp_path / "x.nii", LIMITS).array
    assert read.shape == (2, 3, 4)
    assert np.isfinite(read).all()
    assert read.sum() == 2 * 3 * 4 - 2 * 4 + 6 or read[0, 0, 0] == 0
    _save(tmp_path / "t.nii", np.zeros((2, 3, 4, 5), np.uint8))
    assert read_nifti(tmp_path / "t.nii", LIMITS).array.shape == (2, 3, 4, 5)


def test_metres_and_microns_become_millimetres(tmp_path: Path) -> None:
    for units, scale in (("meter", 1000), ("micron", 0.001), ("mm", 1)):
        image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.diag([2.0, 3, 4, 1]))
        image.header.set_xyzt_units(units)
        image.to_filename(tmp_path / "x.nii")
        np.testing.assert_allclose(read_nifti(tmp_path / "x.nii", LIMITS).spacing_mm, np.array([2, 3, 4]) * scale)


def test_unknown_orientation_is_said(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.uint8), None)
    image.header.set_zooms((1.0, 2.0, 3.0))
    image.to_filename(tmp_path / "x.nii")
    volume = read_nifti(tmp_path / "x.nii", LIMITS)
    assert volume.properties["orientation_known"] is False
    assert volume.spacing_mm == (1.0, 2.0, 3.0)
    _save(tmp_path / "y.nii", np.zeros((2, 2, 2), np.uint8))
    assert read_nifti(tmp_path / "y.nii", LIMITS).properties["orientation_known"] is True


def test_all_48_orientations_come_to_ras_and_back() -> None:
    array = np.arange(24).reshape(2, 3, 4)
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((-1, 1), repeat=3):
            affine = np.eye(4)
            affine[:3, :3] = np.eye(3)[:, order] * signs * (1, 2, 3)
            affine[:3, 3] = (7, -5, 3)
            volume = Volume(array, affine)
            turned = to_canonical(volume)
            assert turned.orientation == "RAS"
            np.testing.assert_array_equal(from_canonical(turned.array, volume), array)
            voxel = np.array([1, 2, 3, 1])
            place = affine @ voxel
            there = np.rint(np.linalg.inv(turned.affine) @ place).astype(int)
            assert turned.array[tuple(there[:3])] == array[1, 2, 3]


def test_orientation_letters() -> None:
    assert orientation(np.eye(4)) == "RAS"
    assert orientation(np.diag([-1.0, -1, 1, 1])) == "LPS"
    assert orientation(AFFINE) == "PSR"


def _header(shape: tuple[int, ...], code: int = 2, bits: int = 8, offset: float = 352.0) -> bytes:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", head, 70, code, bits)
    struct.pack_into("<8f", head, 76, *[1.0] * 8)
    struct.pack_into("<f", head, 108, offset)
    head[344:348] = b"n+1\x00"
    return bytes(head)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"no volume at all" * 40, "no NIfTI volume"),
        (_header((10, 10, 10)), "damaged or cut off"),
        (_header((30000, 30000, 30000)), "too large"),
        (_header((-4, 10, 10)), "no pixels"),
        (_header((4, 4, 4), code=128, bits=24) + bytes(192), "colours or complex"),
        (_header((4, 4, 4), code=32, bits=64) + bytes(512), "colours or complex"),
        (_header((2, 2, 2, 2, 3)) + bytes(48), "5 dimensions"),
        (_header((4, 4, 4), offset=float("nan")) + bytes(64), "damaged"),
        (_header((4, 4, 4), offset=3e38) + bytes(64), "damaged"),
        (_header((4, 4, 4))[:344] + b"ni1\x00" + bytes(64), "pair of files"),
        (_header((2, 2, 2, 5000)) + bytes(40000), "too long"),
        (gzip.compress(b"no volume", mtime=0), "no NIfTI volume"),
        (gzip.compress(_header((4, 4, 4)) + bytes(64), mtime=0)[:-30], "damaged|no NIfTI"),
    ],
)
def test_bad_volumes_get_a_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "Mustermann.nii").write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        read_nifti(tmp_path / "Mustermann.nii", LIMITS)
    check_sentence(caught.value, "Mustermann")


def test_a_gzip_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(gzip.compress(_header((700, 700, 700))))
    with pytest.raises(UserError, match="unpacks to far more"):
        read_nifti(tmp_path / "x.nii.gz", LIMITS)


@examples(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_volumes_open_or_give_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), AFFINE)
    content = bytearray(image.to_bytes()[: data.draw(st.integers(1, 472))])
    for at in data.draw(st.lists(st.integers(0, min(len(content), 352) - 1), max_size=6)):
        content[at] = data.draw(st.integers(0, 255))
    zipped = data.draw(st.booleans())
    (tmp_path / "x").write_bytes(gzip.compress(bytes(content)) if zipped else bytes(content))
    try:
        volume = read_nifti(tmp_path / "x", Limits(max_pixels=100_000))
    except UserError as error:
        check_sentence(error)
    else:
        assert np.isfinite(volume.array).all()
        assert np.isfinite(volume.affine).all()
