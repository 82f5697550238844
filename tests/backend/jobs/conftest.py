from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.jobs.contract import JobState
from backend.runtime import Runtime
from backend.settings import Settings
from tests.backend.jobs.actions import catalogue

#: Every engine there is has to pass the same tests.
ENGINES = ("local",)


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.fixture(params=ENGINES)
def job_settings(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    return settings.model_copy(update={"job_engine": request.param})


@pytest.fixture
def lab(job_settings: Settings) -> Iterator[Runtime]:
    """An installation whose catalogue has the test system, with a running engine of each kind in turn."""
    with Runtime.open(job_settings, catalogue=catalogue()) as opened:
        yield opened


class Steps:
    """The other side of the ``steps`` action: sees where it is and lets it go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    @property
    def request(self) -> dict[str, object]:
        return {"folder": str(self.folder), "steps": 4}

    def at(self, step: int) -> None:
        until((self.folder / f"at-{step}").exists)

    def reached(self) -> int:
        return len(list(self.folder.glob("at-*")))

    def go(self, step: int | None = None) -> None:
        (self.folder / ("go" if step is None else f"go-{step}")).touch()


@pytest.fixture
def new_steps(tmp_path: Path) -> Callable[[], Steps]:
    made: list[Steps] = []

    def make() -> Steps:
        made.append(Steps(tmp_path / f"steps-{len(made)}"))
        return made[-1]

    yield make
    for each in made:
        each.go()


def state(runtime: Runtime, job_id: str) -> JobState:
    return runtime.jobs.view(job_id).state
