"""The refiners on this machine: which there are, which trainings were stopped, and how they are taken away."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.identity import Actor
from backend.services.own_weights import StoppedView, trained_minutes, trained_on
from backend.services.topology.training import OWN
from backend.weights import WeightFile

if TYPE_CHECKING:
    from backend.runtime import Runtime


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


def weights_folder(home: Path, name: str) -> Path:
    """Where a refiner of one's own lies."""
    return OWN.folder(home, name)


def work_folder(home: Path, name: str) -> Path:
    """Where the training of a refiner works and leaves its checkpoint; no weights are looked for there."""
    return OWN.work(home, name)


def free_name(home: Path, name: str) -> None:
    """Raise ``UserError`` when a refiner has the name already, one's own or a shipped one."""
    OWN.free(home, name)


def check_free(runtime: Runtime, text: str) -> str:
    """The checked name for a new training. Raises ``UserError`` when it cannot be used now."""
    return OWN.check_free(runtime, text)


def refiners(runtime: Runtime) -> list[RefinerView]:
    """Every refiner on this machine, the shipped ones first."""
    return [_view(weight) for weight in OWN.weights(runtime)]


def stopped(runtime: Runtime) -> list[StoppedView]:
    """Trainings that were stopped and can go on."""
    return OWN.stopped(runtime)


def is_stopped(runtime: Runtime, name: str) -> bool:
    """Whether a training of that name left a checkpoint."""
    return OWN.is_stopped(runtime, name)


def delete_refiner(runtime: Runtime, name: str, *, actor: Actor) -> None:
    """Take a refiner of one's own away; the audit log keeps its hash and card.

    Raises ``UserError`` when there is none of that name, or it is a shipped one.
    """
    OWN.delete(runtime, name, actor=actor)


def discard(runtime: Runtime, name: str, *, actor: Actor) -> None:
    """Throw the checkpoint of a stopped training away. Raises ``UserError`` when there is none, or it runs now."""
    OWN.discard(runtime, name, actor=actor)


def _view(weight: WeightFile) -> RefinerView:
    arguments: dict[str, Any] = dict(weight.config.get("arguments", {}))
    return RefinerView(
        name=weight.name,
        title=weight.title,
        shipped=weight.shipped,
        dimensions=int(arguments.get("dimensions", 2)),
        trained_on=trained_on(weight),
        minutes=trained_minutes(weight),
        size=weight.size,
        sha256=weight.sha256,
        licence=weight.licence,
        card=weight.card,
    )
