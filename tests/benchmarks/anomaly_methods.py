"""Every method's heat-map of a scan, and the work of one process: one patient's sequence, or one phantom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch

from backend.brain_atlas import brain_atlas
from backend.errors import UserError
from backend.settings import get_settings
from backend.weights import Weights
from models.anomaly.combine import combine, smoothed
from models.anomaly.network import Restorer, restoring
from models.anomaly.restore import PAPER, RestoreConfig, restore_volume
from models.metrics.ranking import average_precision
from models.phantoms.brain import UNSEEN
from tests.benchmarks.anomaly_cases import SEQUENCES, Case, Template, read_case, slabs
from tests.benchmarks.anomaly_scores import Score, Truth, score, truth_of

TRAININGS = ("anomaly/restorer", "anomaly/restorer-1")
"""The same recipe with two seeds."""
AUTOENCODER, DDPM = "anomaly/autoencoder", "anomaly/ddpm"
TRIVIAL = ("intensity", "smooth", "zscore")
OURS = ("single", "ensemble", "signed", "multistep", "combined", "smooth_ensemble", "smooth_signed")
METHODS = (*TRIVIAL, "autoencoder", "ddpm", *OURS)
SMOOTH_MM = 1.0
SINGLE = PAPER.index(0.27)
"""Which restoration of the ensemble stands alone: the third of four severities, about a typical corruption."""
STEPS = 4
"""Of a multi-step restoration, from every severity of the ensemble."""
NOISE = 0.27
"""Standard deviation of the noise that the denoiser restores from, in grey values of 0…1."""


@dataclass(frozen=True)
class Task:
    """One part of the work. ``patient`` and ``sequence``, or the phantom ``person`` in ``sequences``."""

    patient: Path | None = None
    sequence: str = ""
    person: int = 0
    sequences: tuple[str, ...] = tuple(SEQUENCES)
    seed: int = 0


@dataclass
class Found:
    """What a task found: by training (0, 1; the trivial and the other networks stand under 0), then by method.

    ``phantom``: lists of (family, sequence, average precision). ``facts``: voxels and lesions of the case; ``seconds``
    of the ensemble.
    """

    patients: dict[int, dict[str, Score]] = field(default_factory=dict)
    phantoms: dict[int, dict[str, list[tuple[str, str, float]]]] = field(default_factory=dict)
    facts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def network(name: str) -> Restorer | None:
    """The weights of that name on the CPU, one's own before the shipped ones; ``None`` where there are none."""
    try:
        made = Weights(get_settings()).load(name, lambda config: Restorer(**config["arguments"]), device="cpu")
    except UserError:
        return None
    return cast("Restorer", made)


def plain_maps(case: Case, template: Template | None) -> dict[str, np.ndarray]:
    """Heat-maps without any network; the z-score is that of the smoothed scan."""
    smooth = smoothed(case.image, case.spacing_mm, SMOOTH_MM)
    found = {"intensity": case.image, "smooth": smooth}
    if template is not None and case.to_atlas is not None:
        found["zscore"] = template.deviations(case, smooth)
    return found


def other_maps(case: Case, others: dict[str, Restorer]) -> dict[str, np.ndarray]:
    """|x − f| of the autoencoder and of the denoiser, whichever are given."""
    found = {}
    for name, model in others.items():
        plan = RestoreConfig(severities=(1.0,) if name == "autoencoder" else (NOISE,))
        found[name] = restore_volume(restoring(model, case.sequence), case.image, case.inside, plan).absolute
    return found


def our_maps(case: Case, model: Restorer, *, several: bool = True) -> tuple[dict[str, np.ndarray], float]:
    """Heat-maps of a restorer, ``several`` steps among them, and the seconds that the ensemble took."""
    restore = restoring(model, case.sequence)
    plan = RestoreConfig(neighbours=model.neighbours)
    began = time.perf_counter()
    made = restore_volume(restore, case.image, case.inside, plan, each=True)
    seconds = time.perf_counter() - began
    if made.each is None:
        raise AssertionError("every severity was asked for")
    found = {
        "single": made.each[SINGLE],
        "ensemble": made.absolute,
        "signed": made.brighter,
        "combined": combine(case.image, made.absolute, made.brighter, case.inside, case.sequence, case.spacing_mm),
        "smooth_ensemble": smoothed(made.absolute, case.spacing_mm, SMOOTH_MM),
        "smooth_signed": smoothed(made.brighter, case.spacing_mm, SMOOTH_MM),
    }
    if several:
        walk = RestoreConfig(several=STEPS, neighbours=model.neighbours)
        found["multistep"] = restore_volume(restore, case.image, case.inside, walk).absolute
    return found, seconds


class Worker:
    """The networks and the template, loaded once in a process that does tasks."""

    def __init__(self, template: Template | None) -> None:
        torch.set_num_threads(1)
        self.template = template
        self.ours = {index: model for index, name in enumerate(TRAININGS) if (model := network(name)) is not None}
        others = {"autoencoder": network(AUTOENCODER), "ddpm": network(DDPM)}
        self.others = {name: model for name, model in others.items() if model is not None}

    def do(self, task: Task) -> Found:
        """One task; heat-maps are measured and let go."""
        return self._patient(task, task.patient) if task.patient is not None else self._person(task)

    def _patient(self, task: Task, patient: Path) -> Found:
        case = read_case(patient, task.sequence, brain_atlas() if self.template is not None else None)
        truth = truth_of(case.lesions, case.inside, case.grid.voxel_ml)
        found = Found(facts=_facts(case, truth))
        for index, maps in self._all(case, found):
            found.patients[index] = {name: score(heat, truth, seed=task.seed) for name, heat in maps.items()}
        return found

    def _person(self, task: Task) -> Found:
        found = Found()
        for family, case in slabs(task.person, UNSEEN, task.sequences, brain_atlas()):
            for index, maps in self._all(case, found):
                of_training = found.phantoms.setdefault(index, {})
                for name, heat in maps.items():
                    ap = average_precision(heat[case.inside], case.lesions[case.inside])
                    of_training.setdefault(name, []).append((family, case.sequence, ap))
        return found

    def _all(self, case: Case, found: Found) -> Sequence[tuple[int, dict[str, np.ndarray]]]:
        first = plain_maps(case, self.template) | other_maps(case, self.others)
        made: dict[int, dict[str, np.ndarray]] = {0: first}
        for index, model in self.ours.items():
            # The second training tells how far chance goes; steps and times are those of the first.
            maps, seconds = our_maps(case, model, several=index == 0)
            made[index] = made.get(index, {}) | maps
            if index == 0:
                found.seconds = seconds
        return list(made.items())


def _facts(case: Case, truth: Truth) -> dict[str, int]:
    return {
        "voxels": int(case.inside.sum()),
        "lesion_voxels": len(truth.lesion),
        "left_out": int((case.lesions & ~case.inside).sum()),
        "lesions": len(truth.sizes),
    }


_worker: Worker | None = None


def begin(template: Template | None) -> None:
    """Prepare this process for :func:`run_task`."""
    global _worker
    _worker = Worker(template)


def run_task(task: Task) -> Found:
    """A task in a process that :func:`begin` prepared."""
    if _worker is None:
        raise RuntimeError("the process was not prepared")
    return _worker.do(task)
