from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from backend.errors import UserError
from backend.media.arrays import read_arrays
from backend.media.limits import Limits
from tests.backend.media.real_files import check_sentence

LIMITS = Limits()


class _Trap:
    """What a hostile pickle looks like: opening it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_round_trip(tmp_path: Path, save: object) -> None:
    arrays = {"vol": np.arange(24.0).reshape(2, 3, 4), "mask": np.eye(3, dtype=bool), "n": np.array(5)}
    save(tmp_path / "x.npz", **arrays)  # type: ignore[operator]
    read = read_arrays(tmp_path / "x.npz", LIMITS)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_npy_by_content_not_by_name(tmp_path: Path) -> None:
    with (tmp_path / "x.dat").open("wb") as file:
        np.save(file, np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3)))
    read = read_arrays(tmp_path / "x.dat", LIMITS)
    np.testing.assert_array_equal(read["array"], np.arange(6).reshape(2, 3))


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_objects_are_refused_and_never_run(tmp_path: Path, name: str) -> None:
    trap = np.array([_Trap(tmp_path / "touched")], dtype=object)
    if name == "x.npy":
        np.save(tmp_path / name, trap, allow_pickle=True)
    else:
        np.savez(tmp_path / name, good=np.zeros(3), bad=trap)
    with pytest.raises(UserError, match="can run code"):
        read_arrays(tmp_path / name, LIMITS)
    assert not (tmp_path / "touched").exists()


def test_text_and_records_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", name=np.array(["Erika Mustermann"]))
    with pytest.raises(UserError, match="other than numbers") as caught:
        read_arrays(tmp_path / "x.npz", LIMITS)
    check_sentence(caught.value, "Mustermann")


def _npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


def test_sizes_are_checked_before_reading(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(_npy((100_000, 100_000)))
    with pytest.raises(UserError, match="too large"):
        read_arrays(tmp_path / "x.npy", LIMITS)
    (tmp_path / "x.npy").write_bytes(_npy((10_000, 10_000)))
    with pytest.raises(UserError, match="unpacks to far more"):
        read_arrays(tmp_path / "x.npy", LIMITS)
    (tmp_path / "x.npy").write_bytes(_npy((1000, 1000)))
    with pytest.raises(UserError, match="cut off"):
        read_arrays(tmp_path / "x.npy", LIMITS)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", zeros=np.zeros((12_000, 1000)))
    with pytest.raises(UserError, match="unpacks to far more"):
        read_arrays(tmp_path / "x.npz", Limits(max_decompression_ratio=100))
    np.savez_compressed(tmp_path / "many.npz", **{f"a{k}": np.zeros((4000, 1000)) for k in range(3)})
    with pytest.raises(UserError, match="unpacks to far more"):
        read_arrays(tmp_path / "many.npz", Limits(max_decompression_ratio=100))


def test_other_zips_are_no_npz(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(UserError, match="no NPZ"):
        read_arrays(tmp_path / "x.zip", LIMITS)
    (tmp_path / "y").write_bytes(b"hello world")
    with pytest.raises(UserError, match="no NumPy file"):
        read_arrays(tmp_path / "y", LIMITS)


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_open_or_give_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(50.0), b=np.eye(4, dtype=np.int16))
    content = bytearray(buffer.getvalue()[: data.draw(st.integers(1, len(buffer.getvalue())))])
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    (tmp_path / "x").write_bytes(content)
    try:
        arrays = read_arrays(tmp_path / "x", LIMITS)
    except UserError as error:
        check_sentence(error)
    else:
        assert arrays
