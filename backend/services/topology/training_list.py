"""The refiners on this machine: which there are, which trainings were stopped, and how they are taken away."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import UserError
from backend.identity import Actor
from backend.jobs.contract import JobState, JobView
from backend.services.topology.training import refiner_name
from backend.weights import MODEL, SHIPPED, WeightFile

if TYPE_CHECKING:
    from backend.runtime import Runtime

SYSTEM = "topology"
CHECKPOINT = "checkpoint.pt"
HISTORY = 500  # jobs that are looked through for the training that left a checkpoint


@dataclass(frozen=True)
class RefinerView:
    """One refiner: ``name`` is what it is loaded by; ``trained_on`` and ``minutes`` are what its card says."""

    name: str
    title: str
    shipped: bool
    dimensions: int
    trained_on: str
    minutes: float | None
    size: int
    sha256: str
    licence: str
    card: str

    @property
    def short(self) -> str:
        """The name without the system."""
        return self.name.partition("/")[2]


@dataclass(frozen=True)
class StoppedView:
    """A training that left a checkpoint: how far it came, and the job to go on from (``None``: not one of the page)."""

    name: str
    fraction: float
    minutes: float
    job: JobView | None


def weights_folder(home: Path, name: str) -> Path:
    """Where a refiner of one's own lies."""
    return home / "weights" / SYSTEM / name


def work_folder(home: Path, name: str) -> Path:
    """Where the training of a refiner works and leaves its checkpoint; no weights are looked for there."""
    return home / "training" / SYSTEM / name


def free_name(home: Path, name: str) -> None:
    """Raise ``UserError`` when a refiner has the name already, one's own or a shipped one."""
    if (SHIPPED / SYSTEM / name).is_dir():
        raise UserError(
            f"The name {name!r} belongs to a refiner that SynthScope brings.",
            "Another of that name would hide it.",
            "Choose another name.",
        )
    folder = weights_folder(home, name)
    if folder.is_dir() and any(folder.iterdir()):
        raise UserError(
            f"There is a refiner called {name!r} already.", "", "Choose another name, or delete that one first."
        )


def check_free(runtime: Runtime, text: str) -> str:
    """The checked name for a new training. Raises ``UserError`` when it cannot be used now."""
    name = refiner_name(text)
    free_name(runtime.settings.home, name)
    if _active(runtime, name):
        raise UserError(
            f"A refiner called {name!r} is being trained now.",
            "",
            "Wait for it, cancel it, or choose another name.",
        )
    return name


def refiners(runtime: Runtime) -> list[RefinerView]:
    """Every refiner on this machine, the shipped ones first."""
    found = [_view(weight) for weight in runtime.weights.available() if weight.name.startswith(f"{SYSTEM}/")]
    return sorted(found, key=lambda view: (not view.shipped, view.name))


def stopped(runtime: Runtime) -> list[StoppedView]:
    """Trainings that were stopped and can go on."""
    home = runtime.settings.home
    folder = work_folder(home, "x").parent
    names = sorted(path.parent.name for path in folder.glob(f"*/{CHECKPOINT}")) if folder.is_dir() else []
    found = []
    for name in names:
        if _active(runtime, name):
            continue
        job = next((job for job in _trainings(runtime) if job.request.get("name", "").strip().lower() == name), None)
        fraction = job.fraction if job else 0.0
        found.append(StoppedView(name, fraction, float(job.request.get("minutes", 0)) if job else 0.0, job))
    return found


def is_stopped(runtime: Runtime, name: str) -> bool:
    """Whether a training of that name left a checkpoint."""
    return (work_folder(runtime.settings.home, name) / CHECKPOINT).is_file()


def delete_refiner(runtime: Runtime, name: str, *, actor: Actor) -> None:
    """Take a refiner of one's own away; the audit log keeps its hash and card.

    Raises ``UserError`` when there is none of that name, or it is a shipped one.
    """
    short = refiner_name(name.removeprefix(f"{SYSTEM}/"))
    folder = weights_folder(runtime.settings.home, short)
    if not (folder / MODEL).is_file():
        shipped = (SHIPPED / SYSTEM / short).is_dir()
        raise UserError(
            f"There is no refiner of your own called {short!r}.",
            "It is one that SynthScope brings." if shipped else "It was deleted already, or never finished.",
            "Shipped refiners stay." if shipped else "",
        )
    weight = runtime.weights.find(f"{SYSTEM}/{short}")
    old = {"sha256": weight.sha256, "size": weight.size, "card": weight.card}
    with runtime.scratch.workdir() as trash:
        away = trash / "refiner"
        folder.rename(away)
        try:
            runtime.audit.append(actor=actor, action="weights.delete", subject=f"weights:{weight.name}", old=old)
        except BaseException:
            away.rename(folder)  # what is not in the log has not happened
            raise


def discard(runtime: Runtime, name: str, *, actor: Actor) -> None:
    """Throw the checkpoint of a stopped training away. Raises ``UserError`` when there is none, or it runs now."""
    short = refiner_name(name)
    if not is_stopped(runtime, short):
        raise UserError(f"There is no stopped training called {short!r}.", "It was discarded already, or it finished.")
    if _active(runtime, short):
        raise UserError(f"The training of {short!r} runs now.", "", "Cancel it first.")
    runtime.audit.append(actor=actor, action="training.discard", subject=f"training:{SYSTEM}/{short}")
    shutil.rmtree(work_folder(runtime.settings.home, short), ignore_errors=True)


def _trainings(runtime: Runtime) -> Sequence[JobView]:
    return [job for job in runtime.jobs.list(system=SYSTEM, limit=HISTORY) if job.action == "train"]


def _active(runtime: Runtime, name: str) -> bool:
    active = (JobState.QUEUED, JobState.RUNNING)
    return any(
        job.state in active and str(job.request.get("name", "")).strip().lower() == name for job in _trainings(runtime)
    )


def _view(weight: WeightFile) -> RefinerView:
    arguments: dict[str, Any] = dict(weight.config.get("arguments", {}))
    minutes = re.search(r"([\d.]+) minutes, [\d,]+ steps", weight.card)
    return RefinerView(
        name=weight.name,
        title=weight.title,
        shipped=weight.shipped,
        dimensions=int(arguments.get("dimensions", 2)),
        trained_on=_first_sentence(weight.card, "Trained on"),
        minutes=float(minutes.group(1)) if minutes else None,
        size=weight.size,
        sha256=weight.sha256,
        licence=weight.licence,
        card=weight.card,
    )


def _first_sentence(card: str, heading: str) -> str:
    found = re.search(rf"^#+\s*{heading}\s*\n+(.+?)(?:\n\s*\n|\n#|\Z)", card, re.MULTILINE | re.DOTALL)
    text = " ".join(found.group(1).replace("`", "").split()) if found else ""
    return re.split(r"(?<=\.)\s", text)[0]
