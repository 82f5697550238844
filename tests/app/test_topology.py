"""The topology routes: one finished refinement over HTTP, and what they refuse."""

from __future__ import annotations

import gzip
import io
import re

import nibabel
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.identity import LOCAL
from backend.runtime import Runtime
from backend.samples import accept_sample
from backend.services.topology.requests import RefineRequest
from backend.services.topology.volume import VolumeRequest
from tests.backend.services.topology.small_refiner import write_small_refiner


@pytest.fixture
def job(runtime: Runtime) -> str:
    """Id of a finished refinement of a phantom."""
    write_small_refiner(runtime.settings.home / "weights" / "topology" / "small")
    source = accept_sample(runtime, "phantom-roads-11", actor=LOCAL).id
    request = RefineRequest(source=source, weights="topology/small")
    return runtime.jobs.wait(runtime.jobs.submit("topology", "refine", request, actor=LOCAL), timeout=120).id


def test_numbers_and_layers_agree_at_every_threshold(client: TestClient, job: str) -> None:
    from models.metrics.betti import betti_numbers

    for query in ("", "?threshold=0.3", "?threshold=0.7&remove_below=0&closing_radius=5"):
        shown = client.get(f"/api/topology/{job}{query}").json()
        layers = {name: client.get(address) for name, address in shown["layers"].items()}
        assert {answer.headers["content-type"] for answer in layers.values()} == {"image/png"}
        before, after, kinds = (
            np.asarray(Image.open(io.BytesIO(layers[name].content))) for name in ("before", "after", "kinds")
        )
        assert tuple(shown["after"].values()) == betti_numbers(after > 127)
        assert np.array_equal(kinds > 0, before != after)
        assert shown["changed"] == (kinds > 0).sum()


@pytest.fixture
def volume(runtime: Runtime) -> str:
    """Id of a finished refinement of a phantom in three dimensions."""
    write_small_refiner(runtime.settings.home / "weights" / "topology" / "small3d", dimensions=3)
    source = accept_sample(runtime, "phantom3d-vessels-1", actor=LOCAL).id
    request = VolumeRequest(source=source, weights="topology/small3d")
    return runtime.jobs.wait(runtime.jobs.submit("topology", "refine_volume", request, actor=LOCAL), timeout=120).id


def test_a_volume_is_served_at_the_same_addresses(client: TestClient, volume: str) -> None:
    from models.metrics.betti import betti_numbers

    shown = client.get(f"/api/topology/{volume}?threshold=0.6&closing_radius=1").json()
    assert shown["volume"] is True
    layers = {}
    for name, address in shown["layers"].items():
        answer = client.get(address)
        assert answer.headers["content-type"] == "application/gzip"
        layers[name] = np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content)).dataobj)
    assert tuple(shown["after"].values()) == betti_numbers(layers["after"] > 0)
    assert np.array_equal(layers["kinds"] > 0, layers["before"] != layers["after"])
    place = shown["changes"][0]["at"]
    answer = client.get(f"{shown['slices']}&side=before&axis=z&index={place[2]}&changes=true")
    assert answer.headers["content-type"] == "image/png"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    changed = picture[picture.shape[0] - 1 - place[1], place[0]]
    assert changed.max() - changed.min() > 60
    for path, status in (
        (f"/api/topology/{volume}/after.png", 404),
        (f"/api/topology/{volume}/other.nii.gz", 400),
        (f"/api/topology/{volume}/slice.png?axis=w", 400),
        (f"/api/topology/{volume}/slice.png?threshold=7", 400),
        (f"/api/topology/{volume}?closing_radius=25", 400),
        ("/api/topology/none/slice.png", 404),
        ("/api/topology/none/after.nii.gz", 404),
    ):
        answer = client.get(path)
        assert answer.status_code == status, path
        assert answer.json()["error"]["what"].endswith("."), path


def test_the_viewer_of_volumes_is_one_module_of_ours(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.routes import volumes

    answer = client.get("/static/vendor/niivue/niivue.js")
    if volumes.NIIVUE.is_file():
        assert answer.headers["content-type"].startswith("text/javascript")
        assert re.search(r"^(import |export .* from )", answer.text, re.MULTILINE) is None
    monkeypatch.setattr(volumes, "NIIVUE", volumes.NIIVUE.with_name("absent.js"))
    answer = client.get("/static/vendor/niivue/niivue.js")
    assert answer.status_code == 503
    assert answer.json()["error"]["what"] == "The viewer of volumes is not installed."


def test_what_does_not_exist_or_fit_is_a_sentence(client: TestClient, job: str) -> None:
    for path, status in (
        ("/api/topology/none", 404),
        ("/api/topology/none/after.png", 404),
        (f"/api/topology/{job}/other.png", 400),
        (f"/api/topology/{job}?threshold=2", 400),
        (f"/api/topology/{job}?threshold=nan", 400),
        (f"/api/topology/{job}?closing_radius=9999", 400),
        (f"/api/topology/{job}/after.png?threshold=0", 400),
    ):
        answer = client.get(path)
        assert answer.status_code == status, path
        assert answer.json()["error"]["what"].endswith("."), path
