"""The topology routes: one finished refinement over HTTP, and what they refuse."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.identity import LOCAL
from backend.runtime import Runtime
from backend.samples import accept_sample
from backend.services.topology.requests import RefineRequest
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
