from __future__ import annotations

import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
)

from backend.errors import UserError
from backend.media.dicom import DicomImage, Window, read_dicom, to_display
from backend.media.dicom_pixels import codestream_size
from backend.media.dicom_values import apply_window, full_range
from backend.media.limits import Limits
from tests.backend.media.intake_samples import dicom_file, dicom_files, make_series, ramp
from tests.backend.media.real_files import check_sentence

# What pydicom and Pillow say of odd files; the application silences it, and pytest turns it on again.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LIMITS = Limits()


def read(name: str) -> DicomImage:
    return read_dicom(dicom_file(name), LIMITS)


def test_every_test_file_of_pydicom_opens_or_says_plainly_why_not() -> None:
    opened, refused = 0, 0
    for path in dicom_files():
        try:
            image = read_dicom(path, LIMITS)
        except UserError as error:
            check_sentence(error, str(path.parent))
            refused += 1
            continue
        shown = to_display(image)
        assert shown.dtype == np.uint8
        assert shown.shape == image.pixels.shape
        assert image.pixels.ndim == 3 or image.pixels.shape[-1] == 3
        opened += 1
    assert opened >= 100
    assert refused >= 5


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("rtplan.dcm", "radiotherapy plan"),
        ("rtstruct.dcm", "contours"),
        ("reportsi.dcm", "structured report"),
        ("DICOMDIR", "table of contents"),
        ("MR_truncated.dcm", "cut off"),
        ("badVR.dcm", "Number of Frames"),
        ("UN_sequence.dcm", "no pixel data"),
    ],
)
def test_what_has_no_picture_is_called_by_name(name: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        read(name)


# Pairs of files that hold the same picture in different encodings.
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("MR_small.dcm", "MR_small_RLE.dcm"),
        ("MR_small.dcm", "MR_small_jp2klossless.dcm"),
        ("MR_small.dcm", "MR_small_jpeg_ls_lossless.dcm"),
        ("MR_small.dcm", "MR_small_bigendian.dcm"),
        ("MR_small.dcm", "MR_small_implicit.dcm"),
        ("emri_small.dcm", "emri_small_RLE.dcm"),
        ("emri_small.dcm", "emri_small_jpeg_2k_lossless.dcm"),
        ("emri_small.dcm", "emri_small_jpeg_ls_lossless.dcm"),
        ("emri_small.dcm", "emri_small_big_endian.dcm"),
        ("SC_rgb.dcm", "SC_rgb_rle.dcm"),
        ("SC_rgb.dcm", "SC_rgb_expb.dcm"),
        ("SC_rgb.dcm", "SC_rgb_jpeg_gdcm.dcm"),
        ("SC_rgb_16bit.dcm", "SC_rgb_rle_16bit.dcm"),
        ("SC_rgb_32bit.dcm", "SC_rgb_rle_32bit.dcm"),
        ("SC_rgb_2frame.dcm", "SC_rgb_expb_2frame.dcm"),
        ("color-pl.dcm", "color-px.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_rle.dcm"),
        ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"),
        ("liver.dcm", "liver_expb.dcm"),
        ("rtdose.dcm", "rtdose_rle.dcm"),
        ("rtdose.dcm", "rtdose_expb.dcm"),
        ("US1_J2KR.dcm", "US1_UNCR.dcm"),
        ("693_J2KR.dcm", "693_UNCR.dcm"),
        ("RG3_J2KR.dcm", "RG3_UNCR.dcm"),
    ],
)
def test_the_same_picture_in_another_encoding_is_the_same(first: str, second: str) -> None:
    try:
        one, two = read(first), read(second)
    except FileNotFoundError:
        pytest.skip("pydicom-data is not installed")
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.spacing_mm == two.spacing_mm


def test_colour_encodings_agree_with_rgb_within_the_rounding_of_ycbcr() -> None:
    rgb = read("SC_rgb.dcm").pixels.astype(int)
    full = read("SC_ybr_full_uncompressed.dcm").pixels
    assert np.abs(full - rgb).mean() < 1
    stored = pydicom.dcmread(dicom_file("SC_ybr_full_uncompressed.dcm"))
    y, blue, red = np.moveaxis(np.frombuffer(stored.PixelData, np.uint8).reshape(1, 100, 100, 3).astype(float), -1, 0)
    # PS3.3 C.7.6.3.1.2
    expected = np.stack(
        [y + 1.402 * (red - 128), y - 0.344136 * (blue - 128) - 0.714136 * (red - 128), y + 1.772 * (blue - 128)], -1
    )
    np.testing.assert_allclose(full, np.clip(expected, 0, 255), atol=1)
    for name in ("SC_ybr_full_422_uncompressed.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm"):
        assert np.abs(read(name).pixels - rgb).mean() < 3, name


