"""Repairs that need no network, beside ours on the same input: a network is worth having only where it beats these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.services.topology.requests import Betti, ComparisonRow, SimpleRepairs, TruthErrors

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Simple:
    """One such repair. ``fields`` are the parameters of :class:`SimpleRepairs` that it reads."""

    name: str
    title: str
    meaning: str
    fields: tuple[str, ...]
    apply: Callable[[np.ndarray, np.ndarray, SimpleRepairs], np.ndarray]


def _small(probability: np.ndarray, mask: np.ndarray, tune: SimpleRepairs) -> np.ndarray:
    from models.topology.repairs import remove_small

    return remove_small(mask, tune.remove_below)


def _closing(probability: np.ndarray, mask: np.ndarray, tune: SimpleRepairs) -> np.ndarray:
    from models.topology.repairs import closing

    return closing(mask, tune.closing_radius) if tune.closing_radius else mask


def _hysteresis(probability: np.ndarray, mask: np.ndarray, tune: SimpleRepairs) -> np.ndarray:
    from models.topology.repairs import hysteresis

    return hysteresis(probability, tune.hysteresis_low, tune.hysteresis_high)


def _fill_holes(probability: np.ndarray, mask: np.ndarray, tune: SimpleRepairs) -> np.ndarray:
    from models.topology.repairs import tidy

    return tidy(mask, tune.remove_below, tune.fill_share, least=tune.fill_below)


SIMPLE: tuple[Simple, ...] = (
    Simple("small", "Remove small pieces", "Pieces below an area are deleted.", ("remove_below",), _small),
    Simple("closing", "Closing", "Gaps narrower than a disk are bridged.", ("closing_radius",), _closing),
    Simple(
        "hysteresis",
        "Hysteresis threshold",
        "Pixels above the low threshold are kept where they touch one above the high threshold.",
        ("hysteresis_low", "hysteresis_high"),
        _hysteresis,
    ),
    Simple(
        "fillholes",
        "Remove small pieces, fill small holes",
        "Pieces and holes below an area go, then holes far smaller than the usual one: the hardest to beat.",
        ("remove_below", "fill_below", "fill_share"),
        _fill_holes,
    ),
)


def compare(
    probability: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    tune: SimpleRepairs,
    *,
    soft: bool,
    truth: np.ndarray | None = None,
) -> tuple[ComparisonRow, ...]:
    """The input, every simple repair and our result, measured alike.

    ``probability`` is float32 [H, W] or [X, Y, Z] in 0..1; ``before``, ``after`` and ``truth`` are bool of its shape.
    Hysteresis needs a probability and is left out unless ``soft``. Where there is a truth, each row also says how far
    it is from it.
    """
    rows = [measure("input", "As given", "", before, before, truth)]
    for repair in SIMPLE:
        if repair.name == "hysteresis" and not soft:
            continue
        settings = ", ".join(f"{name} {getattr(tune, name):g}" for name in repair.fields)
        rows.append(
            measure(repair.name, repair.title, settings, before, repair.apply(probability, before, tune), truth)
        )
    rows.append(measure("refined", "Refined by the network", "", before, after, truth))
    return tuple(rows)


def measure(
    name: str, title: str, parameters: str, before: np.ndarray, mask: np.ndarray, truth: np.ndarray | None
) -> ComparisonRow:
    """One row: a bool mask [H, W] or [X, Y, Z] against the input and, if known, the truth."""
    from models.metrics.overlap import dice

    return ComparisonRow(
        name=name,
        title=title,
        parameters=parameters,
        betti=betti(mask),
        changed=int((mask != before).sum()),
        dice=float(dice(mask, before)),
        errors=None if truth is None else truth_errors(mask, truth),
    )


def betti(mask: np.ndarray) -> Betti:
    """Betti numbers of a bool mask [H, W] or [X, Y, Z], foreground connected over corners (8, 26)."""
    from models.metrics.betti import betti_numbers

    return Betti(*map(int, betti_numbers(mask)))


def truth_errors(mask: np.ndarray, truth: np.ndarray) -> TruthErrors:
    """How far a bool mask [H, W] or [X, Y, Z] is from the truth of the same shape."""
    from models.metrics.matching import betti_matching_error
    from models.metrics.overlap import cldice, dice

    ours, true = betti(mask), betti(truth)
    return TruthErrors(
        dice=float(dice(mask, truth)),
        cldice=float(cldice(mask, truth)),
        b0=abs(ours.b0 - true.b0),
        b1=abs(ours.b1 - true.b1),
        matching=int(betti_matching_error(mask, truth)),
        b2=None if ours.b2 is None or true.b2 is None else abs(ours.b2 - true.b2),
    )
