"""DICOM segmentations: several segments, omitted frames, fractions, and writing one back where it came from."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from backend.errors import UserError
from backend.media.deidentify import Identities
from backend.media.deidentify_dicom import clean_dicom
from backend.media.dicom_seg import read_segmentation
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.media.write_dicom_seg import write_segmentation
from backend.notices import RESEARCH_ONLY
from backend.provenance import Provenance
from tests.backend.media import seg_samples
from tests.backend.media.seg_samples import ORIGIN_MM, SLICE_MM, SPACING_MM, write_seg

LIMITS = Limits()
MADE = Provenance.now(system="topology", action="refine", synthetic=False, seed=0, weights={"topology/x": "a" * 64})


def two_segments(depth: int = 6) -> np.ndarray:
    masks = np.zeros((depth, 40, 48, 2), bool)
    masks[:, 5:20, 5:30, 0] = True
    masks[:, 25:30, 10:40, 1] = True
    masks[2:4, :, :, 1] = False  # highdicom leaves these frames out
    return masks


def test_segments_come_apart_and_frames_lie_by_position(tmp_path: Path) -> None:
    masks = two_segments()
    found = read_segmentation(write_seg(tmp_path / "a.dcm", masks), LIMITS)
    assert [(item.number, item.label) for item in found.classes] == [(1, "Liver"), (2, "Vessel")]
    assert found.kind == "binary"
    for index in range(2):
        assert np.array_equal(found.arrays[index], masks[..., index])
    assert found.geometry.spacing_mm == pytest.approx((SLICE_MM, *SPACING_MM), abs=1e-6)
    assert np.allclose(found.geometry.positions[0], ORIGIN_MM, atol=1e-6)
    affine = found.geometry.affine
    assert np.allclose(affine @ [0, 0, 5, 1], [*ORIGIN_MM[:2], ORIGIN_MM[2] + 5 * SLICE_MM, 1], atol=1e-6)
    assert not found.overlap
    assert set(np.unique(found.label_map())) == {0, 1, 2}


def test_slices_that_are_empty_in_every_segment_are_put_back(tmp_path: Path) -> None:
    masks = two_segments(8)
    masks[3:5] = False
    found = read_segmentation(write_seg(tmp_path / "a.dcm", masks), LIMITS)
    assert found.shape == (8, 40, 48)
    assert np.array_equal(found.arrays[0], masks[..., 0])
    assert np.allclose(np.diff(found.geometry.positions[:, 2]), SLICE_MM, atol=1e-6)
    assert found.notes == ("2 empty slices that the file leaves out were put back.",)


def test_fractions_are_probabilities_and_overlap_is_told(tmp_path: Path) -> None:
    soft = np.zeros((1, 40, 48, 2), np.float32)
    soft[0, 5:20, 5:30, 0] = 0.8
    soft[0, 10:25, 5:30, 1] = 0.6
    found = read_segmentation(write_seg(tmp_path / "a.dcm", soft, "FRACTIONAL"), LIMITS)
    assert found.shape == (40, 48)
    assert found.kind == "fractional"
    assert found.arrays[0].dtype == np.float32
    assert np.allclose(found.arrays[0], soft[0, ..., 0], atol=1 / 255)
    assert found.overlap
    assert found.label_map()[12, 10] == 1  # the stronger


def test_a_label_map_segmentation_is_read(tmp_path: Path) -> None:
    masks = two_segments(3)
    found = read_segmentation(write_seg(tmp_path / "a.dcm", masks, "LABELMAP"), LIMITS)
    assert found.kind == "labelmap"
    assert np.array_equal(found.arrays[1], masks[..., 1])


@pytest.mark.parametrize("depth", [1, 6])
def test_a_changed_segmentation_lies_where_its_source_lay(tmp_path: Path, depth: int) -> None:
    source = write_seg(tmp_path / "source.dcm", two_segments(depth))
    clean_dicom(source, tmp_path / "clean.dcm", Identities(), LIMITS)
    before = read_segmentation(tmp_path / "clean.dcm", LIMITS)
    masks = {1: before.arrays[0] > 0, 2: np.roll(before.arrays[1], 3, -1) > 0}
    for name in ("a.dcm", "b.dcm"):
        write_segmentation(tmp_path / name, tmp_path / "clean.dcm", masks, MADE, LIMITS)
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()
    after = read_segmentation(tmp_path / "a.dcm", LIMITS)
    for number, array in zip((1, 2), after.arrays, strict=True):
        assert np.array_equal(array > 0, masks[number])
    assert np.allclose(after.geometry.affine, before.geometry.affine, atol=1e-6)
    assert np.allclose(after.geometry.positions, before.geometry.positions, atol=1e-6)
    assert after.geometry.frame_of_reference == before.geometry.frame_of_reference
    assert [item.label for item in after.classes] == ["Liver", "Vessel"]
    assert read_provenance(tmp_path / "a.dcm") == MADE
    opened = highdicom.seg.segread(tmp_path / "a.dcm")
    assert opened.segmentation_type.value == "BINARY"
    assert opened.number_of_segments == 2
    assert opened.get_segment_description(1).segmented_property_type.meaning == "Liver"
    header = pydicom.dcmread(tmp_path / "a.dcm")
    assert header[0x0008001C].value == "NO"
    assert RESEARCH_ONLY in header.DerivationDescription
    assert header.FrameOfReferenceUID == pydicom.dcmread(tmp_path / "clean.dcm").FrameOfReferenceUID
    text = (tmp_path / "a.dcm").read_bytes()
    assert b"Doe" not in text
    assert b"ZEBEDEE" not in text


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source = write_seg(tmp_path / "source.dcm", two_segments(2))
    with pytest.raises(ValueError, match="do not fit"):
        write_segmentation(tmp_path / "out.dcm", source, {1: np.ones((40, 48), bool)}, MADE, LIMITS)
    empty = np.zeros((2, 40, 48), bool)
    with pytest.raises(UserError, match="Nothing is left"):
        write_segmentation(tmp_path / "out.dcm", source, {1: empty, 2: empty}, MADE, LIMITS)
    assert not (tmp_path / "out.dcm").exists()


def test_a_picture_is_no_segmentation(tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    with pytest.raises(UserError, match="is no segmentation"):
        read_segmentation(Path(get_testdata_file("CT_small.dcm")), LIMITS)


def test_slices_across_each_other_are_refused(tmp_path: Path) -> None:
    path = write_seg(tmp_path / "a.dcm", two_segments(2))
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for index, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        turned = pydicom.Dataset()
        turned.ImageOrientationPatient = [1, 0, 0, 0, 1, 0] if index else [0, 1, 0, 0, 0, 1]
        item.PlaneOrientationSequence = [turned]
    del shared.PlaneOrientationSequence
    dataset.save_as(path)
    with pytest.raises(UserError, match="not parallel"):
        read_segmentation(path, LIMITS)


def test_the_samples_are_what_they_say() -> None:
    first, second = seg_samples.series(2, 8, 8)
    assert second.ImagePositionPatient[2] - first.ImagePositionPatient[2] == pytest.approx(SLICE_MM)
