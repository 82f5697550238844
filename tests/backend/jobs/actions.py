"""A small real system for engine tests: its actions do what jobs do, step by step, where a test can watch them.

Also a program: ``python -m tests.backend.jobs.actions HOME`` starts an engine and a job that waits at its second step.
"""

from __future__ import annotations

import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from backend.catalogue import Catalogue, System
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import Action, JobContext
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.settings import Settings


@dataclass(frozen=True)
class StepsRequest:
    """``folder`` is where the job says which step it is at, and waits for leave to take it; '' takes all at once."""

    steps: int = 3
    folder: str = ""
    store: bool = False


@dataclass(frozen=True)
class StepsResult:
    """How many steps were taken."""

    taken: int


@dataclass(frozen=True)
class DrawRequest:
    """What to draw random numbers with."""

    count: int
    seed: int | None = None


@dataclass(frozen=True)
class DrawResult:
    """The numbers, and the id of the file that holds them."""

    numbers: tuple[float, ...]
    artifact: str


@dataclass(frozen=True)
class FailRequest:
    """How to fail."""

    how: str


def png(step: int) -> bytes:
    """A 2×2 PNG whose colour tells the step."""
    file = io.BytesIO()
    Image.new("RGB", (2, 2), (step, 0, 0)).save(file, "PNG")
    return file.getvalue()


def steps(request: StepsRequest, context: JobContext) -> StepsResult:
    """Take steps, each after asking for leave; store a file after each if asked to."""
    folder = Path(request.folder) if request.folder else None
    for step in range(request.steps):
        if folder:
            (folder / f"at-{step}").touch()
            while not ((folder / f"go-{step}").exists() or (folder / "go").exists()):
                time.sleep(0.002)
        if request.store:
            context.artifact(
                f"step-{step}.txt",
                "text/plain",
                lambda path, _provenance, step=step: path.write_text(str(step)),
                kind="table",
                synthetic=True,
            )
        context.progress(step + 1, request.steps, f"step {step + 1}", preview=png(step))
    return StepsResult(request.steps)


def spin(request: StepsRequest, context: JobContext) -> StepsResult:
    """Report thousands of steps as fast as possible."""
    for step in range(request.steps):
        context.progress(step + 1, request.steps)
    return StepsResult(request.steps)


def draw(request: DrawRequest, context: JobContext) -> DrawResult:
    """Random numbers, and a file with the provenance it was given."""
    import torch

    numbers = torch.rand(request.count, generator=context.generator).tolist()
    first = context.artifact(
        "numbers.txt",
        "text/plain",
        lambda path, _provenance: path.write_text(str(numbers)),
        kind="table",
        synthetic=True,
    )

    def write(path: Path, provenance: Provenance) -> None:
        path.write_text(provenance.to_json())

    context.artifact(
        "provenance.json",
        "application/json",
        write,
        kind="table",
        synthetic=True,
        parents=[first.id],
        sampler="rand",
        steps=1,
        weights={"none": "0" * 64},
        properties={"count": request.count},
    )
    assert context.open(first.id).read_text() == str(numbers)
    assert context.view(first.id).job_id == context.job_id
    return DrawResult(tuple(numbers), first.id)


def fail(request: FailRequest, context: JobContext) -> None:
    """End badly in one of several ways, after storing one whole file and beginning another."""
    context.progress(1, 2, "about to fail", preview=png(9))
    context.artifact("kept.txt", "text/plain", lambda path, _: path.write_text("whole"), kind="table", synthetic=True)

    def half(path: Path, _provenance: Provenance) -> None:
        path.write_text("half")
        if request.how == "mistake":
            raise UserError("The mask is empty.", "It has no foreground pixels.", "Choose another mask.")
        if request.how == "memory":
            raise MemoryError
        if request.how == "exit":
            raise SystemExit(3)
        raise KeyError("a bug")

    context.artifact("half.txt", "text/plain", half, kind="table", synthetic=True)


def wrong(request: FailRequest, context: JobContext) -> StepsResult:
    """Return what the action does not promise."""
    return request.how  # type: ignore[return-value]


ACTIONS = (
    Action("toy", "steps", steps, StepsRequest, StepsResult),
    Action("toy", "spin", spin, StepsRequest, StepsResult),
    Action("toy", "draw", draw, DrawRequest, DrawResult),
    Action("toy", "fail", fail, FailRequest, type(None)),
    Action("toy", "wrong", wrong, FailRequest, StepsResult),
)


def catalogue() -> Catalogue:
    """A catalogue with the test system only."""
    made = Catalogue()
    made.register(System(name="toy", title="Toy", paper="", summary="", service=__name__))
    return made


if __name__ == "__main__":
    # Run under its module name, so that the catalogue finds the same module again.
    from tests.backend.jobs.actions import catalogue as named_catalogue

    home = Path(sys.argv[1])
    folder = home / "steps"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go-0").touch()
    with Runtime.open(Settings(home=home, device="cpu"), catalogue=named_catalogue()) as runtime:
        running = runtime.jobs.submit("toy", "steps", {"folder": str(folder), "store": True}, actor=LOCAL)
        queued = runtime.jobs.submit("toy", "steps", {"steps": 1}, actor=LOCAL)
        while not (folder / "at-1").exists():
            time.sleep(0.002)
        print(running, queued, flush=True)
        time.sleep(600)
