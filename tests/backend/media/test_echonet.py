from __future__ import annotations

import csv
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from backend.errors import UserError
from backend.media.echo_clip import read_echo_clip
from backend.media.echonet import EchoFolder, EchoRecord, read_folder, trace, tracing_mask, write_zip
from backend.media.echonet_write import write_avi
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.media.video import probe
from models.echo.volumes import area_length
from models.phantoms.echo import clip as phantom
from tests.backend.media import echo_samples as samples
from tests.backend.media.intake_samples import dicom_file
from tests.backend.media.real_files import PROVENANCE, check_sentence

LIMITS = Limits()


@pytest.fixture(scope="module")
def records() -> list[EchoRecord]:
    """Two phantoms and a clip that is not square, so that height, width and count all differ."""
    found = []
    for seed, split in ((3, "TRAIN"), (4, "TEST")):
        drawn = phantom(seed, ef=35 + 10 * seed, frames=20, fps=32)
        traces = {frame: trace(drawn.labels[frame] == 1) for frame in (drawn.end_diastole[0], drawn.end_systole[0])}
        volumes = drawn.volumes_ml
        found.append(
            EchoRecord(
                f"phantom-{seed}",
                drawn.frames,
                32,
                drawn.ef,
                volumes.min(),
                volumes.max(),
                split,
                traces,  # type: ignore[arg-type]
            )
        )
    return [*found, EchoRecord("wide", found[0].frames[:17, 8:104], 31.7, 62.5, split="VAL")]


