"""Volumes of every format, through the intake, are the same volume in the same place; what is none says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.media.intake import accept_upload
from backend.media.limits import Limits
from backend.runtime import Runtime
from backend.services.topology import volume_read
from backend.services.topology.input import interpret
from backend.services.topology.volume_read import OpenedVolume, as_stacked, plain_affine, read_volume
from tests.backend.media.seg_samples import SLICE_MM, SPACING_MM, write_seg

LIMITS = Limits()
OBLIQUE = np.array([[-0.6, 0.1, 0, 40], [0.1, 0.8, 0.2, -30], [0, -0.2, 2.0, 12], [0, 0, 0, 1]])


def corner() -> np.ndarray:
    """A mask that no flip or turn leaves as it is, with something in every slice, bool [X, Y, Z] = [40, 32, 24]."""
    mask = np.zeros((40, 32, 24), bool)
    mask[4:36, 4:8, 4:8] = mask[4:8, 4:24, 4:8] = mask[4:8, 4:8, :] = True
    return mask


def save_nifti(path: Path, array: np.ndarray, affine: np.ndarray = OBLIQUE) -> None:
    nibabel.Nifti1Image(array, affine).to_filename(path)


def save_segmentation(path: Path) -> None:
    write_seg(path, as_stacked(corner())[..., None])


def volume(path: Path, channel: str = "") -> OpenedVolume:
    opened = read_volume(path, LIMITS, channel=channel)
    assert opened is not None
    return opened


WRITERS: dict[str, Callable[[Path], object]] = {
    "mask.nii.gz": lambda path: save_nifti(path, corner().astype(np.uint8)),
    "soft.nii": lambda path: save_nifti(path, corner() * np.float32(0.8) + np.float32(0.1)),
    "mask.npy": lambda path: np.save(path, as_stacked(corner())),
    "mask.npz": lambda path: np.savez_compressed(path, mask=as_stacked(corner()), spacing_mm=(2.5, 0.5, 0.25)),
    "stack.tif": lambda path: tifffile.imwrite(path, as_stacked(corner()).astype(np.uint8) * 255),
    "seg.dcm": save_segmentation,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_volume_after_the_upload(name: str, tmp_path: Path, runtime: Runtime):
    path = tmp_path / name
    WRITERS[name](path)
    view = accept_upload(runtime, path, filename=name, actor=LOCAL)
    opened = volume(runtime.artifacts.path(view.id))
    assert np.array_equal(interpret(opened.array, volume=True).probability >= 0.5, corner())
    if name.endswith((".nii", ".nii.gz")):
        assert np.allclose(opened.affine, OBLIQUE, atol=1e-5)
        assert opened.known


def test_the_size_of_a_voxel_is_known_where_the_file_tells_it(tmp_path: Path):
    np.savez(tmp_path / "sized.npz", mask=as_stacked(corner()), spacing_mm=(2.5, 0.5, 0.25))
    np.savez(tmp_path / "bare.npz", mask=as_stacked(corner()))
    save_segmentation(tmp_path / "seg.dcm")
    assert volume(tmp_path / "sized.npz").spacing_mm == (0.25, 0.5, 2.5)
    bare = volume(tmp_path / "bare.npz")
    assert bare.spacing_mm is None
    assert np.array_equal(bare.affine, plain_affine(None))
    assert volume(tmp_path / "seg.dcm").spacing_mm == pytest.approx((SPACING_MM[1], SPACING_MM[0], SLICE_MM))


def test_a_dicom_segmentation_lies_where_highdicom_says(tmp_path: Path):
    import highdicom

    save_segmentation(tmp_path / "seg.dcm")
    opened = volume(tmp_path / "seg.dcm")
    theirs = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume(segment_numbers=[1])
    spot = np.argwhere(np.asarray(theirs.array)[..., 0] > 0)[0]
    lps = (theirs.affine @ [*spot, 1])[:3]
    ours = np.argwhere(opened.array > 0)
    ras = (opened.affine @ np.c_[ours, np.ones(len(ours))].T)[:3].T
    assert np.abs(ras * [-1, -1, 1] - lps).sum(axis=1).min() < 1e-3


def test_of_two_segments_one_is_taken_and_either_can_be_chosen(tmp_path: Path):
    both = np.stack([as_stacked(corner()), as_stacked(corner())[::-1]], axis=-1)
    write_seg(tmp_path / "two.dcm", both)
    opened = volume(tmp_path / "two.dcm")
    assert len(opened.channels) == 2
    assert opened.channel.startswith("segment 1")
    second = volume(tmp_path / "two.dcm", opened.channels[1])
    assert np.array_equal(second.array > 0, corner()[..., ::-1])
    with pytest.raises(UserError, match="no map called"):
        read_volume(tmp_path / "two.dcm", LIMITS, channel="segment 9")


def test_four_dimensions_are_volumes_to_choose_from_and_of_a_softmax_the_second_comes_first(tmp_path: Path):
    soft = np.where(corner(), 0.9, 0.2).astype(np.float32)
    save_nifti(tmp_path / "softmax.nii.gz", np.stack([1 - soft, soft], axis=-1))
    save_nifti(tmp_path / "times.nii.gz", np.stack([corner(), ~corner()], axis=-1).astype(np.uint8))
    np.save(tmp_path / "softmax.npy", np.stack([as_stacked(1 - soft), as_stacked(soft)]))
    softmax = volume(tmp_path / "softmax.nii.gz")
    assert softmax.channel == "volume 2"
    assert np.array_equal(softmax.array, soft)
    assert softmax.notes == ("The file holds 2 volumes; volume 2 was used.",)
    assert volume(tmp_path / "times.nii.gz").channel == "volume 1"
    stack = volume(tmp_path / "softmax.npy")
    assert stack.channels == ("array/0", "array/1")
    assert np.array_equal(stack.array, soft)
    save_nifti(tmp_path / "series.nii.gz", np.zeros((20, 20, 1, 5), np.uint8))
    with pytest.raises(UserError, match="a series, not a single segmentation"):
        read_volume(tmp_path / "series.nii.gz", LIMITS)


def test_a_picture_is_no_volume(tmp_path: Path):
    picture = as_stacked(corner())[5]
    Image.fromarray(picture).save(tmp_path / "mask.png")
    tifffile.imwrite(tmp_path / "mask.tif", picture.astype(np.uint8))
    np.save(tmp_path / "mask.npy", picture)
    np.save(tmp_path / "colour.npy", np.zeros((40, 50, 3), np.uint8))
    soft = np.where(picture, 0.9, 0.1).astype(np.float32)
    np.save(tmp_path / "softmax.npy", np.stack([soft, (1 - soft) / 5] + [(1 - soft) / 5] * 4))
    save_nifti(tmp_path / "slice.nii.gz", picture[..., None].astype(np.uint8))
    for path in sorted(tmp_path.iterdir()):
        assert read_volume(path, LIMITS) is None, path.name


def test_an_array_that_may_be_both_offers_its_planes_too(tmp_path: Path):
    np.save(tmp_path / "thin.npy", as_stacked(corner())[4:10])
    opened = volume(tmp_path / "thin.npy")
    assert opened.array.shape == (40, 32, 6)
    assert opened.channels == ("array", *(f"array/{index}" for index in range(6)))
    assert read_volume(tmp_path / "thin.npy", LIMITS, channel="array/2") is None


def test_what_cannot_be_a_volume_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    holed = np.where(corner(), 0.9, 0.1).astype(np.float32)
    holed[3, 4, 5:9] = np.nan
    save_nifti(tmp_path / "nan.nii.gz", holed)
    with pytest.raises(UserError, match="4 values that are not numbers"):
        read_volume(tmp_path / "nan.nii.gz", LIMITS)
    save_nifti(tmp_path / "mask.nii.gz", corner().astype(np.uint8))
    monkeypatch.setattr(volume_read, "LARGEST", 1000)
    with pytest.raises(UserError, match="too large to repair in one piece: 40 × 32 × 24 voxels"):
        read_volume(tmp_path / "mask.nii.gz", LIMITS)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((20, 20, 20), np.uint8), "The mask is empty."),
        (np.ones((20, 20, 20), np.uint8), "The whole volume is foreground."),
        (
            np.full((20, 20, 20), np.nan, np.float32),
            "The map holds 8,000 values that are not numbers (NaN or infinite).",
        ),
        (np.eye(20, dtype=np.uint8)[..., None].repeat(2, 2), "The volume is too small: 20 × 20 × 2 voxels."),
        (np.eye(10, dtype=np.uint8)[..., None].repeat(9, 2), "The volume is too small: 10 × 10 × 9 voxels."),
        (np.zeros((20, 20, 20, 3), np.uint8), "This is not a single volume."),
        (np.arange(8000, dtype=np.float32).reshape(20, 20, 20) / 100, "The values run from 0 to 79.99."),
        (
            np.random.default_rng(0).integers(64, 190, (20, 20, 20)).astype(np.uint8),
            "This looks like a grey scan, not a segmentation.",
        ),
    ],
)
def test_an_array_that_is_no_segmentation_says_so_in_one_sentence(array: np.ndarray, sentence: str):
    with pytest.raises(UserError) as caught:
        interpret(array, volume=True)
    assert caught.value.what == sentence
    assert "pixel" not in caught.value.what + caught.value.why


def test_a_sixteen_bit_label_map_offers_its_labels():
    labels = np.zeros((20, 24, 28), np.uint16)
    labels[2:8, 2:8, 2:20], labels[10:16, 4:8, 4:8] = 1000, 2000
    with pytest.raises(UserError, match="a label map with 2 labels: 1000"):
        interpret(labels, volume=True)
    assert np.array_equal(interpret(labels, label=2000, volume=True).probability, labels == 2000)
    assert np.array_equal(interpret(labels, label=-1, volume=True).probability, labels > 0)


def test_a_large_map_is_read_as_a_small_one(monkeypatch: pytest.MonkeyPatch):
    from backend.services.topology import input as reading

    soft = np.random.default_rng(0).random((24, 24, 24)).astype(np.float32)
    small = [interpret(array, volume=True) for array in (soft, (soft > 0.5).astype(np.float32))]
    monkeypatch.setattr(reading, "MANY", 100)
    large = [interpret(array, volume=True) for array in (soft, (soft > 0.5).astype(np.float32))]
    assert [item.kind for item in large] == [item.kind for item in small] == ["probability", "binary"]