def test_ybr_clip_is_decoded_as_pydicom_decodes_it() -> None:
    path = dicom_file("examples_ybr_color.dcm")
    image = read_dicom(path, LIMITS)
    np.testing.assert_array_equal(image.pixels, pydicom.pixels.pixel_array(path, decoding_plugin="pillow"))
    assert image.pixels.shape == (30, 240, 320, 3)
    assert image.content == "clip"
    assert image.frame_time_ms == pytest.approx(33.333)
    # Its ultrasound region lies partly outside these halved frames, so its scale is that of other pixels.
    assert image.spacing_mm is None


def test_jpeg_of_twelve_bits_opens() -> None:
    try:
        extended, lossy = read("JPGExtended.dcm"), read("JPEG-lossy.dcm")
    except FileNotFoundError:
        pytest.skip("pydicom-data is not installed")
    assert extended.pixels.dtype == np.uint16
    assert extended.pixels.shape == (1, 1024, 256)
    np.testing.assert_array_equal(extended.pixels, lossy.pixels)


def test_hounsfield_units_and_dose_in_gray() -> None:
    stored = pydicom.dcmread(dicom_file("CT_small.dcm"))
    image = read("CT_small.dcm")
    np.testing.assert_array_equal(image.pixels[0], stored.pixel_array.astype(int) - 1024)
    assert image.pixels.dtype == np.int16
    assert image.properties["unit"] == "HU"
    dose = pydicom.dcmread(dicom_file("rtdose.dcm"))
    expected = dose.pixel_array * float(dose.DoseGridScaling)
    volume = read("rtdose.dcm")
    np.testing.assert_allclose(volume.pixels, expected, rtol=1e-6)
    assert volume.spacing_mm == (5.0, 10.0, 10.0)
    assert volume.affine is not None
    origin = [float(value) for value in dose.ImagePositionPatient]
    np.testing.assert_allclose(volume.affine @ (0, 0, 0, 1), [*origin, 1])


def test_segmentation_bits_become_zeros_and_ones() -> None:
    image = read("liver.dcm")
    assert set(np.unique(image.pixels)) == {0, 1}
    assert image.content == "volume"
    assert image.spacing_mm == (1.0, 0.810547, 0.810547)


def test_window_functions_have_the_standard_s_closed_forms() -> None:
    values = np.arange(-100, 1100, dtype=np.int16)
    shown = apply_window(values, Window(500, 400)).astype(float)
    assert shown[values <= 500 - 0.5 - 199.5][-1] == 0
    assert shown[values > 500 - 0.5 + 199.5].min() == 255
    # PS3.3 C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5) · 255 inside the window.
    inside = (values > 301) & (values < 699)
    np.testing.assert_allclose(shown[inside], ((values[inside] - 499.5) / 399 + 0.5) * 255, atol=0.51)
    sigmoid = apply_window(values, Window(500, 400, "SIGMOID"))
    assert sigmoid[values == 500][0] == 128
    np.testing.assert_array_equal(full_range(np.array([[3, 3]])), [[0, 0]])
    np.testing.assert_array_equal(full_range(np.array([[0.0, np.nan, 2.0]])), [[0, 0, 255]])


def test_monochrome1_is_shown_inverted_and_stored_as_it_is() -> None:
    try:
        image = read("RG3_UNCI.dcm")
    except FileNotFoundError:
        pytest.skip("pydicom-data is not installed")
    assert image.photometric == "MONOCHROME1"
    np.testing.assert_array_equal(to_display(image), 255 - apply_window(image.pixels, image.window))


