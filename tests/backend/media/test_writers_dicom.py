from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from backend.errors import UserError
from backend.media import write_dicom
from backend.media.marks import read_provenance
from backend.media.write_dicom import write_secondary_capture, write_us_multiframe
from backend.notices import RESEARCH_ONLY
from tests.backend.media.dicom_standard import missing, read_strictly
from tests.backend.media.real_files import PROVENANCE

RNG = np.random.default_rng(20260304)
RGB = RNG.integers(0, 256, (31, 17, 3), np.uint8)
CLIP = RNG.integers(0, 256, (5, 31, 17, 3), np.uint8)


def test_the_check_itself_finds_what_ismissing(tmp_path: Path) -> None:
    write_secondary_capture(tmp_path / "x.dcm", RGB, PROVENANCE)
    dataset = read_strictly(tmp_path / "x.dcm")
    del dataset.ConversionType
    dataset.PatientID = None
    dataset.Rows = None
    assert missing(dataset) == ["sc-equipment.ConversionType", "image-pixel.Rows"]


@pytest.mark.parametrize("pixels", [RGB, RGB[..., 0], RGB[..., 0].astype(np.uint16) * 257, RGB[..., 0] > 99])
@pytest.mark.parametrize("spacing", [None, (0.31234567890123, 0.25)])
def test_secondary_capture_is_complete(tmp_path: Path, pixels: np.ndarray, spacing: tuple | None) -> None:
    write_secondary_capture(tmp_path / "x.dcm", pixels, PROVENANCE, spacing_mm=spacing)
    dataset = read_strictly(tmp_path / "x.dcm")
    assert missing(dataset) == []
    expected = pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels
    np.testing.assert_array_equal(dataset.pixel_array, expected)
    assert dataset.get("PixelSpacing") is None or [float(x) for x in dataset.PixelSpacing] == pytest.approx(spacing)
    assert dataset.SOPClassUID.name == "Secondary Capture Image Storage"


@pytest.mark.parametrize("frames", [CLIP, CLIP[..., 1], CLIP[:1]])
def test_ultrasound_clip_is_complete(tmp_path: Path, frames: np.ndarray) -> None:
    write_us_multiframe(tmp_path / "x.dcm", frames, 100 / 3, PROVENANCE, spacing_mm=(0.5, 0.25))
    dataset = read_strictly(tmp_path / "x.dcm")
    assert missing(dataset) == []
    np.testing.assert_array_equal(dataset.pixel_array.reshape(frames.shape), frames)
    assert dataset.NumberOfFrames == len(frames)
    assert float(dataset.FrameTime) == pytest.approx(100 / 3, abs=1e-9)
    assert dataset.CineRate == 30
    assert dataset[dataset.FrameIncrementPointer].keyword == "FrameTime"
    region = dataset.SequenceOfUltrasoundRegions[0]
    assert (region.PhysicalDeltaX, region.PhysicalDeltaY) == (0.025, 0.05)
    assert (region.RegionLocationMaxX1, region.RegionLocationMaxY1) == (16, 30)
    assert dataset.SOPClassUID.name == "Ultrasound Multi-frame Image Storage"


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_data_is_said_where_the_standard_says_it(tmp_path: Path, synthetic: bool) -> None:
    write_us_multiframe(tmp_path / "x.dcm", CLIP, 40, replace(PROVENANCE, synthetic=synthetic))
    dataset = read_strictly(tmp_path / "x.dcm")
    assert dataset[0x0008001C].value == ("YES" if synthetic else "NO")
    assert dataset.DerivationDescription.startswith(RESEARCH_ONLY)
    assert "Seed 7." in dataset.DerivationDescription
    assert len(dataset.DerivationDescription) <= 1024
    assert dataset.ImageType[0] == "DERIVED"
    assert dataset.ContributingEquipmentSequence[0].Manufacturer == "SynthScope"
    assert dataset.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "109103"
    assert dataset.PatientIdentityRemoved == "YES"
    assert (dataset.ContentDate, dataset.ContentTime) == ("20260304", "050607.089000")
    assert not [e for e in dataset if e.tag.is_private]


def test_long_provenance_goes_into_a_private_ut(tmp_path: Path) -> None:
    long = replace(PROVENANCE, request={"text": "ä" * 30_000})
    write_secondary_capture(tmp_path / "x.dcm", RGB, long)
    dataset = read_strictly(tmp_path / "x.dcm")
    element = dataset.private_block(0x0099, "SYNTHSCOPE")[0x01]
    assert element.VR == "UT"
    assert dataset.ImageComments.startswith(RESEARCH_ONLY)
    assert read_provenance(tmp_path / "x.dcm") == long


def test_uids_follow_the_content(tmp_path: Path) -> None:
    uids = set()
    for pixels, provenance in ((RGB, PROVENANCE), (255 - RGB, PROVENANCE), (RGB, replace(PROVENANCE, seed=8))):
        write_secondary_capture(tmp_path / "x.dcm", pixels, provenance)
        dataset = read_strictly(tmp_path / "x.dcm")
        three = {dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID}
        assert all(pydicom.uid.UID(uid).is_valid for uid in three)
        uids |= three
    assert len(uids) == 9


def test_provenance_without_a_time_has_a_fixed_one(tmp_path: Path) -> None:
    write_secondary_capture(tmp_path / "x.dcm", RGB, replace(PROVENANCE, made_at=""))
    assert read_strictly(tmp_path / "x.dcm").ContentDate == "19700101"


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.dcm"
    for array in (np.zeros((3, 3)), np.zeros((3, 3, 4), np.uint8), np.zeros((0, 3), np.uint8), np.zeros((3, 3), int)):
        with pytest.raises(ValueError, match=r"picture is|cannot be written"):
            write_secondary_capture(path, array, PROVENANCE)
    for frames, time in ((CLIP.astype(float), 40), (CLIP[0, 0], 40), (CLIP, 0), (CLIP, float("nan"))):
        with pytest.raises(ValueError, match=r"clip is|between frames"):
            write_us_multiframe(path, frames, time, PROVENANCE)
    monkeypatch.setattr(write_dicom, "MAX_PIXEL_BYTES", 1000)
    with pytest.raises(UserError, match=r"4 GiB.*MP4"):
        write_us_multiframe(path, CLIP, 40, PROVENANCE)
    assert not path.exists()
