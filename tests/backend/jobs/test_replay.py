"""Making a job's files again: identical when nothing changed, named when something did."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from backend.catalogue import Catalogue, System
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs import replay as module
from backend.jobs.contract import Action, JobContext
from backend.jobs.replay import replay
from backend.media.write_png import write_png
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.settings import Settings


@dataclass(frozen=True)
class Request:
    seed: int = 0
    side: int = 24


@dataclass(frozen=True)
class Result:
    noise: str
    mean: str


LATER = {"weights": "a" * 64, "shift": 0.0}
"""What may have changed between the making and the replay."""


def make(request: Request, ctx: JobContext) -> Result:
    import torch

    noise = torch.rand(request.side, request.side, generator=ctx.generator).numpy() + LATER["shift"]
    ctx.progress(1, 2)
    pixels = np.clip(noise * 255, 0, 255).astype(np.uint8)

    def write(path: Path, provenance: Provenance) -> None:
        write_png(path, pixels, provenance)

    first = ctx.artifact(
        "noise.png", "image/png", write, kind="image", synthetic=True, weights={"noise/a": LATER["weights"]}
    )
    second = ctx.artifact("mean.png", "image/png", write, kind="image", synthetic=True, parents=[first.id])
    return Result(first.id, second.id)


@pytest.fixture
def made(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Runtime, str]]:
    """An open installation, and the id of a file that a job of a real action made in it."""
    service = type("Service", (), {"ACTIONS": (Action("noise", "make", make, Request, Result),)})
    monkeypatch.setitem(__import__("sys").modules, "replay_service", service)
    catalogue = Catalogue()
    catalogue.register(System("noise", "Noise", "p", "s", service="replay_service"))
    monkeypatch.setattr(module, "CATALOGUE", catalogue)
    before = dict(LATER)
    with Runtime.open(settings, catalogue=catalogue) as runtime:
        job = runtime.jobs.wait(runtime.jobs.submit("noise", "make", Request(seed=4), actor=LOCAL), timeout=60)
        assert job.result, job.error
        yield runtime, job.result["noise"]
    LATER.update(before)


def test_the_same_comes_out_byte_for_byte(made: tuple[Runtime, str]) -> None:
    runtime, artifact = made
    seen: list[float] = []
    events = runtime.audit.count()
    found = replay(runtime, artifact, actor=LOCAL, progress=lambda done, total, note: seen.append(done / total))
    assert found.identical
    assert [file.original.name for file in found.files] == ["noise.png", "mean.png"]
    assert found.changed == ()
    assert seen == [0.5]
    assert runtime.audit.count() == events, "a comparison adds nothing to the store"
    assert not list((runtime.settings.home / "tmp").iterdir())


def test_other_pixels_are_noticed(made: tuple[Runtime, str]) -> None:
    LATER["shift"] = 0.01
    found = replay(*made, actor=LOCAL)
    assert [file.difference for file in found.files] == ["Its bytes differ.", "Its bytes differ."]
    assert not found.identical


def test_other_weights_are_named(made: tuple[Runtime, str]) -> None:
    LATER["weights"] = "b" * 64
    found = replay(*made, actor=LOCAL)
    assert [file.difference for file in found.files] == ["It was made with other weights.", ""]


def test_what_cannot_be_made_again(made: tuple[Runtime, str]) -> None:
    runtime, artifact = made
    brought = runtime.artifacts.add(
        lambda path: path.write_bytes(b"x"),
        name="upload.png",
        media_type="image/png",
        kind="upload",
        synthetic=False,
        provenance=Provenance.now(system="upload", action="take in", synthetic=False),
        actor=LOCAL,
    )
    with pytest.raises(UserError, match="brought in, not made"):
        replay(runtime, brought.id, actor=LOCAL)
    other = next(view.id for view in runtime.artifacts.list(kind="image") if view.name == "mean.png")
    runtime.artifacts.delete(other, LOCAL)
    with pytest.raises(UserError, match="cannot be made again"):
        replay(runtime, artifact, actor=LOCAL)
