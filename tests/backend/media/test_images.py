from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from backend.errors import UserError
from backend.media.images import icc_profile, read_image, to_rgb8
from backend.media.limits import Limits
from tests.backend.media.real_files import check_sentence

LIMITS = Limits()
RNG = np.random.default_rng(20260301)
GREY = RNG.integers(0, 256, (13, 17), np.uint8)
RGB = RNG.integers(0, 256, (13, 17, 3), np.uint8)
RGBA = RNG.integers(0, 256, (13, 17, 4), np.uint8)
GREY16 = RNG.integers(0, 65536, (13, 17), np.uint16)
RGB16 = RNG.integers(0, 65536, (13, 17, 3), np.uint16)


def test_every_kind_of_png_keeps_its_pixels(tmp_path: Path) -> None:
    import imagecodecs

    path = tmp_path / "x"
    for pixels in (GREY, RGB, RGBA):
        Image.fromarray(pixels).save(path, "PNG")
        np.testing.assert_array_equal(read_image(path, LIMITS), pixels)
    for pixels in (GREY16, RGB16):
        path.write_bytes(imagecodecs.png_encode(pixels))
        read = read_image(path, LIMITS)
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, pixels)


def test_one_bit_becomes_0_and_255(tmp_path: Path) -> None:
    mask = GREY > 100
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_image(tmp_path / "mask.png", LIMITS), mask.astype(np.uint8) * 255)


def test_a_palette_of_greys_is_a_mask_and_one_of_colours_is_rgb(tmp_path: Path) -> None:
    indices = (GREY > 100).astype(np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png", LIMITS), indices * 255)
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.save(tmp_path / "colour.png")
    expected = np.array([[10, 20, 30], [200, 100, 0]], np.uint8)[indices]
    np.testing.assert_array_equal(read_image(tmp_path / "colour.png", LIMITS), expected)
    image.save(tmp_path / "clear.png", transparency=0)
    assert read_image(tmp_path / "clear.png", LIMITS).shape == (13, 17, 4)


def test_grey_with_alpha_is_rgba_and_lies_over_the_background(tmp_path: Path) -> None:
    alpha = np.zeros_like(GREY)
    alpha[:, 8:] = 255
    Image.fromarray(np.dstack([GREY, alpha]), "LA").save(tmp_path / "la.png")
    read = read_image(tmp_path / "la.png", LIMITS)
    np.testing.assert_array_equal(read, np.dstack([GREY, GREY, GREY, alpha]))
    flat = to_rgb8(read)
    assert (flat[:, :8] == 255).all()
    np.testing.assert_array_equal(flat[:, 8:, 0], GREY[:, 8:])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
def test_tiff_of_every_depth(tmp_path: Path, dtype: type, compression: str | None) -> None:
    pixels = (RNG.normal(size=(20, 30)) * 100).astype(dtype)
    tifffile.imwrite(tmp_path / "x.tif", pixels, compression=compression)
    read = read_image(tmp_path / "x.tif", LIMITS)
    np.testing.assert_array_equal(read, pixels.astype(read.dtype))
    assert read.dtype == {np.int16: np.int32, np.float64: np.float32}.get(dtype, dtype)


def test_tiff_colour_at_16_bits_planar_or_not_and_white_is_zero(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", RGB16, photometric="rgb")
    np.testing.assert_array_equal(read_image(tmp_path / "rgb.tif", LIMITS), RGB16)
    planes = np.ascontiguousarray(np.moveaxis(RGB16, -1, 0))
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(tmp_path / "planes.tif", LIMITS), RGB16)
    tifffile.imwrite(tmp_path / "white.tif", GREY16, photometric="miniswhite")
    np.testing.assert_array_equal(read_image(tmp_path / "white.tif", LIMITS), 65535 - GREY16)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_alike_to_jpeg_png_and_deep_tiff(tmp_path: Path, orientation: int) -> None:
    ramp = np.repeat(np.repeat(np.array([[10, 60, 110], [160, 210, 250]], np.uint8), 16, 0), 16, 1)
    turned = Image.fromarray(ramp)
    how = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(orientation)
    expected = np.asarray(turned if how is None else turned.transpose(how))
    exif = Image.Exif()
    exif[274] = orientation
    turned.save(tmp_path / "x.jpg", quality=100, exif=exif)
    turned.save(tmp_path / "x.png", exif=exif)
    tifffile.imwrite(tmp_path / "x.tif", ramp.astype(np.uint16) * 257, extratags=[(274, 3, 1, orientation, True)])
    assert np.abs(read_image(tmp_path / "x.jpg", LIMITS).astype(int) - expected).max() <= 3
    np.testing.assert_array_equal(read_image(tmp_path / "x.png", LIMITS), expected)
    np.testing.assert_array_equal(read_image(tmp_path / "x.tif", LIMITS), expected.astype(np.uint16) * 257)


@pytest.mark.parametrize(("format_", "options"), [("BMP", {}), ("WEBP", {"lossless": True}), ("GIF", {}), ("TIFF", {})])
def test_other_formats_keep_grey_pixels(tmp_path: Path, format_: str, options: dict) -> None:
    Image.fromarray(GREY).save(tmp_path / "x", format_, **options)
    read = read_image(tmp_path / "x", LIMITS)
    np.testing.assert_array_equal(read if read.ndim == 2 else read[..., 0], GREY)


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16, 3), 255, np.uint8)).convert("CMYK").save(tmp_path / "x.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "x.jpg", LIMITS), np.full((16, 16, 3), 255))


def test_an_animation_is_sent_to_the_clips(tmp_path: Path) -> None:
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    with pytest.raises(UserError, match=r"animated.*2 frames.*clip"):
        read_image(tmp_path / "x.gif", LIMITS)


def _png(width: int, height: int, bits: int = 1) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\x00" * 100))
        + chunk(b"IEND", b"")
    )


