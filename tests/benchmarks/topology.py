"""Benchmark of the topology system: refiners beside trivial repairs on the same input, in one run.

For every folder of ``<data>/topology`` with ``truth`` and ``prediction``, a refiner is fitted to the truths of four
fifths of the masks and tested on the predictions of the rest (``--full``: all five folds, three seeds). The shipped
refiners, trained on phantoms, are tested on the same masks, on held-out phantoms in 2D and 3D, and shown on a retina
photograph without truth. Parameters of the trivial repairs, the refiners' threshold and the cleaning after them are
chosen on the training folds, by the Betti matching error. Foreground is 8-connected (26 in 3D), background 4-connected
(6).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np

from backend.training.topology import validation_set
from backend.training.topology_measure import measures
from models.metrics.betti import betti_numbers
from models.metrics.overlap import dice
from models.phantoms import curvilinear, segmenter
from models.topology.inference import refine
from models.topology.refiner import Refiner
from models.topology.vesselness import vesselness
from tests.benchmarks.harness import Options, Report, bootstrap, measure
from tests.benchmarks.topology_folds import FIT_MINUTES, FOLDS, PAPER_MINUTES, Found, cross_validate, shipped
from tests.benchmarks.topology_methods import METHODS, Pair, read_pairs, refined, trivial

MEASURES = ("dice", "cldice", "b0", "b1", "matching")
LOOKED_AT = {"topomortar": ("001", "002", "003", "004", "005", "006", "007", "008", "009", "010", "030", "035", "047")}
"""Masks that were looked at while the phantoms and the kinds of damage were designed; the rest is shown apart."""


def run(options: Options) -> Report:
    """All cases; see the module's docstring."""
    report = Report(notes=["connectivity: foreground 8 (2D) or 26 (3D), background 4 or 6; intervals: 95 % bootstrap"])
    folder = options.data / "topology" if options.data else None
    cases = sorted(p for p in folder.iterdir() if (p / "truth").is_dir()) if folder and folder.is_dir() else []
    if not cases:
        report.skipped.append("no folder with topology/<set>/truth and prediction in the data")
    for case in cases:
        _folder_case(case, options, report)
    for dimensions in (2, 3):
        _phantom_case(dimensions, options, report)
    _retina(report)
    _speed(report, options.seed)
    return report


def _folder_case(case: Path, options: Options, report: Report) -> None:
    if (count := len(read_pairs(case))) < FOLDS:
        report.skipped.append(f"{case.name}: {count} pairs are too few for {FOLDS} folds")
        return
    found = [entry for part in cross_validate(case, options.seed, full=options.full) for entry in part]
    report.metrics["fit_minutes"] = FIT_MINUTES
    report.notes.append(
        f"{case.name}: {'5 folds × 3 seeds' if options.full else 'one fold of 5, one seed'}; fitted starts from the "
        f"shipped weights and trains {FIT_MINUTES:g} min on one core, paper {PAPER_MINUTES:g} min from chance"
    )
    _table(case.name, found, report)
    unseen = [entry for entry in found if entry.name not in LOOKED_AT.get(case.name, ())]
    if options.full and len(unseen) < len(found):
        _table(f"{case.name}_unseen", unseen, report)


def _phantom_case(dimensions: int, options: Options, report: Report) -> None:
    held_out = validation_set(dimensions, count=(8 if dimensions == 2 else 12) if options.full else 4)
    pairs = [Pair(str(index), truth, upstream) for index, (truth, upstream) in enumerate(held_out)]
    # Parameters are chosen on phantoms of other identities, as they are on other folds above.
    tuning = _tuning_phantoms(dimensions)
    repairs = trivial(tuning) | {"shipped": refined(shipped(dimensions), tuning)}
    case = f"phantom{dimensions}d"
    report.notes.append(f"{case}: phantoms damaged by a simulated segmenter that no training uses")
    entries = product(pairs, repairs.items())
    _table(
        case,
        [Found(method, pair.name, measures(repair(pair.upstream), pair.truth)) for pair, (method, repair) in entries],
        report,
    )


