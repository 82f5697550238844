"""Cross-validation over a folder of (truth, prediction) pairs, one process a core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from backend.settings import get_settings
from backend.training.topology_measure import measures
from backend.weights import Weights
from models.topology.refiner import Refiner
from tests.benchmarks.topology_methods import Pair, Repair, fitted, read_pairs, refined, trivial

FOLDS = 5
FIT_MINUTES = 3.0
PAPER_MINUTES = 1.0
SHIPPED = {2: "topology/refiner2d", 3: "topology/refiner3d"}


@dataclass(frozen=True)
class Task:
    """One part of the work: a method group on one fold, and for what is trained, one seed."""

    case: Path
    group: str
    fold: int
    seed: int
    order_seed: int


@dataclass(frozen=True)
class Found:
    """The measures of one method on one mask."""

    method: str
    name: str
    values: dict[str, float]


def shipped(dimensions: int) -> Refiner:
    """The refiner that ships, on the CPU."""
    return Weights(get_settings()).load(
        SHIPPED[dimensions], lambda config: Refiner(**config["arguments"]), device="cpu"
    )


def cross_validate(case: Path, seed: int, *, full: bool) -> Iterator[list[Found]]:
    """Measures of every method on every tested mask of a folder: one fold and one seed, or all five and three seeds.

    Every process has one thread, so that a minute of training is the same minute however many run beside it.
    """
    folds, seeds = (range(FOLDS), range(seed, seed + 3)) if full else (range(1), range(seed, seed + 1))
    # The longest first, so that no core waits at the end for one that has just begun.
    tasks = [Task(case, group, fold, s, seed) for group in ("fitted", "paper") for fold in folds for s in seeds]
    tasks += [Task(case, group, fold, seed, seed) for group in ("shipped", "trivial") for fold in folds]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        yield from pool.map(run_task, tasks)


def split(pairs: list[Pair], fold: int, seed: int) -> tuple[list[Pair], list[Pair]]:
    """The training and the tested pairs of a fold."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    tested = set(np.array_split(order, FOLDS)[fold].tolist())
    return [pairs[i] for i in order if i not in tested], [pairs[i] for i in order if i in tested]


def run_task(task: Task) -> list[Found]:
    """Train or load, choose parameters on the training pairs, measure on the tested ones."""
    torch.set_num_threads(1)
    training, tested = split(read_pairs(task.case), task.fold, task.order_seed)
    repairs: dict[str, Repair]
    if task.group == "trivial":
        repairs = trivial(training)
    elif task.group == "shipped":
        repairs = {"shipped": refined(shipped(2), training)}
    else:
        recipe, minutes, start = (
            ("clustered", FIT_MINUTES, shipped(2)) if task.group == "fitted" else ("polynomial", PAPER_MINUTES, None)
        )
        model = fitted([pair.truth for pair in training], recipe, minutes, task.seed, start)
        repairs = {task.group: refined(model, training)}
    return [
        Found(method, pair.name, measures(repair(pair.upstream), pair.truth))
        for pair in tested
        for method, repair in repairs.items()
    ]
