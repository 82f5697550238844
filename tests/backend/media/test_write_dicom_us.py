from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from backend.media.dicom import read_dicom
from backend.media.echo_clip import read_echo_clip
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.media.video import frame_times, probe, read_clip
from backend.media.write_dicom_us import Compression, write_us_clip
from backend.media.write_mp4 import write_mp4
from backend.notices import RESEARCH_ONLY, SYNTHETIC
from models.phantoms.echo import clip as phantom
from tests.backend.media.dicom_standard import lacking, missing, read_strictly
from tests.backend.media.real_files import PROVENANCE

LIMITS = Limits()
DRAWN = phantom(3, ef=35, frames=9, fps=32)


def colour(frames: np.ndarray) -> np.ndarray:
    return np.stack([frames, frames // 2, 255 - frames], -1)


@pytest.mark.parametrize("compression", ["none", "jpeg"])
@pytest.mark.parametrize("grey", [True, False])
def test_the_clip_is_a_complete_ultrasound_object(tmp_path: Path, compression: Compression, grey: bool) -> None:
    frames, path = DRAWN.frames if grey else colour(DRAWN.frames), tmp_path / "x.dcm"
    told = {"mm_per_px": 1.2345678901, "heart_rate": 71.6, "subject": "seed-3"}
    write_us_clip(path, frames, 31.7, PROVENANCE, compression=compression, **told)  # type: ignore[arg-type]
    dataset = read_strictly(path)
    assert missing(dataset) == []
    assert dataset.SOPClassUID.name == "Ultrasound Multi-frame Image Storage"
    assert dataset.file_meta.TransferSyntaxUID.name == (
        "Explicit VR Little Endian" if compression == "none" else "JPEG Baseline (Process 1)"
    )
    assert (dataset.NumberOfFrames, dataset.Rows, dataset.Columns) == (9, 112, 112)
    assert float(dataset.FrameTime) == pytest.approx(1000 / 31.7, abs=1e-9)
    assert dataset[dataset.FrameIncrementPointer].keyword == "FrameTime"
    assert (dataset.CineRate, dataset.HeartRate, dataset.StopTrim) == (32, 72, 9)
    assert float(dataset.EffectiveDuration) == pytest.approx(9 / 31.7, abs=1e-5)
    assert list(dataset.ImageType) == ["DERIVED", "SECONDARY", "", "0001"]
    expected = "MONOCHROME2" if grey else "RGB" if compression == "none" else "YBR_FULL_422"
    assert dataset.PhotometricInterpretation == expected
    shown = read_dicom(path, LIMITS).pixels
    if compression == "none":
        np.testing.assert_array_equal(shown, frames)
        assert dataset.LossyImageCompression == "00"
    else:
        error = np.abs(shown.astype(int) - frames).mean()
        assert error < (2 if grey else 5)
        assert (dataset.LossyImageCompression, dataset.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
        assert float(dataset.LossyImageCompressionRatio) > 1.5
        ours, theirs = shown, pydicom.pixels.pixel_array(path, decoding_plugin="pillow")
        assert np.abs(ours.astype(int) - theirs).max() <= 3


def test_the_region_is_calibrated_only_where_a_scale_is_known(tmp_path: Path) -> None:
    write_us_clip(tmp_path / "x.dcm", DRAWN.frames, 32, PROVENANCE, mm_per_px=1.25)
    dataset = read_strictly(tmp_path / "x.dcm")
    (region,) = dataset.SequenceOfUltrasoundRegions
    assert lacking(region, "us-region-calibration", ("SequenceOfUltrasoundRegions",)) == []
    assert (region.PhysicalDeltaX, region.PhysicalDeltaY) == (0.125, 0.125)
    assert (region.PhysicalUnitsXDirection, region.RegionDataType, region.RegionSpatialFormat) == (3, 1, 1)
    assert (region.RegionLocationMaxX1, region.RegionLocationMaxY1) == (111, 111)
    assert [float(value) for value in dataset.PixelSpacing] == [1.25, 1.25]
    write_us_clip(tmp_path / "y.dcm", DRAWN.frames, 32, PROVENANCE)
    dataset = read_strictly(tmp_path / "y.dcm")
    for keyword in ("SequenceOfUltrasoundRegions", "PixelSpacing", "HeartRate"):
        assert keyword not in dataset
    assert missing(dataset) == []


def test_it_says_that_nobody_was_scanned_and_who_made_it(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    write_us_clip(path, DRAWN.frames, 32, PROVENANCE, subject="12")
    dataset = read_strictly(path)
    assert dataset[0x0008001C].value == "YES"
    assert dataset.DerivationDescription.startswith(f"{RESEARCH_ONLY} {SYNTHETIC}")
    assert "Seed 7." in dataset.DerivationDescription
    assert (str(dataset.PatientName), dataset.PatientID) == ("Synthetic^12", "SYNTHETIC-12")
    assert (dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientIdentityRemoved) == ("", "", "YES")
    assert read_provenance(path) == PROVENANCE
    view, region = dataset.ViewCodeSequence[0], dataset.AnatomicRegionSequence[0]
    assert region.CodeValue == codes.SCT.Heart.value
    assert (view.CodeValue, view.CodingSchemeDesignator) == (codes.SCT.ApicalFourChamber.value, "SCT")
    write_us_clip(path, DRAWN.frames, 32, replace(PROVENANCE, synthetic=False), subject="12")
    dataset = read_strictly(path)
    assert dataset[0x0008001C].value == "NO"
    assert dataset.PatientID == "ANONYMOUS-12"


def test_uids_are_valid_and_never_stand_for_two_files(tmp_path: Path) -> None:
    path, seen = tmp_path / "x.dcm", set()
    variants: list[dict] = [{}, {"heart_rate": 70}, {"subject": "1"}, {"compression": "jpeg"}, {"mm_per_px": 1.0}]
    for fps in (32, 30):
        for variant in variants:
            write_us_clip(path, DRAWN.frames, fps, PROVENANCE, **variant)
            dataset = read_strictly(path)
            uids = {dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID}
            assert all(pydicom.uid.UID(uid).is_valid for uid in uids)
            assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
            seen |= uids
    assert len(seen) == 3 * 2 * len(variants)
    first = path.read_bytes()
    write_us_clip(path, DRAWN.frames, 30, PROVENANCE, mm_per_px=1.0)
    assert path.read_bytes() == first


def test_what_is_written_is_read_as_an_echo_clip(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    write_us_clip(path, DRAWN.frames, 31.7, PROVENANCE, mm_per_px=1.5, heart_rate=70)
    clip = read_echo_clip(path, LIMITS)
    assert clip.fps == pytest.approx(31.7, abs=1e-3)
    assert (clip.crop, clip.mm_per_px, clip.heart_rate) == ((0, 112, 0, 112), pytest.approx(1.5), 70)
    assert np.abs(clip.frames.astype(int) - DRAWN.frames).mean() < 0.05


def test_bad_input(tmp_path: Path) -> None:
    path, frames = tmp_path / "x.dcm", DRAWN.frames
    for values, match in (
        ({"fps": 0}, "frames a second"),
        ({"mm_per_px": float("nan")}, "mm a pixel"),
        ({"heart_rate": -1}, "beats a minute"),
        ({"subject": "Anna Muster"}, "cannot name"),
        ({"frames": frames.astype(float)}, "clip is"),
    ):
        wanted: dict = {"frames": frames, "fps": 32, **values}
        with pytest.raises(ValueError, match=match):
            write_us_clip(path, wanted.pop("frames"), wanted.pop("fps"), PROVENANCE, **wanted)
    assert not path.exists()


@pytest.mark.parametrize("fps", [31.7, 30000 / 1001, 12.5, 50.3, 16, 7])
def test_mp4_of_a_grey_clip_keeps_an_odd_rate(tmp_path: Path, fps: float) -> None:
    frames = DRAWN.frames[:, :111, :]
    write_mp4(tmp_path / "x.mp4", frames, fps, PROVENANCE)
    assert probe(tmp_path / "x.mp4").fps == pytest.approx(fps, abs=0.006)
    times = frame_times(tmp_path / "x.mp4")
    assert np.diff(times) == pytest.approx(1 / fps, rel=1e-3)
    clip = read_clip(tmp_path / "x.mp4", LIMITS).frames
    assert clip.shape == (9, 112, 112, 3)
    assert np.ptp(clip.astype(int), axis=-1).max() <= 2  # grey stays grey
    assert np.abs(clip[:, :111, :, 0].astype(int) - frames).mean() < 3
    assert read_echo_clip(tmp_path / "x.mp4", LIMITS).fps == pytest.approx(fps, rel=1e-3)
