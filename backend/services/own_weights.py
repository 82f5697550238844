"""A person's own weights of one system: how they are named, where they lie, which trainings were stopped.

One :class:`OwnWeights` a system. Finished weights lie under ``weights/<system>/<name>`` of the home folder; a training
works under ``training/<system>/<name>``, where no weights are looked for, and leaves its checkpoint there.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.identity import Actor
from backend.jobs.contract import JobView
from backend.weights import MODEL, SHIPPED, WeightFile

if TYPE_CHECKING:
    from backend.runtime import Runtime

CHECKPOINT = "checkpoint.pt"
HISTORY = 500  # jobs that are looked through for the training that left a checkpoint
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")


@dataclass(frozen=True)
class StoppedView:
    """A training that left a checkpoint: how far it came, and the job to go on from (``None``: not one of the page)."""

    name: str
    fraction: float
    minutes: float
    job: JobView | None


@dataclass(frozen=True)
class OwnWeights:
    """``noun`` is what sentences call such weights, ``example`` a name for them; trainings are jobs called ``action``.

    The request of such a job has the fields ``name`` and ``minutes``.
    """

    system: str
    noun: str
    example: str
    action: str = "train"

    def name(self, text: str) -> str:
        """The name as it is kept: lower case letters, digits, - and _. Raises ``UserError`` for any other."""
        name = text.strip().lower()
        if not name:
            raise UserError(
                f"The {self.noun} has no name.",
                "Its weights are found by their name.",
                f"Name it, such as {self.example}.",
            )
        if not _NAME.fullmatch(name):
            raise UserError(
                "This name cannot be used.",
                "A name has up to 40 letters a to z, digits, - and _, and begins with a letter or digit.",
                f"Name it, such as {self.example}.",
            )
        return name

    def folder(self, home: Path, name: str) -> Path:
        """Where finished weights lie."""
        return home / "weights" / self.system / name

    def work(self, home: Path, name: str) -> Path:
        """Where a training works and leaves its checkpoint."""
        return home / "training" / self.system / name

    def free(self, home: Path, name: str) -> None:
        """Raise ``UserError`` when weights have the name already, one's own or shipped ones."""
        if (SHIPPED / self.system / name).is_dir():
            raise UserError(
                f"The name {name!r} belongs to a {self.noun} that SynthScope brings.",
                "Another of that name would hide it.",
                "Choose another name.",
            )
        folder = self.folder(home, name)
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"There is a {self.noun} called {name!r} already.", "", "Choose another name, or delete that one first."
            )

    def check_free(self, runtime: Runtime, text: str) -> str:
        """The checked name for a new training. Raises ``UserError`` when it cannot be used now."""
        name = self.name(text)
        self.free(runtime.settings.home, name)
        if self.active(runtime, name):
            raise UserError(
                f"A {self.noun} called {name!r} is being trained now.",
                "",
                "Wait for it, cancel it, or choose another name.",
            )
        return name

    def weights(self, runtime: Runtime) -> list[WeightFile]:
        """All weights of the system on this machine, the shipped ones first."""
        found = [weight for weight in runtime.weights.available() if weight.name.startswith(f"{self.system}/")]
        return sorted(found, key=lambda weight: (not weight.shipped, weight.name))

    def stopped(self, runtime: Runtime) -> list[StoppedView]:
        """Trainings that were stopped and can go on."""
        folder = self.work(runtime.settings.home, "x").parent
        names = sorted(path.parent.name for path in folder.glob(f"*/{CHECKPOINT}")) if folder.is_dir() else []
        found = []
        for name in names:
            if self.active(runtime, name):
                continue
            job = next((job for job in self._trainings(runtime) if _asked(job) == name), None)
            fraction = job.fraction if job else 0.0
            found.append(StoppedView(name, fraction, float(job.request.get("minutes", 0)) if job else 0.0, job))
        return found

    def is_stopped(self, runtime: Runtime, name: str) -> bool:
        """Whether a training of that name left a checkpoint."""
        return (self.work(runtime.settings.home, name) / CHECKPOINT).is_file()

    def delete(self, runtime: Runtime, name: str, *, actor: Actor) -> None:
        """Take weights of one's own away; the audit log keeps their hash and card.

        Raises ``UserError`` when there are none of that name, or they are shipped.
        """
        short = self.name(name.removeprefix(f"{self.system}/"))
        folder = self.folder(runtime.settings.home, short)
        if not (folder / MODEL).is_file():
            shipped = (SHIPPED / self.system / short).is_dir()
            raise UserError(
                f"There is no {self.noun} of your own called {short!r}.",
                "It is one that SynthScope brings." if shipped else "It was deleted already, or never finished.",
                f"Shipped {self.noun}s stay." if shipped else "",
            )
        weight = runtime.weights.find(f"{self.system}/{short}")
        old = {"sha256": weight.sha256, "size": weight.size, "card": weight.card}
        with runtime.scratch.workdir() as trash:
            away = trash / "weights"
            folder.rename(away)
            try:
                runtime.audit.append(actor=actor, action="weights.delete", subject=f"weights:{weight.name}", old=old)
            except BaseException:
                away.rename(folder)  # what is not in the log has not happened
                raise

    def discard(self, runtime: Runtime, name: str, *, actor: Actor) -> None:
        """Throw the checkpoint of a stopped training away. Raises ``UserError`` when there is none, or it runs now."""
        short = self.name(name)
        if not self.is_stopped(runtime, short):
            raise UserError(
                f"There is no stopped training called {short!r}.", "It was discarded already, or it finished."
            )
        if self.active(runtime, short):
            raise UserError(f"The training of {short!r} runs now.", "", "Cancel it first.")
        runtime.audit.append(actor=actor, action="training.discard", subject=f"training:{self.system}/{short}")
        shutil.rmtree(self.work(runtime.settings.home, short), ignore_errors=True)

    def active(self, runtime: Runtime, name: str) -> bool:
        """Whether a training of that name waits or runs."""
        return any(not job.state.final and _asked(job) == name for job in self._trainings(runtime))

    def _trainings(self, runtime: Runtime) -> Sequence[JobView]:
        return [job for job in runtime.jobs.list(system=self.system, limit=HISTORY) if job.action == self.action]


def trained_on(weight: WeightFile) -> str:
    """The first sentence of what the card says the weights were trained on."""
    found = re.search(r"^#+\s*Trained on\s*\n+(.+?)(?:\n\s*\n|\n#|\Z)", weight.card, re.MULTILINE | re.DOTALL)
    text = " ".join(found.group(1).replace("`", "").split()) if found else ""
    return re.split(r"(?<=\.)\s", text)[0]


def trained_minutes(weight: WeightFile) -> float | None:
    """How long the card says they were trained, in minutes."""
    found = re.search(r"([\d.]+) minutes, [\d,]+ steps", weight.card)
    return float(found.group(1)) if found else None


def _asked(job: JobView) -> str:
    return str(job.request.get("name", "")).strip().lower()
