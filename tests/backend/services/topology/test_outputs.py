"""Results come back in the format, values and geometry of the file they were made from."""

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
from backend.media.dicom_seg import read_segmentation
from backend.media.images import read_image
from backend.media.intake import accept_upload
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.services.topology.input import EVERY_LABEL
from backend.services.topology.outputs import output_format, restore_values, write_like
from backend.services.topology.read import read_map
from tests.backend.media.seg_samples import write_seg

LIMITS = Limits()
MADE = Provenance.now(system="topology", action="refine", synthetic=False, seed=0)
Accept = Callable[[Path], Path]


@pytest.fixture
def accept(runtime: Runtime) -> Accept:
    """Takes a file in as an upload does and gives the path of the stored one."""

    def take(path: Path) -> Path:
        return runtime.artifacts.path(accept_upload(runtime, path, filename=path.name, actor=LOCAL).id)

    return take


def blocks(*values: int, dtype: type = np.uint8) -> np.ndarray:
    labels = np.zeros((60, 44), dtype)
    for index, value in enumerate(values):
        labels[5 + 12 * index : 14 + 12 * index, 6:30] = value
    return labels


def back(tmp_path: Path, source: Path, labels: np.ndarray, channel: str = "") -> Path:
    form = output_format(source, labels.ndim)
    target = tmp_path / f"result{form.suffix}"
    write_like(target, labels, source, MADE, LIMITS, channel=channel)
    assert read_provenance(target) == MADE
    return target


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [(blocks(1, 2, 3), np.uint8), (blocks(300, 7, dtype=np.uint16), np.uint16), (blocks(255), np.uint8)],
)
def test_png_keeps_values_and_depth(tmp_path: Path, accept: Accept, labels: np.ndarray, dtype: type) -> None:
    Image.fromarray(labels).save(tmp_path / "in.png")
    made = back(tmp_path, accept(tmp_path / "in.png"), labels)
    with Image.open(made) as picture:
        assert picture.format == "PNG"
        opened = np.asarray(picture)
    assert opened.dtype == dtype
    assert np.array_equal(opened, labels)


def test_a_drawing_in_colours_comes_back_in_its_colours(tmp_path: Path, accept: Accept) -> None:
    palette = np.array([[0, 0, 0], [200, 0, 0], [0, 200, 0]], np.uint8)
    drawing = palette[blocks(2, 1)]
    Image.fromarray(drawing).save(tmp_path / "in.png")
    source = accept(tmp_path / "in.png")
    given = read_map(source, LIMITS).array
    # By brightness red is 1 and green 2.
    labels = restore_values(blocks(2) > 0, given, kind="labels", label=2)
    opened = read_image(back(tmp_path, source, labels), LIMITS)
    assert np.array_equal(opened, palette[np.where(blocks(2) > 0, 2, 0)])


def test_tiff_keeps_its_resolution(tmp_path: Path, accept: Accept) -> None:
    labels = blocks(1, 2, 900, dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "in.tif", labels, resolution=(1e4 / 0.25, 1e4 / 0.5), resolutionunit="CENTIMETER", metadata=None
    )
    made = back(tmp_path, accept(tmp_path / "in.tif"), labels)
    with tifffile.TiffFile(made) as tiff:
        tags = tiff.pages.first.tags
        assert np.array_equal(tiff.asarray(), labels)
        for tag, expected in ((282, 1e4 / 0.25), (283, 1e4 / 0.5)):
            numerator, denominator = tags.valueof(tag)
            assert numerator / denominator == pytest.approx(expected, rel=1e-6)
        assert int(tags.valueof(296)) == 3