def test_a_series_is_sorted_by_position_and_not_by_name(tmp_path: Path) -> None:
    names = ["2062", "2392", "2693", "3023"]
    source = sorted(
        (pydicom.dcmread(dicom_file(name)) for name in names), key=lambda item: float(item.ImagePositionPatient[2])
    )
    for scrambled, name in zip(["c", "a", "d", "b"], names, strict=True):
        shutil.copyfile(dicom_file(name), tmp_path / scrambled)
    image = read_dicom(tmp_path, LIMITS)
    gap = float(source[1].ImagePositionPatient[2]) - float(source[0].ImagePositionPatient[2])
    assert image.content == "volume"
    assert image.spacing_mm == pytest.approx((gap, *map(float, source[0].PixelSpacing)))
    for plane, expected in zip(image.pixels, source, strict=True):
        np.testing.assert_array_equal(plane, expected.pixel_array * expected.RescaleSlope + expected.RescaleIntercept)
    assert image.affine is not None
    np.testing.assert_allclose((image.affine @ (0, 0, 3, 1))[:3], [float(v) for v in source[3].ImagePositionPatient])
    packed = read_dicom(make_series(tmp_path / "series.zip"), LIMITS)
    np.testing.assert_array_equal(packed.pixels, image.pixels)
    listed = read_dicom([tmp_path / name for name in "abcd"], LIMITS)
    np.testing.assert_array_equal(listed.pixels, image.pixels)


def test_of_several_series_the_longest_is_taken_and_it_says_so(tmp_path: Path) -> None:
    for name in ("17106", "17136", "17166", "6293"):
        shutil.copyfile(dicom_file(name), tmp_path / name)
    (tmp_path / "notes.txt").write_text("not DICOM")
    image = read_dicom(tmp_path, LIMITS)
    assert len(image.pixels) == 3
    assert any("2 series" in note for note in image.notes)
    # The first of the three lies 20 cm below the others, which are 1.25 mm apart.
    assert any("not evenly spaced: 1 of 2" in note for note in image.notes)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_dicom(tmp_path, LIMITS)
    check_sentence(caught.value, str(tmp_path))


def changed(path: Path, **changes: object) -> Path:
    dataset = pydicom.dcmread(dicom_file("MR_small.dcm"))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"Rows": 60000, "Columns": 60000},
        {"NumberOfFrames": 100_000},
        {"NumberOfFrames": -3},
        {"Rows": 0},
        {"SamplesPerPixel": 4},
        {"BitsAllocated": 12},
        {"Rows": 65},
    ],
)
def test_impossible_declarations_are_refused_before_decoding(tmp_path: Path, changes: dict[str, int]) -> None:
    with pytest.raises(UserError) as caught:
        read_dicom(changed(tmp_path / "x", **changes), LIMITS)
    check_sentence(caught.value, str(tmp_path))


def test_a_stream_larger_than_the_data_set_says_is_not_given_to_a_decoder(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(dicom_file("MR_small_jp2klossless.dcm"))
    frame = bytearray(next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)))
    at = frame.find(b"\xff\x4f\xff\x51")
    assert codestream_size(bytes(frame)) == (64, 64)
    struct.pack_into(">2I", frame, at + 8, 60000, 60000)
    assert codestream_size(bytes(frame)) == (60000, 60000)
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset.save_as(tmp_path / "x")
    with pytest.raises(UserError, match="size inside"):
        read_dicom(tmp_path / "x", LIMITS)


def test_a_deflate_bomb_is_refused_before_it_is_inflated(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(dicom_file("MR_small.dcm"))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "good")
    assert read_dicom(tmp_path / "good", LIMITS).pixels.shape == (1, 64, 64)
    data = (tmp_path / "good").read_bytes()
    meta = 132 + 12 + struct.unpack_from("<I", data, 140)[0]
    packer = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    (tmp_path / "bomb").write_bytes(data[:meta] + bomb)
    with pytest.raises(UserError, match="unpacks"):
        read_dicom(tmp_path / "bomb", Limits(max_decompression_ratio=100))


