"""``python -m tests.benchmarks.anomaly_choice``: the choice behind ``combined``, made on phantoms alone.

Persons of their own, with the families of lesions that trainings may see: neither the patients nor the persons and
families of the benchmark take part. For every sequence the rule with the highest average precision, as a mean over
persons and families, is told as it stands in ``models/anomaly/combine.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from os import cpu_count

import numpy as np
import torch

from backend.brain_atlas import brain_atlas
from models.anomaly.combine import Residual, Rule, combine, smoothed
from models.anomaly.network import Restorer, restoring
from models.anomaly.restore import PAPER, RestoreConfig, restore_volume
from models.metrics.ranking import average_precision
from models.phantoms.brain import TRAINING, Atlas
from tests.benchmarks.__main__ import table
from tests.benchmarks.anomaly_cases import SEQUENCES, Case, slabs
from tests.benchmarks.anomaly_methods import TRAININGS, network

CHOSEN_ON = 5_500_000
"""First seed of the persons."""
PERSONS = 4
SHARES = (0.0, 0.25, 0.5, 0.65, 0.75, 0.85, 0.9, 0.95, 1.0)
WIDTHS_MM = (0.7, 1.0, 1.5)
RESIDUALS: tuple[Residual, ...] = ("absolute", "brighter")
RULES = tuple(Rule(*one) for one in product(SHARES, RESIDUALS, WIDTHS_MM))


@dataclass(frozen=True)
class Tried:
    """Average precision of one slab: of every rule, of the plain maps by name."""

    family: str
    sequence: str
    rules: tuple[float, ...]
    plain: dict[str, float]


def choose(tried: Sequence[Tried], sequence: str) -> tuple[Rule, float]:
    """The rule with the highest mean over the slabs of a sequence, and that mean."""
    means = np.mean([one.rules for one in tried if one.sequence == sequence], axis=0)
    return RULES[int(means.argmax())], float(means.max())


def look(case: Case, family: str, model: Restorer) -> Tried:
    """All rules on one slab."""
    plan = RestoreConfig(neighbours=model.neighbours)
    made = restore_volume(restoring(model, case.sequence), case.image, case.inside, plan, each=True)
    truth = case.lesions[case.inside]

    def measured(heat: np.ndarray) -> float:
        return average_precision(heat[case.inside], truth)

    parts = (case.image, made.absolute, made.brighter, case.inside, case.sequence, case.spacing_mm)
    plain = {
        "intensity": measured(case.image),
        "smooth": measured(smoothed(case.image, case.spacing_mm)),
        "ensemble": measured(made.absolute),
        "signed": measured(made.brighter),
    }
    for severity, heat in zip(PAPER, () if made.each is None else made.each, strict=True):
        plain[f"single {severity:g}"] = measured(heat)
    return Tried(family, case.sequence, tuple(measured(combine(*parts, rule=rule)) for rule in RULES), plain)


def person(
    seed: int, atlas: Atlas | None = None, model: Restorer | None = None, families: Sequence[str] = TRAINING
) -> list[Tried]:
    """All slabs of one phantom, by the first training unless a ``model`` is given."""
    torch.set_num_threads(1)
    model = model or network(TRAININGS[0])
    if model is None:
        raise SystemExit(f"There are no weights {TRAININGS[0]}; train them with `python -m backend train anomaly`.")
    found = slabs(seed, families, tuple(SEQUENCES), atlas or brain_atlas())
    return [look(case, family, model) for family, case in found]


def main() -> int:
    """Print the table and the rules."""
    with ProcessPoolExecutor(cpu_count(), get_context("spawn")) as pool:
        tried = [one for found in pool.map(person, range(CHOSEN_ON, CHOSEN_ON + PERSONS)) for one in found]
    rows = []
    for sequence in SEQUENCES:
        own = [one for one in tried if one.sequence == sequence]
        rule, mean = choose(tried, sequence)
        index = RULES.index(rule)
        gains = np.array([one.rules[index] - one.plain["smooth"] for one in own])
        rows.append(
            {"sequence": sequence, "slabs": len(own)}
            | {name: float(np.mean([one.plain[name] for one in own])) for name in own[0].plain}
            | {"combined": mean, "not below smooth": f"{(gains >= 0).mean():.0%}"}
        )
        best = np.argsort(-np.mean([one.rules for one in own], axis=0))[:5]
        near = "; ".join(f"{RULES[i]}: {np.mean([one.rules[i] for one in own]):.4f}" for i in best)
        print(f"{sequence}: {rule}\n  next to it: {near}")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