def test_a_tiff_stack_stays_a_stack_with_its_spacing(tmp_path: Path, accept: Accept) -> None:
    volume = np.stack([blocks(1, 2)] * 7)
    volume[3] = 0
    tifffile.imwrite(
        tmp_path / "in.tif",
        volume,
        imagej=True,
        resolution=(4.0, 4.0),
        metadata={"axes": "ZYX", "spacing": 1.5, "unit": "um"},
    )
    source = accept(tmp_path / "in.tif")
    made = back(tmp_path, source, volume)
    with tifffile.TiffFile(made) as tiff:
        assert len(tiff.pages) == 7
        assert np.array_equal(tiff.asarray(), volume)
        assert tiff.imagej_metadata["spacing"] == 1.5
        assert tiff.imagej_metadata["unit"] == "um"
    from backend.media.tiff_stack import read_scale, read_stack

    assert read_scale(made).spacing_mm == pytest.approx((1.5e-3, 0.25e-3, 0.25e-3), rel=1e-6)
    assert np.array_equal(read_stack(source, LIMITS), volume)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_nifti_keeps_affines_codes_and_units(tmp_path: Path, accept: Accept, suffix: str, kind: type) -> None:
    angle = np.deg2rad(25)
    affine = np.array(
        [[np.cos(angle), -np.sin(angle), 0, -30], [np.sin(angle), np.cos(angle), 0, 12], [0, 0, 1, 5], [0, 0, 0, 1]]
    ) @ np.diag([0.8, 1.1, 3, 1])
    voxels = np.stack([blocks(4, 5).T] * 9, axis=-1).astype(np.float32)
    image = kind(voxels, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=4)
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / f"in{suffix}")
    labels = np.stack([blocks(4, 0, 5)] * 9)
    made = back(tmp_path, accept(tmp_path / f"in{suffix}"), labels)
    assert made.name.endswith(suffix)
    opened = nibabel.load(made)
    assert opened.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(opened.dataobj), labels.T)
    assert np.allclose(opened.affine, affine, atol=1e-6)
    assert np.allclose(opened.get_qform(), affine, atol=1e-5)
    assert (int(opened.header["qform_code"]), int(opened.header["sform_code"])) == (1, 4)
    assert opened.header.get_xyzt_units() == ("mm", "sec")
    assert np.allclose(opened.header.get_zooms(), (0.8, 1.1, 3), atol=1e-6)
    assert opened.header.get_intent()[0] == "label"


def test_one_slice_of_nifti_comes_back_as_one_slice(tmp_path: Path, accept: Accept) -> None:
    labels = blocks(1, 2)
    nibabel.save(nibabel.Nifti1Image(labels.T[:, :, None].astype(np.int16), np.eye(4)), tmp_path / "in.nii.gz")
    source = accept(tmp_path / "in.nii.gz")
    opened = nibabel.load(back(tmp_path, source, read_map(source, LIMITS).array))
    assert opened.shape == (44, 60, 1)
    assert np.array_equal(np.asarray(opened.dataobj)[..., 0].T, labels)


def test_npz_keeps_the_name_and_type_and_npy_is_an_npy(tmp_path: Path, accept: Accept) -> None:
    np.savez_compressed(tmp_path / "in.npz", vessels=blocks(1) > 0, image=np.random.default_rng(0).random((60, 44)))
    source = accept(tmp_path / "in.npz")
    opened = read_map(source, LIMITS, channel="vessels")
    labels = restore_values(blocks(1, 1) > 0, opened.array, kind="binary")
    with np.load(back(tmp_path, source, labels, channel=opened.channel)) as archive:
        assert archive["vessels"].dtype == bool
        assert np.array_equal(archive["vessels"], blocks(1, 1) > 0)
        assert "image" not in archive
    np.save(tmp_path / "in.npy", blocks(7, 9, dtype=np.int64))
    source = accept(tmp_path / "in.npy")
    labels = restore_values(blocks(7) > 0, read_map(source, LIMITS).array, kind="labels", label=7)
    loaded = np.load(back(tmp_path, source, labels))
    assert loaded.dtype == np.int64
    assert np.array_equal(loaded, blocks(7))