def test_jpeg_2000_of_both_generations_opens(tmp_path: Path) -> None:
    import imagecodecs

    dataset = pydicom.dcmread(dicom_file("MR_small.dcm"))
    expected = read("MR_small.dcm").pixels
    try:
        stream = imagecodecs.htj2k_encode(dataset.pixel_array)
    except (AttributeError, imagecodecs.DelayedImportError):
        stream = b""
    if stream:
        dataset.file_meta.TransferSyntaxUID = HTJ2KLossless
        dataset.PixelData = encapsulate([stream])
        dataset.save_as(tmp_path / "ht")
        np.testing.assert_array_equal(read_dicom(tmp_path / "ht", LIMITS).pixels, expected)
    dataset = pydicom.dcmread(dicom_file("MR_small.dcm"))
    dataset.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg")
    dataset.save_as(tmp_path / "j2k")
    np.testing.assert_array_equal(read_dicom(tmp_path / "j2k", LIMITS).pixels, expected)


def test_an_h264_clip_opens_and_must_keep_what_it_declares(tmp_path: Path) -> None:
    import subprocess

    from backend.media.video import ffmpeg

    clip = read("examples_ybr_color.dcm").pixels
    command = [ffmpeg(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "320x240", "-r", "30", "-i", "-"]
    command += ["-c:v", "libx264", "-crf", "8", "-pix_fmt", "yuv420p", "-f", "h264", "-"]
    stream = subprocess.run(command, input=clip.tobytes(), capture_output=True, check=True).stdout
    dataset = pydicom.dcmread(dicom_file("examples_ybr_color.dcm"))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    dataset.PhotometricInterpretation = "YBR_PARTIAL_420"
    dataset.PixelData = encapsulate([stream])
    dataset.save_as(tmp_path / "x")
    image = read_dicom(tmp_path / "x", LIMITS)
    assert image.pixels.shape == clip.shape
    assert np.abs(image.pixels.astype(int) - clip).mean() < 3
    for keyword, value in (("NumberOfFrames", 31), ("NumberOfFrames", 7), ("Rows", 200)):
        wrong = pydicom.dcmread(tmp_path / "x")
        setattr(wrong, keyword, value)
        wrong.save_as(tmp_path / "wrong")
        with pytest.raises(UserError, match="declares"):
            read_dicom(tmp_path / "wrong", LIMITS)


def test_a_jpeg_that_says_rgb_is_left_alone_and_one_that_says_ycbcr_is_converted(tmp_path: Path) -> None:
    import imagecodecs

    rgb = ramp(64, 64)
    dataset = pydicom.dcmread(dicom_file("SC_rgb.dcm"))
    dataset.Rows, dataset.Columns = 64, 64
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PhotometricInterpretation = "YBR_FULL"
    dataset.PixelData = encapsulate([imagecodecs.jpeg_encode(rgb, level=98, subsampling="444")])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(tmp_path / "ybr")
    assert np.abs(read_dicom(tmp_path / "ybr", LIMITS).pixels[0].astype(int) - rgb).mean() < 3


def test_a_zip_of_no_dicom_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(UserError) as caught:
        read_dicom(tmp_path / "x.zip", LIMITS)
    check_sentence(caught.value, str(tmp_path))


def test_a_made_volume_with_positions_in_functional_groups_is_put_in_order(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(dicom_file("emri_small.dcm"))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    groups = []
    for position in (9, 3, 6, 0, 12, 15, 18, 21, 27, 24):
        group, plane, orientation, measures = (pydicom.Dataset() for _ in range(4))
        plane.ImagePositionPatient = [1.0, 2.0, float(position)]
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        measures.PixelSpacing = [0.5, 0.25]
        group.PlanePositionSequence, group.PlaneOrientationSequence = [plane], [orientation]
        group.PixelMeasuresSequence = [measures]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.save_as(tmp_path / "x")
    image = read_dicom(tmp_path / "x", LIMITS)
    assert image.content == "volume"
    assert image.spacing_mm == (3.0, 0.5, 0.25)
    np.testing.assert_array_equal(image.pixels, dataset.pixel_array[[3, 1, 2, 0, 4, 5, 6, 7, 9, 8]])
    assert image.affine is not None
    np.testing.assert_allclose(image.affine @ (4, 2, 1, 1), [1 + 4 * 0.25, 2 + 2 * 0.5, 3, 1])


def test_pixels_of_a_kind_that_does_not_exist_are_refused(tmp_path: Path) -> None:
    data = dicom_file("CT_small.dcm").read_bytes()
    (tmp_path / "x").write_bytes(data.replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00MB"))
    with pytest.raises(UserError, match="damaged"):
        read_dicom(tmp_path / "x", LIMITS)
