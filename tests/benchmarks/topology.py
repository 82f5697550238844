"""Benchmark of the topology system: refiners beside trivial repairs on the same input, in one run.

For every folder of ``<data>/topology`` with ``truth`` and ``prediction``, a refiner is fitted to the truths of four
fifths of the masks and tested on the predictions of the rest (``--full``: all five folds, three seeds). The shipped
refiner, trained on phantoms, is tested on the same masks, and on held-out phantoms. Parameters of the trivial repairs
are chosen on the training folds. ``fillholes`` is also every refiner's post-processing, chosen in the same way.
Foreground is 8-connected (26 in 3D), background 4-connected (6).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch

from backend.settings import get_settings
from backend.training.topology import WIDTHS, measures, validation_set
from backend.weights import Weights
from models.metrics.betti import betti_numbers
from models.metrics.matching import betti_matching_error
from models.topology.fit import FitConfig, fit
from models.topology.inference import refine
from models.topology.perturb import PerturbationConfig
from models.topology.refiner import Refiner
from models.topology.repairs import closing, copy_border, hysteresis, remove_small, tidy
from tests.benchmarks.harness import Options, Report, bootstrap, measure

FOLDS = 5
FIT_MINUTES = 4.0
PAPER_MINUTES = 2.0
SHIPPED = "topology/refiner2d"
METHODS = ("upstream", "small", "closing", "hysteresis", "fillholes", "paper", "shipped", "fitted")
MEASURES = ("dice", "cldice", "b0", "b1", "matching")


@dataclass(frozen=True)
class Pair:
    """One mask: bool truth and what an upstream segmenter made of it, float32 0…1, both (H, W)."""

    name: str
    truth: np.ndarray
    upstream: np.ndarray


@dataclass(frozen=True)
class Cleaning:
    """Parameters of ``tidy``: smallest piece (pixels), share of the median hole, smallest hole (pixels)."""

    size: int
    share: float
    least: int

    def __call__(self, mask: np.ndarray) -> np.ndarray:
        """The tidied mask."""
        return tidy(mask, self.size, self.share, least=self.least)


@dataclass(frozen=True)
class Tuned:
    """Parameters of the trivial repairs, chosen on training masks by the Betti matching error."""

    small: int
    radius: int
    hysteresis: tuple[float, float, float]
    tidy: Cleaning


def run(options: Options) -> Report:
    """All cases; see the module's docstring."""
    report = Report(notes=["connectivity: foreground 8 (2D) or 26 (3D), background 4 or 6; intervals: 95 % bootstrap"])
    shipped = Weights(get_settings()).load(SHIPPED, lambda config: Refiner(**config["arguments"]), device="cpu")
    folder = options.data / "topology" if options.data else None
    cases = sorted(p for p in folder.iterdir() if (p / "truth").is_dir()) if folder and folder.is_dir() else []
    if not cases:
        report.skipped.append("no folder with topology/<set>/truth and prediction in the data")
    for case in cases:
        _folder_case(case, shipped, options, report)
    _phantom_case(shipped, options, report)
    _speed(shipped, report, options.seed)
    return report


def read_pairs(case: Path) -> list[Pair]:
    """All pairs of a folder whose names occur under both ``truth`` and ``prediction``, sorted by name."""
    pairs = []
    for path in sorted((case / "truth").glob("*.png")):
        other = case / "prediction" / path.name
        if other.is_file():
            truth = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            upstream = cv2.imread(str(other), cv2.IMREAD_GRAYSCALE).astype(np.float32)
            pairs.append(Pair(path.stem, truth > truth.max() / 2, upstream / max(float(upstream.max()), 1.0)))
    return pairs


def trivial(upstream: np.ndarray, tuned: Tuned) -> dict[str, np.ndarray]:
    """The upstream mask and the trivial repairs of it. All but ``upstream`` get the border copied first."""
    mended = copy_border(upstream)
    mask = mended > 0.5
    blur, low, high = tuned.hysteresis
    return {
        "upstream": upstream > 0.5,
        "small": remove_small(mask, tuned.small),
        "closing": closing(mask, tuned.radius),
        "hysteresis": hysteresis(mended, low, high, blur),
        "fillholes": tuned.tidy(mask),
    }


def tune(pairs: Sequence[Pair]) -> Tuned:
    """Choose the parameters of every trivial repair by the mean Betti matching error over ``pairs``."""
    masks = [(copy_border(pair.upstream), pair.truth) for pair in pairs]

    def best(candidates: Sequence, repair: Callable) -> object:
        scores = [np.mean([measures(repair(m, c), t)["matching"] for m, t in masks]) for c in candidates]
        return candidates[int(np.argmin(scores))]

    sizes = (50, 100, 200, 400, 800)
    return Tuned(
        small=best(sizes, lambda m, size: remove_small(m > 0.5, size)),
        radius=best((1, 2, 3, 5), lambda m, radius: closing(m > 0.5, radius)),
        hysteresis=best(
            [(b, low, high) for b in (1.0, 2.0) for low in (0.3, 0.4, 0.5) for high in (0.6, 0.8, 0.9)],
            lambda m, p: hysteresis(m, p[1], p[2], p[0]),
        ),
        tidy=best_cleaning([(m > 0.5, t) for m, t in masks]),
    )


def best_cleaning(masks: Sequence[tuple[np.ndarray, np.ndarray]]) -> Cleaning:
    """The ``tidy`` with the least mean Betti matching error over (mask, truth) pairs."""
    choices = [Cleaning(*values) for values in product((50, 100, 200, 400, 800), (0.05, 0.15, 0.3), (0, 16, 32, 64))]
    scores = [np.mean([betti_matching_error(clean(mask), truth) for mask, truth in masks]) for clean in choices]
    return choices[int(np.argmin(scores))]