def test_a_dicom_segmentation_comes_back_as_one(tmp_path: Path, accept: Accept) -> None:
    masks = np.zeros((5, 40, 48, 2), bool)
    masks[:, 5:20, 5:30, 0] = masks[:, 25:30, 10:40, 1] = True
    source = accept(write_seg(tmp_path / "in.dcm", masks))
    labels = read_segmentation(source, LIMITS).label_map()
    labels[:, 7, 7] = 0
    after = read_segmentation(back(tmp_path, source, labels), LIMITS)
    assert np.array_equal(after.label_map(), labels)
    assert np.allclose(after.geometry.affine, read_segmentation(source, LIMITS).geometry.affine, atol=1e-6)


def test_a_dicom_picture_becomes_a_secondary_capture_with_its_spacing(tmp_path: Path, accept: Accept) -> None:
    from backend.media.dicom import read_dicom
    from backend.media.write_dicom import write_secondary_capture

    write_secondary_capture(tmp_path / "in.dcm", blocks(1), MADE, spacing_mm=(0.3, 0.4))
    found = read_dicom(back(tmp_path, accept(tmp_path / "in.dcm"), blocks(1, 2)), LIMITS)
    assert np.array_equal(found.pixels[0], blocks(1, 2))
    assert found.spacing_mm == pytest.approx((0.3, 0.4))


def test_jpeg_becomes_png_and_says_so(tmp_path: Path) -> None:
    Image.fromarray(blocks(255)).save(tmp_path / "in.jpg", quality=95)
    form = output_format(tmp_path / "in.jpg")
    assert form.suffix == ".png"
    assert "without loss" in form.notes[0]
    back(tmp_path, tmp_path / "in.jpg", blocks(255))


def test_values_come_back_as_they_were() -> None:
    mask = blocks(1, 1) > 0
    given = np.where(blocks(1) > 0, 7, 3).astype(np.uint16)
    restored = restore_values(mask, given, kind="binary")
    assert restored.dtype == np.uint16
    assert set(restored[mask]) == {7}
    assert set(restored[~mask]) == {3}
    assert set(restore_values(mask, given, kind="binary", invert=True)[mask]) == {3}
    assert set(np.unique(restore_values(mask, given / 9, kind="probability"))) == {0, 1}
    assert set(np.unique(restore_values(mask, given, kind="probability"))) == {0, 255}


def test_all_labels_together_keep_theirs_and_new_pixels_take_the_nearest() -> None:
    given = blocks(3, 8)
    mask = np.zeros(given.shape, bool)
    mask[5:29, 6:30] = True
    mask[0, 0] = True
    restored = restore_values(mask, given, kind="labels", label=EVERY_LABEL)
    assert np.array_equal(restored[given > 0], given[given > 0])
    assert restored[14, 10] == 3
    assert restored[16, 10] == 8
    assert restored[0, 0] == 3
    assert restored[40, 40] == 0


def test_labels_too_large_for_a_png_are_a_sentence(tmp_path: Path) -> None:
    Image.fromarray(blocks(255)).save(tmp_path / "in.png")
    with pytest.raises(UserError, match="do not fit into a PNG"):
        write_like(tmp_path / "out.png", blocks(1).astype(np.uint32) * 70_000, tmp_path / "in.png", MADE, LIMITS)
    assert not (tmp_path / "out.png").exists()


def test_one_segment_of_several_leaves_the_others_alone(tmp_path: Path, accept: Accept) -> None:
    masks = np.zeros((3, 40, 48, 2), bool)
    masks[:, 5:20, 5:30, 0] = masks[:, 25:30, 10:40, 1] = True
    source = accept(write_seg(tmp_path / "in.dcm", masks))
    after = read_segmentation(
        back(tmp_path, source, np.roll(masks[..., 1], 2, 2).astype(np.uint8), channel="segment 2 (Vessel)"), LIMITS
    )
    assert np.array_equal(after.arrays[0], masks[..., 0])
    assert np.array_equal(after.arrays[1], np.roll(masks[..., 1], 2, 2))


def test_a_volume_of_few_slices_is_no_picture() -> None:
    given = np.zeros((40, 30, 3), np.uint8)
    given[5:20, 5:20] = 4
    restored = restore_values(given > 0, given, kind="binary")
    assert np.array_equal(restored, given)
