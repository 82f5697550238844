from __future__ import annotations

import csv
import json
import re
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.media.arrays import read_arrays
from backend.media.images import read_image
from backend.media.limits import Limits
from backend.media.marks import Mark, digest_uid, read_mark, read_provenance, replacing
from backend.media.nifti import read_nifti
from backend.media.video import ffmpeg, probe, read_clip
from backend.media.write_arrays import write_npz
from backend.media.write_csv import write_csv
from backend.media.write_dicom import write_secondary_capture, write_us_multiframe
from backend.media.write_mp4 import write_mp4
from backend.media.write_nifti import write_nifti
from backend.media.write_ome_tiff import write_ome_tiff
from backend.media.write_png import write_png
from backend.notices import RESEARCH_ONLY, SYNTHETIC
from backend.provenance import Provenance
from tests.backend.media.real_files import PROVENANCE

LIMITS = Limits()
RNG = np.random.default_rng(20260303)
RGB = RNG.integers(0, 256, (40, 60, 3), np.uint8)
SMOOTH = np.stack([np.roll(np.add.outer(np.arange(48), np.arange(64)) * 2, k, 1) for k in range(6)]).astype(np.uint8)
AFFINE = np.array([[-1.5, 0, 0, 10], [0, 2.0, 0, -20], [0, 0, 3.0, 5], [0, 0, 0, 1]])

WRITERS: dict[str, Callable[[Path, Provenance], object]] = {
    "x.png": lambda p, q: write_png(p, RGB, q),
    "x.mp4": lambda p, q: write_mp4(p, SMOOTH, 25, q),
    "x.nii": lambda p, q: write_nifti(p, np.arange(24, dtype=np.int16).reshape(2, 3, 4), AFFINE, q),
    "x.nii.gz": lambda p, q: write_nifti(p, np.arange(24, dtype=np.float32).reshape(2, 3, 4), AFFINE, q),
    "x.npz": lambda p, q: write_npz(p, {"a": np.arange(5.0)}, q),
    "x.csv": lambda p, q: write_csv(p, ["beta 0", "length [mm]"], [(1, 2.5), (3, None)], q),
    "still.dcm": lambda p, q: write_secondary_capture(p, RGB, q),
    "clip.dcm": lambda p, q: write_us_multiframe(p, SMOOTH, 40.0, q),
    "x.ome.tif": lambda p, q: write_ome_tiff(p, RGB, (60, 40), 0.25, q, tile=16),
}


@pytest.mark.parametrize("name", WRITERS)
def test_provenance_comes_back_and_equal_input_gives_equal_bytes(tmp_path: Path, name: str) -> None:
    first, second = tmp_path / "a" / name, tmp_path / "b" / name
    for path in (first, second):
        path.parent.mkdir()
        WRITERS[name](path, PROVENANCE)
    assert first.read_bytes() == second.read_bytes()
    assert read_provenance(first) == PROVENANCE
    assert [path.name for path in first.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_the_sentences_are_in_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for provenance in (PROVENANCE, replace(PROVENANCE, synthetic=False)):
        WRITERS[name](path, provenance)
        mark = read_mark(path)
        assert mark is not None
        assert mark.sentences == (f"{RESEARCH_ONLY} {SYNTHETIC}" if provenance.synthetic else RESEARCH_ONLY)
        if not name.endswith((".gz", ".npz")):  # those are packed
            assert RESEARCH_ONLY.encode() in path.read_bytes()
            assert (SYNTHETIC.encode() in path.read_bytes()) is provenance.synthetic


@pytest.mark.parametrize("name", WRITERS)
def test_a_very_long_request_comes_back(tmp_path: Path, name: str) -> None:
    long = replace(PROVENANCE, request={"values": [k / 7 for k in range(10_000)], "text": "ü" * 20_000})
    WRITERS[name](tmp_path / name, long)
    assert read_provenance(tmp_path / name) == long


@pytest.mark.parametrize("name", WRITERS)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes(b"old")
    broken = replace(PROVENANCE, request={"x": float("nan")})  # provenance is canonical JSON, which has no NaN
    with pytest.raises(ValueError, match="JSON"):
        WRITERS[name](path, broken)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == [name]


def test_files_of_others_have_no_provenance(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "x.png")
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)).to_filename(tmp_path / "x.nii")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "x.bin").write_bytes(RNG.integers(0, 256, 2000, np.uint8).tobytes())
    (tmp_path / "empty").write_bytes(b"")
    Image.fromarray(RGB).save(tmp_path / "x.tif")
    for path in tmp_path.iterdir():
        if path.is_file():
            assert read_provenance(path) is None, path.name