def cleaned(model: Refiner, training: Sequence[Pair]) -> Callable[[np.ndarray], np.ndarray]:
    """A refiner with ``tidy`` after it, its parameters chosen on a dozen training masks, as the baseline's are."""
    chosen = training[:: max(1, len(training) // 12)][:12]
    clean = best_cleaning([(refine(model, copy_border(pair.upstream)) > 0.5, pair.truth) for pair in chosen])
    return lambda upstream: clean(refine(model, copy_border(upstream)) > 0.5)


def fitted(truths: Sequence[np.ndarray], recipe: str, minutes: float, seed: int, start: Refiner | None) -> Refiner:
    """A refiner trained for ``minutes`` on clean masks; it starts from ``start`` or from chance."""
    torch.manual_seed(seed)
    model = Refiner(**start.arguments) if start is not None else Refiner(2, WIDTHS[2])
    rate = FitConfig().learning_rate
    if start is not None:
        model.load_state_dict(start.state_dict())
        rate /= 2
    config = FitConfig(learning_rate=rate, perturbation=PerturbationConfig(recipe=recipe))
    fit(model, truths, config, minutes=minutes, seed=seed)
    return model


def _folder_case(case: Path, shipped: Refiner, options: Options, report: Report) -> None:
    pairs = read_pairs(case)
    if len(pairs) < FOLDS:
        report.skipped.append(f"{case.name}: {len(pairs)} pairs are too few for {FOLDS} folds")
        return
    order = np.random.default_rng(options.seed).permutation(len(pairs))
    folds = np.array_split(order, FOLDS)
    seeds = range(options.seed, options.seed + (3 if options.full else 1))
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for fold in folds if options.full else folds[:1]:
        tested = [pairs[i] for i in fold]
        training = [pairs[i] for i in order if i not in set(fold.tolist())]
        tuned = tune(training)
        truths = [pair.truth for pair in training]
        repair = cleaned(shipped, training)
        for pair in tested:
            masks = trivial(pair.upstream, tuned) | {"shipped": repair(pair.upstream)}
            for method, mask in masks.items():
                _note(found, method, pair, mask)
        for seed in seeds:
            for method, recipe, minutes, start in (
                ("paper", "polynomial", PAPER_MINUTES, None),
                ("fitted", "clustered", FIT_MINUTES, shipped),
            ):
                repair = cleaned(fitted(truths, recipe, minutes, seed, start), training)
                for pair in tested:
                    _note(found, method, pair, repair(pair.upstream))
    report.metrics["fit_minutes"] = FIT_MINUTES
    report.notes.append(
        f"{case.name}: {'5 folds × 3 seeds' if options.full else 'one fold of 5, one seed'}; fitted starts from the "
        f"shipped weights and trains {FIT_MINUTES:g} min, paper {PAPER_MINUTES:g} min from chance"
    )
    _table(case.name, found, report)


def _phantom_case(shipped: Refiner, options: Options, report: Report) -> None:
    held_out = validation_set(2, count=8 if options.full else 4)
    pairs = [Pair(str(i), truth, upstream) for i, (truth, upstream) in enumerate(held_out)]
    # Parameters are chosen on phantoms of other identities, as they are on other folds above.
    tuning = [Pair(str(i), truth, upstream) for i, (truth, upstream) in enumerate(_tuning_phantoms())]
    tuned, repair = tune(tuning), cleaned(shipped, tuning)
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for pair in pairs:
        masks = trivial(pair.upstream, tuned)
        masks["shipped"] = repair(pair.upstream)
        for method, mask in masks.items():
            _note(found, method, pair, mask)
    report.notes.append("phantom2d: phantoms damaged by a simulated segmenter that no training uses")
    _table("phantom2d", found, report)


def _tuning_phantoms() -> list[tuple[np.ndarray, np.ndarray]]:
    from models.phantoms import curvilinear, segmenter

    drawn = []
    for kind in curvilinear.KINDS:
        for seed in (200_000, 200_001):
            clean = curvilinear.sample(kind, 320, seed)
            drawn.append((clean, segmenter.simulate(clean, seed, difficulty=0.8)))
    return drawn


def _note(found: dict, method: str, pair: Pair, mask: np.ndarray) -> None:
    for name, value in measures(mask, pair.truth).items():
        found.setdefault((method, name), {}).setdefault(pair.name, []).append(value)


def _table(case: str, found: dict[tuple[str, str], dict[str, list[float]]], report: Report) -> None:
    """Rows with intervals over masks (seeds are averaged first), and flat metrics."""
    for method in METHODS:
        if (method, "dice") not in found:
            continue
        row: dict[str, object] = {"case": case, "method": method}
        for name in MEASURES:
            values = np.array([np.mean(repeats) for repeats in found[method, name].values()])
            report.metrics[f"{case}.{method}.{name}"] = float(values.mean())
            row[name] = str(bootstrap(values))
        median = float(np.median([np.mean(repeats) for repeats in found[method, "b1"].values()]))
        report.metrics[f"{case}.{method}.b1_median"] = median
        row["b1_median"] = f"{median:g}"
        row["n"] = len(found[method, "dice"])
        report.rows.append(row)


def _speed(shipped: Refiner, report: Report, seed: int) -> None:
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
    side = 1024
    upstream = rng.random((side, side)).astype(np.float32)
    seconds = measure(lambda: refine(shipped, upstream), repeats=2).median
    report.metrics["seconds_per_megapixel"] = seconds / (side * side / 1e6)
