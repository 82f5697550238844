"""The routes of the player: a stored clip's facts, frames and labels, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from backend.identity import LOCAL
from backend.media.stored_clip import StoredClip, write_stored_clip
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.samples import accept_sample

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 12, 10), dtype=np.uint8)


@pytest.fixture
def clip(runtime: Runtime, tmp_path: Path) -> str:
    """Id of a small stored clip with labels."""
    made = Provenance.now(system="echo", action="measure", synthetic=True)
    stored = StoredClip(FRAMES, 25.0, FRAMES // 50, None, (0,), (3,))
    return runtime.artifacts.add(
        lambda path: write_stored_clip(path, stored, made),
        name="clip.npz", media_type="application/x-npz", kind="clip", synthetic=True, provenance=made, actor=LOCAL,
    ).id  # fmt: skip


def test_every_byte_of_a_clip_arrives(client: TestClient, clip: str) -> None:
    facts = client.get(f"/api/clips/{clip}").json()
    assert facts == {
        "frames": 5, "height": 12, "width": 10, "fps": 25.0, "labels": True, "mm_per_px": None,
        "end_diastole": [0], "end_systole": [3],
    }  # fmt: skip
    assert client.get(f"/api/clips/{clip}/frames").content == FRAMES.tobytes()
    assert client.get(f"/api/clips/{clip}/labels").content == (FRAMES // 50).tobytes()


def test_a_real_clip_is_grey_and_has_its_own_rate(client: TestClient, runtime: Runtime) -> None:
    sample = accept_sample(runtime, "echo-four-chamber", actor=LOCAL).id
    facts = client.get(f"/api/clips/{sample}").json()
    assert (facts["frames"], facts["height"], facts["width"], facts["labels"]) == (30, 240, 320, False)
    assert facts["fps"] == pytest.approx(30, abs=1)
    assert len(client.get(f"/api/clips/{sample}/frames").content) == 30 * 240 * 320
    assert client.get(f"/api/clips/{sample}/labels").status_code == 404


def test_what_is_no_clip_is_a_sentence(client: TestClient, runtime: Runtime) -> None:
    still = accept_sample(runtime, "ct-small", actor=LOCAL).id
    for path in (f"/api/clips/{still}", "/api/clips/none", "/api/clips/none/frames"):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["what"].endswith("."), path


def test_plotly_comes_from_here_or_says_how_to_get_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    from app.routes import plots

    answer = client.get("/static/vendor/plotly/plotly.js")
    if plots.PLOTLY.is_file():
        assert answer.headers["content-type"].startswith("text/javascript")
        assert "plotly" in answer.text[:200]
    monkeypatch.setattr(plots, "PLOTLY", plots.PLOTLY.with_name("absent.js"))
    answer = client.get("/static/vendor/plotly/plotly.js")
    assert answer.status_code == 503
    assert answer.json()["error"]["what"].endswith(".")