@pytest.mark.parametrize("name", WRITERS)
def test_a_damaged_file_has_no_provenance_or_the_right_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    WRITERS[name](path, PROVENANCE)
    whole = path.read_bytes()
    for share in (0.1, 0.4, 0.7, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        assert read_provenance(path) in (None, PROVENANCE)


def test_png_pixels_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for pixels in (RGB, RGB[..., 0], np.dstack([RGB, RGB[..., 0]]), RGB[..., 0].astype(np.uint16) * 257):
        write_png(path, pixels, PROVENANCE)
        np.testing.assert_array_equal(read_image(path, LIMITS), pixels)
    write_png(path, RGB[..., 0] > 100, PROVENANCE)
    np.testing.assert_array_equal(read_image(path, LIMITS), (RGB[..., 0] > 100) * np.uint8(255))
    assert Image.open(path).text["Disclaimer"].startswith(RESEARCH_ONLY)  # type: ignore[attr-defined]
    for bad in (np.zeros((3, 3)), np.zeros((3, 3, 2), np.uint8), np.zeros((0, 3), np.uint8)):
        with pytest.raises(ValueError, match="PNG holds"):
            write_png(path, bad, PROVENANCE)


def test_mp4_is_h264_yuv420p_with_its_index_in_front(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    assert write_mp4(path, SMOOTH, 12.5, PROVENANCE) == ()
    facts = probe(path)
    assert (facts.codec, facts.pixel_format, facts.width, facts.height, facts.fps) == ("h264", "yuv420p", 64, 48, 12.5)
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    clip = read_clip(path, LIMITS)
    assert clip.frames.shape == (6, 48, 64, 3)
    error = np.abs(clip.frames.astype(int) - SMOOTH[..., None])
    assert error.mean() < 3
    done = subprocess.run([ffmpeg(), "-hide_banner", "-i", str(path)], capture_output=True, check=False)
    assert re.search(rb"yuv420p\(tv, bt709", done.stderr)


def test_mp4_colours_are_right(tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128]], np.uint8)
    frame = np.repeat(np.repeat(colours[None], 32, 0), 32, 1).reshape(32, 6 * 32, 3)
    write_mp4(tmp_path / "x.mp4", np.stack([frame] * 3), 25, PROVENANCE)
    read = read_clip(tmp_path / "x.mp4", LIMITS).frames[1]
    for k, colour in enumerate(colours):
        assert np.abs(read[16, 32 * k + 16].astype(int) - colour).max() <= 4


@pytest.mark.parametrize(("height", "width", "word"), [(47, 64, "row"), (48, 63, "column"), (47, 63, "column and row")])
def test_odd_sides_are_padded_and_said(tmp_path: Path, height: int, width: int, word: str) -> None:
    frames = np.repeat(SMOOTH[:, :height, :width, None], 3, 3)
    notes = write_mp4(tmp_path / "x.mp4", iter(frames), 25, PROVENANCE)
    assert len(notes) == 1
    assert f"last {word} of {width} × {height} pixels was repeated" in notes[0]
    mark = read_mark(tmp_path / "x.mp4")
    assert mark == Mark(PROVENANCE, notes)
    assert read_clip(tmp_path / "x.mp4", LIMITS).frames.shape == (6, 48, 64, 3)


def test_mp4_refuses_and_cancels(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with pytest.raises(ValueError, match="without frames"):
        write_mp4(path, [], 25, PROVENANCE)
    with pytest.raises(ValueError, match="frames a second"):
        write_mp4(path, SMOOTH, 0, PROVENANCE)
    with pytest.raises(ValueError, match="different sizes"):
        write_mp4(path, [SMOOTH[0], SMOOTH[0][:20]], 25, PROVENANCE)

    def endless() -> object:
        while True:
            yield SMOOTH[0]

    with pytest.raises(UserError, match="not finished"):
        write_mp4(path, endless(), 25, PROVENANCE, cancelled=lambda: True)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.mp4*"))
    assert not [p for p in tmp_path.iterdir() if p.is_file()]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, bool])
