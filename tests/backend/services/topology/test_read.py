"""Real files of every accepted format, through the intake where one comes by upload, give the same mask."""

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
from backend.services.topology.input import interpret
from backend.services.topology.read import read_map

LIMITS = Limits()


def letter_b() -> np.ndarray:
    """A mask that no flip or transposition leaves as it is: two loops on the right of a bar, bool [48, 64]."""
    mask = np.zeros((48, 64), bool)
    mask[8:40, 10:14] = True
    mask[8:12, 10:40] = mask[22:26, 10:40] = mask[36:40, 10:50] = True
    mask[8:26, 36:40] = mask[22:40, 46:50] = True
    mask[22:26, 36:50] = True
    return mask


def soft() -> np.ndarray:
    """A probability whose half-level set is :func:`letter_b`, float32 [48, 64] in 0..1."""
    noise = np.random.default_rng(0).random((48, 64)) * 0.4
    return np.where(letter_b(), 1 - noise, noise).astype(np.float32)


def save_nifti(path: Path, array: np.ndarray, zooms: tuple[float, float, float] = (1, 1, 1)) -> None:
    nibabel.Nifti1Image(array, np.diag([*zooms, 1])).to_filename(path)


def save_segmentation(path: Path, pixels: np.ndarray, fractional: bool = False, frames: int = 1) -> None:
    """A DICOM SEG object derived from CT slices, written by highdicom."""
    import highdicom
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    sources = []
    for index in range(frames):
        source = Dataset()
        source.file_meta = Dataset()
        source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        source.SOPClassUID, source.SOPInstanceUID = CTImageStorage, generate_uid()
        source.SeriesInstanceUID, source.StudyInstanceUID, source.FrameOfReferenceUID = series, study, frame
        source.Modality, source.PatientID, source.PatientName = "CT", "P1", "Doe^Jane"
        source.PatientBirthDate, source.PatientSex, source.AccessionNumber = "", "", ""
        source.StudyID, source.StudyDate, source.StudyTime, source.ReferringPhysicianName = "", "", "", ""
        source.Rows, source.Columns, source.InstanceNumber, source.SeriesNumber = *pixels.shape, index + 1, 1
        source.PixelSpacing, source.SliceThickness = [1.0, 1.0], 1.0
        source.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        source.ImagePositionPatient = [0, 0, float(index)]
        source.BitsAllocated = source.BitsStored = 16
        source.SamplesPerPixel, source.PhotometricInterpretation = 1, "MONOCHROME2"
        sources.append(source)
    kind = (
        highdicom.seg.SegmentationTypeValues.FRACTIONAL if fractional else highdicom.seg.SegmentationTypeValues.BINARY
    )
    description = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label="vessel",
        segmented_property_category=codes.SCT.Organ,
        segmented_property_type=codes.SCT.BloodVessel,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )
    highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=np.stack([pixels] * frames),
        segmentation_type=kind,
        segment_descriptions=[description],
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
    ).save_as(path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "mask.png": lambda path: Image.fromarray(letter_b()).save(path),
    "grey.png": lambda path: Image.fromarray((soft() * 255).round().astype(np.uint8)).save(path),
    "deep.png": lambda path: Image.fromarray((soft() * 65535).round().astype(np.uint16)).save(path),
    "mask.tif": lambda path: tifffile.imwrite(path, letter_b().astype(np.uint8)),
    "float.tif": lambda path: tifffile.imwrite(path, soft()),
    "mask.bmp": lambda path: Image.fromarray(letter_b()).save(path),
    "one.npy": lambda path: np.save(path, soft()),
    "one.npz": lambda path: np.savez_compressed(path, prob=soft()),
    "stack.npz": lambda path: np.savez_compressed(path, softmax=np.stack([1 - soft(), soft()])),
    "slice.nii.gz": lambda path: save_nifti(path, letter_b().T[..., None].astype(np.uint8)),
    "slice.nii": lambda path: save_nifti(path, soft().T[..., None]),
    "seg.dcm": lambda path: save_segmentation(path, letter_b().astype(np.uint8)),
    "fractional.dcm": lambda path: save_segmentation(path, soft(), fractional=True),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_mask_the_same_way_up(name: str, tmp_path: Path):
    path = tmp_path / name
    WRITERS[name](path)
    read = interpret(read_map(path, LIMITS).array)
    assert np.array_equal(read.probability >= 0.5, letter_b())
    if read.kind == "probability":
        assert np.abs(read.probability - soft()).max() < 1 / 254


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_survives_the_upload(name: str, tmp_path: Path, runtime: Runtime):
    path = tmp_path / name
    WRITERS[name](path)
    view = accept_upload(runtime, path, filename=name, actor=LOCAL)
    read = interpret(read_map(runtime.artifacts.path(view.id), LIMITS).array)
    assert np.array_equal(read.probability >= 0.5, letter_b())


def test_of_several_arrays_one_is_taken_and_any_can_be_chosen(tmp_path: Path):
    path = tmp_path / "several.npz"
    np.savez(path, image=np.zeros((48, 64)), prob=soft(), classes=np.stack([1 - soft(), soft(), letter_b()]), n=3)
    opened = read_map(path, LIMITS)
    assert opened.channel == "prob"
    assert opened.channels == ("image", "prob", "classes/0", "classes/1", "classes/2")
    assert np.allclose(read_map(path, LIMITS, channel="classes/2").array, letter_b())
    with pytest.raises(UserError, match="no map called 'classes/9'"):
        read_map(path, LIMITS, channel="classes/9")


def test_a_volume_says_that_it_is_one_and_that_its_voxels_are_uneven(tmp_path: Path):
    path = tmp_path / "volume.nii.gz"
    save_nifti(path, np.zeros((20, 22, 24), np.uint8), (0.5, 0.5, 3))
    with pytest.raises(UserError) as caught:
        read_map(path, LIMITS)
    assert caught.value.what == "This is a volume, not a single slice."
    assert caught.value.why == "It measures 20 × 22 × 24 voxels of 0.5 × 0.5 × 3 mm, which are not cubes."
    np.save(tmp_path / "volume.npy", np.zeros((80, 90, 100), np.float32))
    with pytest.raises(UserError, match="no two-dimensional map"):
        read_map(tmp_path / "volume.npy", LIMITS)


def test_a_segmentation_of_several_frames_is_refused_with_its_number(tmp_path: Path):
    path = tmp_path / "seg.dcm"
    save_segmentation(path, letter_b().astype(np.uint8), frames=3)
    with pytest.raises(UserError, match="This DICOM segmentation has 3 frames"):
        read_map(path, LIMITS)