def test_declared_pixels_are_checked_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(_png(100_000, 100_000))
    with pytest.raises(UserError, match=r"too large.*10,000,000,000 pixels"):
        read_image(path, LIMITS)
    path.write_bytes(_png(20_000, 19_000, bits=8))
    with pytest.raises(UserError, match="unpacks to far more"):
        read_image(path, LIMITS)
    path.write_bytes(_png(600, 600, bits=16))
    with pytest.raises(UserError, match="too large"):
        read_image(path, Limits(max_pixels=100_000))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_with_a_monstrous_tile_is_refused_unseen(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, RGB16.astype(dtype), tile=(64, 64), photometric="rgb", compression="deflate")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags[322].overwrite(65520)
        tiff.pages.first.tags[323].overwrite(65520)
    with pytest.raises(UserError, match="damaged"):
        read_image(path, LIMITS)


def test_a_picture_over_pillows_own_limit_opens_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    Image.new("1", (12_000, 9_000)).save(tmp_path / "large.png")
    assert read_image(tmp_path / "large.png", Limits(max_decompression_ratio=100_000)).shape == (9_000, 12_000)
    assert not recwarn.list


def test_what_is_no_picture_is_said_in_sentences(tmp_path: Path) -> None:
    path = tmp_path / "Mustermann.png"
    for data, words in (
        (b"", "empty"),
        (b"hello" * 100, "not a picture"),
        (_png(50, 50)[:-30], "damaged|not a picture"),
    ):
        path.write_bytes(data)
        with pytest.raises(UserError, match=words) as caught:
            read_image(path, LIMITS)
        check_sentence(caught.value, "Mustermann")


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_pictures_open_or_give_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    format_ = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "WEBP", "GIF", "deep"]))
    buffer = io.BytesIO()
    if format_ == "deep":
        tifffile.imwrite(buffer, RGB16, photometric="rgb", compression="deflate")
    else:
        Image.fromarray(RGB).save(buffer, format_)
    content = bytearray(buffer.getvalue()[: data.draw(st.integers(1, len(buffer.getvalue())))])
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged"
    path.write_bytes(content)
    try:
        read = read_image(path, Limits(max_pixels=1_000_000))
    except UserError as error:
        check_sentence(error)
    else:
        assert read.ndim in (2, 3)
        assert read.size


def test_display_of_deep_pixels() -> None:
    np.testing.assert_array_equal(to_rgb8(GREY16)[..., 1], GREY16 >> 8)
    ramp = np.array([[-1.0, 0.0, 1.0, np.nan]], np.float32)
    np.testing.assert_array_equal(to_rgb8(ramp)[0, :, 0], [0, 128, 255, 0])


def test_icc_profile_is_found(tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(tmp_path / "x.png", icc_profile=profile)
    assert icc_profile(tmp_path / "x.png") == profile
    Image.fromarray(RGB).save(tmp_path / "y.png")
    assert icc_profile(tmp_path / "y.png") is None
