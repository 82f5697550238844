"""The list of systems. Tabs, command line, README table and the documentation test are all drawn from it.

To add a system: write ``models/<name>``, ``backend/services/<name>.py``, ``app/tabs/<name>.py`` and one entry here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from backend.errors import UserError

if TYPE_CHECKING:
    from backend.jobs.contract import Action

State = Literal["working", "first part", "not yet"]


@dataclass(frozen=True)
class System:
    """One published method as a working system. ``service``, ``tab`` and ``benchmark`` are module names, '' if none."""

    name: str
    title: str
    paper: str
    summary: str
    state: State = "not yet"
    service: str = ""
    tab: str = ""
    weights: tuple[str, ...] = ()
    benchmark: str = ""

    def actions(self) -> dict[str, Action]:
        """What the system can do as jobs, by name; imports its service module, which must not import torch on top."""
        if not self.service:
            return {}
        return {action.name: action for action in import_module(self.service).ACTIONS}


class Catalogue:
    """Systems by name, in the order they were registered."""

    def __init__(self) -> None:
        self._systems: dict[str, System] = {}

    def register(self, system: System) -> System:
        """Add a system. Raises ``ValueError`` when the name is taken."""
        if system.name in self._systems:
            raise ValueError(f"system {system.name!r} is registered twice")
        self._systems[system.name] = system
        return system

    def get(self, name: str) -> System:
        """The system of that name. Raises ``UserError`` when there is none."""
        try:
            return self._systems[name]
        except KeyError:
            names = ", ".join(self._systems)
            raise UserError(f"There is no system called {name!r}.", what_to_do=f"Choose one of: {names}.") from None

    def action(self, system: str, name: str) -> Action:
        """One action of one system. Raises ``UserError`` when either does not exist."""
        actions = self.get(system).actions()
        if name not in actions:
            known = ", ".join(actions) or "none yet"
            raise UserError(f"The system {system!r} has no action {name!r}.", what_to_do=f"It has: {known}.")
        return actions[name]

    def __iter__(self) -> Iterator[System]:
        return iter(self._systems.values())

    def __len__(self) -> int:
        return len(self._systems)


CATALOGUE = Catalogue()

for _system in (
    System(
        name="slides",
        title="Slides",
        paper="URCDM: Ultra-Resolution Cascaded Diffusion (arXiv 2407.13277)",
        summary="Look at whole slides at every magnification; later, synthesise them.",
        state="first part",
        service="backend.services.slides",
        tab="app.tabs.slides",
        benchmark="tests.benchmarks.house",
    ),
    System(
        name="topology",
        title="Topology",
        paper="Universal Topology Refinement with Polynomial Feature Synthesis (arXiv 2409.09796)",
        summary="Repair breaks, holes, bridges and islands in a segmentation and show every change.",
        state="working",
        service="backend.services.topology",
        tab="app.tabs.topology",
        weights=("topology/refiner2d", "topology/refiner3d"),
        benchmark="tests.benchmarks.topology",
    ),
    System(
        name="echo",
        title="Echo",
        paper="JVID: Joint Video-Image Diffusion (arXiv 2409.14149)",
        summary="Measure the ejection fraction of any clip; make a heart beat with the one you ask for.",
        state="first part",
        service="backend.services.echo",
        tab="app.tabs.echo",
        weights=(
            "echo/autoencoder",
            "echo/image",
            "echo/video",
            "echo/student",
            "echo/meter2d",
            "echo/regressor",
        ),
        benchmark="tests.benchmarks.echo",
    ),
    System(
        name="privacy",
        title="Privacy",
        paper="Uncovering Hidden Subspaces in Video Diffusion Models Using Re-Identification (arXiv 2411.04956)",
        summary="Which synthetic images are copies, and how much of the training set was learned.",
    ),
    System(
        name="noise",
        title="Noise",
        paper="Noise Crystallization and Liquid Noise (arXiv 2410.05322)",
        summary="Video from an image model without training.",
    ),
    System(
        name="anomaly",
        title="Anomaly",
        paper="Ensembled Cold-Diffusion Restorations for Unsupervised Anomaly Detection (arXiv 2407.06635)",
        summary="Brain-MRI heat-maps of what does not look healthy.",
        state="first part",
        service="backend.services.anomaly",
        tab="app.tabs.anomaly",
        benchmark="tests.benchmarks.anomaly",
    ),
    System(
        name="reliability",
        title="Reliability",
        paper="Bias Assessment and Data Drift Detection in Medical Image Analysis (arXiv 2409.17800)",
        summary="Has the data drifted, what does the model encode, is it still right?",
    ),
    System(
        name="consensus",
        title="Consensus",
        paper="Truth or Deceit? A Bayesian Decoding Game (arXiv 2410.01064)",
        summary="Answers that say when generator and verifier disagree.",
    ),
    System(
        name="distillation",
        title="Distillation",
        paper="Data-Efficient Generation for Dataset Distillation (arXiv 2409.03929)",
        summary="A small synthetic set that trains like a large real one.",
    ),
    System(
        name="forward",
        title="Forward-forward",
        paper="Self-adapting Forward-Forward Network, SaFF-Net (arXiv 2406.14038)",
        summary="Networks trained layer by layer, without back-propagation.",
    ),
):
    CATALOGUE.register(_system)