@pytest.fixture(scope="module")
def folder(records: list[EchoRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("echonet")
    assert write_zip(place / "x.zip", iter(records), PROVENANCE) == 3
    with zipfile.ZipFile(place / "x.zip") as archive:
        archive.extractall(place / "set")
    assert read_provenance(place / "x.zip") == PROVENANCE
    return place / "set"


def test_the_tables_are_those_of_echonet_dynamic(folder: Path, records: list[EchoRecord]) -> None:
    table = pd.read_csv(folder / "FileList.csv")
    assert ",".join(table.columns) == "FileName,EF,ESV,EDV,FrameHeight,FrameWidth,FPS,NumberOfFrames,Split"
    # The released writer put these three into one another's columns.
    assert table[["NumberOfFrames", "FrameHeight", "FrameWidth"]].to_numpy().tolist() == [
        [20, 112, 112],
        [20, 112, 112],
        [17, 96, 112],
    ]
    assert table.FPS.tolist() == [32, 32, 31.7]
    assert table.Split.tolist() == ["TRAIN", "TEST", "VAL"]
    assert table.EF.to_numpy() == pytest.approx([record.ef for record in records])
    assert table.ESV.isna().tolist() == [False, False, True]
    # Loaders of that data compare the whole header of the tracings.
    with (folder / "VolumeTracings.csv").open() as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["FileName", "X1", "Y1", "X2", "Y2", "Frame"]
    assert len(lines) == 1 + 2 * 2 * 21
    assert lines[1][0] == "phantom-3.avi"
    # The released loader takes a clip's last traced frame for end-diastole.
    for record in records[:2]:
        order = list(dict.fromkeys(int(line[5]) for line in lines[1:] if line[0] == f"{record.name}.avi"))
        areas = [tracing_mask(record.tracings[frame], 112, 112).sum() for frame in order]
        assert areas == sorted(areas)


def test_a_measured_ef_is_one_more_column(tmp_path: Path, records: list[EchoRecord]) -> None:
    told = [replace(records[0], measured_ef=41.5), records[1]]
    write_zip(tmp_path / "x.zip", told, PROVENANCE)
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        archive.extractall(tmp_path / "set")
    table = pd.read_csv(tmp_path / "set" / "FileList.csv")
    assert (table.columns[-2], table.columns[-1]) == ("Split", "MeasuredEF")
    assert table.MeasuredEF.tolist() == [41.5, pytest.approx(float("nan"), nan_ok=True)]
    assert [entry.ef for entry in read_folder(tmp_path / "set")] == pytest.approx([told[0].ef, told[1].ef])


def test_every_avi_plays_at_the_rate_of_its_table(folder: Path, records: list[EchoRecord]) -> None:
    table = pd.read_csv(folder / "FileList.csv").set_index("FileName")
    for record in records:
        path = folder / "Videos" / f"{record.name}.avi"
        capture = cv2.VideoCapture(str(path))
        # The released writer coded 30 frames a second whatever the table said.
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(table.FPS[record.name], rel=1e-4)
        size = (capture.get(cv2.CAP_PROP_FRAME_HEIGHT), capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        assert size == (table.FrameHeight[record.name], table.FrameWidth[record.name])
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == table.NumberOfFrames[record.name]
        frames = []
        while (got := capture.read())[0]:
            frames.append(got[1])
        shown = np.stack(frames)
        assert len(shown) == len(record.frames)
        assert (shown[..., 0] == shown[..., 2]).all()
        assert np.abs(shown[..., 0].astype(int) - record.frames).mean() < 1.5
        assert probe(path).codec == "mjpeg"
        assert read_provenance(path) == PROVENANCE


def test_a_set_that_was_written_reads_back(folder: Path, records: list[EchoRecord]) -> None:
    found = read_folder(folder)
    assert (len(found), found.layout, found.notes) == (3, "echonet", ())
    assert [entry.name for entry in found.split("test")] == ["phantom-4"]
    for entry, record in zip(found, records, strict=True):
        assert (entry.name, entry.fps, entry.frames) == (record.name, record.fps, len(record.frames))
        assert (entry.height, entry.width) == record.frames.shape[1:]
        assert entry.ef == pytest.approx(record.ef)
        assert entry.edv == (None if record.edv is None else pytest.approx(record.edv))
        assert set(entry.tracings) == set(record.tracings)
        for frame, lines in entry.tracings.items():
            np.testing.assert_allclose(lines, record.tracings[frame], atol=1e-4)
    clip = read_echo_clip(found.entries[0].path, LIMITS, native_fps=found.entries[0].fps)
    assert clip.crop == (0, 112, 0, 112)
    assert np.abs(clip.frames.astype(int) - records[0].frames).mean() < 1.5
    # A subfolder of an archive that was unpacked one level too deep is found too.
    assert len(read_folder(folder.parent)) == 3


def test_a_tracing_gives_back_mask_and_volume() -> None:
    drawn = phantom(5, ef=55, frames=8, fps=8)
    for labels in drawn.labels[[0, 3]]:
        mask = labels == 1
        lines = trace(mask)
        assert lines.shape == (21, 4)
        again = tracing_mask(lines, *mask.shape)
        assert 2 * (mask & again).sum() / (mask.sum() + again.sum()) > 0.95
        # The method of discs on the chords themselves.
        length = np.hypot(*(lines[0, 2:] - lines[0, :2]))
        widths = np.hypot(*(lines[1:, 2:] - lines[1:, :2]).T)
        discs = np.pi / 4 * (widths**2).sum() * length / 20 / 1000
        assert discs == pytest.approx(area_length(mask).discs_ml, rel=0.04)
        axis = (lines[0, 2:] - lines[0, :2]) / length
        assert np.abs((lines[1:, 2:] - lines[1:, :2]) @ axis).max() < 1e-6
        assert (lines[1:, 0] < lines[1:, 2]).all()
    with pytest.raises(ValueError, match="ventricle"):
        trace(np.zeros((112, 112), bool))
    with pytest.raises(ValueError, match="long axis"):
        tracing_mask(np.zeros((2, 4)), 9, 9)


def test_a_traced_ellipse_has_its_closed_form_volume() -> None:
    y, x = np.mgrid[:112, :112]
    mask = ((y - 56) / 40.0) ** 2 + ((x - 60) / 20.0) ** 2 <= 1
    lines = trace(mask)
    length, widths = np.hypot(*(lines[0, 2:] - lines[0, :2])), lines[1:, 2] - lines[1:, 0]
    assert length == pytest.approx(80, abs=2)
    assert np.pi / 4 * (widths**2).sum() * length / 20 == pytest.approx(4 / 3 * np.pi * 40 * 20 * 20, rel=0.03)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A folder of a DICOM clip, an AVI and an MP4, with no table yet."""
    place = tmp_path / "mine"
    (place / "deep").mkdir(parents=True)
    shutil.copy(dicom_file("examples_ybr_color.dcm"), place / "deep" / "1.2.840.17")
    drawn = phantom(3, ef=50, frames=12, fps=16)
    write_avi(place / "b.avi", drawn.frames, 16, PROVENANCE)
    samples.video(place / "c.mp4", drawn.frames, 16, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
    return place


@pytest.mark.parametrize(
    ("text", "efs", "note"),
    [
        ("FileName,EF\n1.2.840.17,61\nb,50\nc.mp4,40\n", [61, 50, 40], ""),
        ("Video Name;LVEF (%);Set\nb.avi;50,5;train\ndeep/1.2.840.17;61;Test\n", [50.5, 61], "LVEF (%)"),
        ("path\tejection fraction\nC:\\data\\b.avi\t0.5\nC:\\data\\c.mp4\t0.41\n", [50, 41], "fraction"),
        ("\ufeffclip,EF %\nB.AVI,50%\nc,\nz,40\n", [50], "1 of 3 rows name clips"),
        ("file,ef\nb,500\nc,40\n", [40], "1 of 2 rows hold no EF"),
    ],
)
def test_columns_of_any_table_are_found(mixed: Path, text: str, efs: list[float], note: str) -> None:
    (mixed / "my table.csv").write_text(text, encoding="utf-8")
    found = read_folder(mixed)
    assert found.layout == "table"
    assert [entry.ef for entry in found] == pytest.approx(efs)
    assert any(note in line for line in found.notes)
    for entry in found:
        assert entry.path.is_file()
    if "Set" in text:
        assert [entry.split for entry in found] == ["train", "test"]
    clip = read_echo_clip(found.entries[0].path, LIMITS)
    assert clip.frames.shape[1:] == (112, 112)


def refused(place: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        read_folder(place)
    check_sentence(caught.value, "secret", place.name)


def test_what_is_wrong_with_a_folder_is_said(mixed: Path, tmp_path: Path) -> None:
    refused(tmp_path / "gone", "not there")
    refused(mixed, "no CSV file in it")
    table = mixed / "t.csv"
    table.write_text("patient,age\nsecret,50\n")
    refused(mixed, "columns “patient”, “age”")
    table.write_text("file,ef\nnone.avi,50\n")
    refused(mixed, "None of the clips")
    table.write_text("file,ef\nb,high\n")
    refused(mixed, "No row holds an EF")
    table.write_text("file,ef,age\nb,50\n")
    refused(mixed, "Line 2 has fewer cells")
    table.write_text("file,ef\nb,50\n")
    shutil.copy(table, mixed / "u.csv")
    refused(mixed, "several tables")
    (mixed / "FileList.csv").write_text("FileName,EF\nb,50\n")
    (mixed / "VolumeTracings.csv").write_text("FileName,X1\nb,1\n")
    refused(mixed, "table of tracings")
    (mixed / "VolumeTracings.csv").write_text("FileName,X1,Y1,X2,Y2,Frame\nb,1,2,3,,0\n")
    refused(mixed, "Line 2 lacks a number")


def test_nothing_outside_the_folder_is_opened(mixed: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.avi"
    shutil.copy(mixed / "b.avi", outside)
    (mixed / "link.avi").symlink_to(outside)
    (mixed / "t.csv").write_text(f"file,ef\n../secret.avi,50\n{outside},50\nlink.avi,50\nc,40\n")
    found: EchoFolder = read_folder(mixed)
    assert [entry.name for entry in found] == ["c"]
    assert found.notes[-1].startswith("3 of 4 rows")
    (mixed / "t.csv").unlink()
    (tmp_path / "other.csv").write_text("file,ef\nc,40\n")
    (mixed / "t.csv").symlink_to(tmp_path / "other.csv")
    refused(mixed, "no CSV file in it")


def test_bad_records_leave_no_file(records: list[EchoRecord], tmp_path: Path) -> None:
    path, good = tmp_path / "x.zip", records[0]
    for bad, match in (
        ([], "without clips"),
        ([good, good], "cannot be the name"),
        ([EchoRecord("../x", good.frames, 32, 50)], "cannot be the name"),
        ([EchoRecord("x", good.frames / 255, 32, 50)], "grey clip"),
        ([EchoRecord("x", good.frames, 0, 50)], "frames a second"),
        ([EchoRecord("x", good.frames, 32, 50, tracings={20: np.zeros((21, 4))})], "no frame 20"),
    ):
        with pytest.raises(ValueError, match=match):
            write_zip(path, bad, PROVENANCE)
    with pytest.raises(UserError, match="not finished"):
        write_avi(tmp_path / "x.avi", np.zeros((4000, 300, 300), np.uint8), 30, PROVENANCE, cancelled=lambda: True)
    assert not list(tmp_path.iterdir())