def test_nifti_values_and_geometry(tmp_path: Path, dtype: type) -> None:
    array = (RNG.normal(size=(5, 6, 7)) * 40).astype(dtype)
    write_nifti(tmp_path / "x.nii.gz", array, AFFINE, PROVENANCE)
    volume = read_nifti(tmp_path / "x.nii.gz", LIMITS)
    np.testing.assert_array_equal(volume.array, array)
    assert volume.array.dtype == (np.uint8 if dtype is bool else dtype)
    np.testing.assert_allclose(volume.affine, AFFINE)
    header = nibabel.load(tmp_path / "x.nii.gz").header
    assert bytes(header["descrip"]).rstrip(b"\x00").decode() == RESEARCH_ONLY
    assert header.get_xyzt_units()[0] == "mm"
    with pytest.raises(ValueError, match="inverted"):
        write_nifti(tmp_path / "y.nii", array, np.zeros((4, 4)), PROVENANCE)
    with pytest.raises(ValueError, match="a volume is"):
        write_nifti(tmp_path / "y.nii", np.zeros((3, 3)), AFFINE, PROVENANCE)


def test_npz_opens_in_numpy_and_hides_its_mark_from_our_reader(tmp_path: Path) -> None:
    arrays = {"samples": RGB, "weights": np.linspace(0, 1, 5)}
    write_npz(tmp_path / "x.npz", arrays, PROVENANCE)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as read:
        assert sorted(read.files) == ["samples", "synthscope_mark", "weights"]
        np.testing.assert_array_equal(read["samples"], RGB)
        assert json.loads(str(read["synthscope_mark"]))["notice"] == RESEARCH_ONLY
    assert list(read_arrays(tmp_path / "x.npz", LIMITS)) == ["samples", "weights"]
    assert zipfile.ZipFile(tmp_path / "x.npz").testzip() is None
    for name in ("", "a/b", "synthscope_mark"):
        with pytest.raises(ValueError, match="name of an array"):
            write_npz(tmp_path / "y.npz", {name: RGB}, PROVENANCE)
    with pytest.raises(ValueError, match="objects"):
        write_npz(tmp_path / "y.npz", {"a": np.array([{}])}, PROVENANCE)


def test_csv_opens_anywhere_and_keeps_every_digit(tmp_path: Path) -> None:
    import pandas

    values = [(0, 0.1 + 0.2, "plain"), (1, float("nan"), '=HYPERLINK("x")'), (2, -1e-300, 'quote " and, comma')]
    write_csv(tmp_path / "x.csv", ["n", "length [mm]", "text"], values, PROVENANCE)
    table = pandas.read_csv(tmp_path / "x.csv")
    assert list(table.columns) == ["n", "length [mm]", "text", RESEARCH_ONLY]
    assert table["length [mm]"][0] == 0.1 + 0.2
    assert np.isnan(table["length [mm]"][1])
    assert table["length [mm]"][2] == -1e-300
    assert list(table["text"]) == ["plain", '\'=HYPERLINK("x")', 'quote " and, comma']
    with (tmp_path / "x.csv").open(newline="") as file:
        assert {len(row) for row in csv.reader(file)} == {4}
    write_csv(tmp_path / "empty.csv", ["a"], [], PROVENANCE)
    assert RESEARCH_ONLY in (tmp_path / "empty.csv").read_text()
    assert read_provenance(tmp_path / "empty.csv") is None
    for columns, rows in ((["a", "a"], []), ([], []), (["a"], [(1, 2)])):
        with pytest.raises(ValueError, match="title"):
            write_csv(tmp_path / "y.csv", columns, rows, PROVENANCE)


def test_replacing_keeps_or_replaces(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "new"
    assert len([p for p in tmp_path.iterdir() if p.is_file()]) == 1


def test_uids_are_valid_and_depend_on_every_part() -> None:
    uids = {digest_uid("a", "b"), digest_uid("ab", ""), digest_uid("", "ab"), digest_uid("a", b"b", "")}
    assert len(uids) == 4
    assert digest_uid("a", "b") == digest_uid(b"a", b"b")
    for uid in uids:
        assert re.fullmatch(r"2\.25\.(0|[1-9]\d*)", uid)
        assert len(uid) <= 64