def _tuning_phantoms(dimensions: int) -> list[Pair]:
    kinds, side = (curvilinear.KINDS, 320) if dimensions == 2 else (curvilinear.KINDS_3D, 64)
    drawn = []
    for kind, seed in product(kinds, range(200_000, 200_002 if dimensions == 2 else 200_005)):
        clean = curvilinear.sample(kind, (side,) * dimensions, seed)
        drawn.append(Pair(f"{kind} {seed}", clean, segmenter.simulate(clean, seed, difficulty=0.8)))
    return drawn


def _retina(report: Report) -> None:
    """A photograph of a retina through a vesselness filter: there is no truth, so pieces and holes are only counted."""
    from skimage import data

    upstream = vesselness(data.retina())
    tuning = _tuning_phantoms(2)
    repairs = trivial(tuning) | {"shipped": refined(shipped(2), tuning)}
    for method, repair in repairs.items():
        mask = repair(upstream)
        b0, b1 = betti_numbers(mask)[:2]
        changed = 1 - dice(mask, upstream > 0.5)
        report.metrics |= {f"retina.{method}.pieces": b0, f"retina.{method}.holes": b1}
        report.rows.append(
            {"case": "retina", "method": method, "pieces": b0, "holes": b1, "1 − Dice to input": changed}
        )
    report.notes.append("retina: a demonstration without truth; counts only, parameters chosen on phantoms")


def _table(case: str, found: Sequence[Found], report: Report) -> None:
    """Rows with intervals over masks (seeds are averaged first), and flat metrics."""
    for method in METHODS:
        of_mask: dict[str, list[dict[str, float]]] = {}
        for entry in found:
            if entry.method == method:
                of_mask.setdefault(entry.name, []).append(entry.values)
        if not of_mask:
            continue
        row: dict[str, object] = {"case": case, "method": method}
        for name in MEASURES:
            values = np.array([np.mean([repeat[name] for repeat in repeats]) for repeats in of_mask.values()])
            report.metrics[f"{case}.{method}.{name}"] = float(values.mean())
            row[name] = str(bootstrap(values))
            if name == "b1":
                report.metrics[f"{case}.{method}.b1_median"] = float(np.median(values))
                row["b1_median"] = f"{np.median(values):g}"
        row["n"] = len(of_mask)
        report.rows.append(row)


def _speed(report: Report, seed: int) -> None:
    import gudhi
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    ours, theirs = [], []
    for _ in range(5):
        mask = ndimage.gaussian_filter(rng.random((512, 512)), 3) > 0.5
        ours.append(measure(lambda mask=mask: betti_numbers(mask), repeats=20).median)
        began = time.perf_counter()
        persistence = gudhi.CubicalComplex(top_dimensional_cells=np.where(mask, 0.0, 1.0))
        persistence.compute_persistence()
        numbers = persistence.persistent_betti_numbers(0.5, 0.5)[:2]
        theirs.append(time.perf_counter() - began)
        if tuple(numbers) != betti_numbers(mask):
            raise AssertionError(f"Betti numbers differ from gudhi's: {betti_numbers(mask)} and {numbers}")
    report.metrics["betti.speedup_vs_gudhi"] = float(np.median(theirs) / np.median(ours))
    upstream = rng.random((1024, 1024)).astype(np.float32)
    report.metrics["seconds_per_megapixel"] = _seconds(shipped(2), upstream) / (upstream.size / 1e6)
    volume = rng.random((96, 96, 96)).astype(np.float32)
    report.metrics["seconds_per_megavoxel"] = _seconds(shipped(3), volume) / (volume.size / 1e6)


def _seconds(model: Refiner, upstream: np.ndarray) -> float:
    return measure(lambda: refine(model, upstream), repeats=2).median
