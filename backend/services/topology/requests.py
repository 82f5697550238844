"""Topology: repair breaks, holes, bridges and islands in a segmentation, and show every change.

The use cases as jobs. Foreground is 8-connected and background 4-connected throughout, so β₀ counts
8-connected pieces and β₁ the holes that 4-connected background forms inside them. Nothing heavy is imported on top.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from backend.jobs.contract import Action, JobContext
from backend.services.topology.input import EVERY_LABEL, Kind, LabelShare, Reading

CONNECTIVITY = "foreground 8-connected, background 4-connected"
DEFAULT_WEIGHTS = "topology/refiner2d"
REMOVE_BELOW = 64  # pixels
FILL_BELOW = 32  # pixels
FILL_SHARE = 0.15  # of the median hole

__all__ = [
    "ACTIONS",
    "CONNECTIVITY",
    "DEFAULT_WEIGHTS",
    "EVERY_LABEL",
    "FILL_BELOW",
    "FILL_SHARE",
    "REMOVE_BELOW",
    "Betti",
    "ChangeRow",
    "Cleaned",
    "ComparisonRow",
    "LabelShare",
    "RefineRequest",
    "RefineResult",
    "SimpleRepairs",
    "ThresholdRequest",
    "ThresholdResult",
    "TruthErrors",
]


@dataclass(frozen=True)
class Betti:
    """β₀, the separate pieces of a mask, and β₁, its holes; of a volume its tunnels, and β₂, its closed cavities."""

    b0: int
    b1: int
    b2: int | None = None

    def as_dict(self) -> dict[str, int]:
        """The numbers that there are, by name."""
        two = {"b0": self.b0, "b1": self.b1}
        return two if self.b2 is None else {**two, "b2": self.b2}


@dataclass(frozen=True)
class SimpleRepairs:
    """Parameters of the repairs that need no network, shown beside ours on the same input.

    ``remove_below`` and ``fill_below`` are areas in pixels, ``fill_share`` is a share of the median hole's area,
    ``closing_radius`` is in pixels; the hysteresis thresholds are probabilities and act only where the input is one.
    """

    remove_below: int = REMOVE_BELOW
    fill_below: int = FILL_BELOW
    fill_share: float = FILL_SHARE
    closing_radius: int = 2
    hysteresis_low: float = 0.3
    hysteresis_high: float = 0.7


class Cleaned(Protocol):
    """What every request that ends in a mask says: where to cut the probability, and what to clean away then."""

    @property
    def threshold(self) -> float:
        """Probability from which on an element is foreground."""

    @property
    def remove_below(self) -> int:
        """Pieces below this many pixels or voxels go; 0 keeps all."""

    @property
    def fill_below(self) -> int:
        """Holes below this are filled; 0 fills none."""

    @property
    def fill_share(self) -> float:
        """Holes below this share of the median one are filled; 0 fills none."""


@dataclass(frozen=True)
class RefineRequest:
    """Repair one two-dimensional segmentation.

    ``source`` is the artifact id of an upload or sample; ``truth`` optionally that of its true mask, for measuring
    only. ``reading``, ``channel``, ``label``, ``invert`` and ``mend_frame`` say how to read the file (see
    ``input``). ``input_threshold`` makes the mask "before", ``threshold`` the mask "after", both from
    probabilities in 0..1. ``remove_below``, ``fill_below`` (pixels) and ``fill_share`` (of the median hole) clean the
    refined mask of islands and holes that small, 0 switches each off; that cleaning alone stands beside the network.
    The result depends on nothing else, so a replay gives the same pixels.
    """

    source: str
    truth: str = ""
    reading: Reading = "auto"
    channel: str = ""
    label: int | None = None
    invert: bool = False
    mend_frame: bool = True
    input_threshold: float = 0.5
    threshold: float = 0.5
    weights: str = DEFAULT_WEIGHTS
    remove_below: int = REMOVE_BELOW
    fill_below: int = FILL_BELOW
    fill_share: float = FILL_SHARE
    compare: SimpleRepairs = field(default_factory=SimpleRepairs)
    seed: int = 0


@dataclass(frozen=True)
class ThresholdRequest:
    """Cut the stored probability of an earlier refinement at another threshold; no network is run.

    ``before`` and ``probability`` are artifacts of a :class:`RefineResult`; the rest as in :class:`RefineRequest`.
    """

    before: str
    probability: str
    threshold: float
    remove_below: int = REMOVE_BELOW
    fill_below: int = FILL_BELOW
    fill_share: float = FILL_SHARE
    seed: int = 0


@dataclass(frozen=True)
class ChangeRow:
    """One changed place: its number, kind, size in pixels, bounding box [x0, x1) × [y0, y1) and centre in pixels.

    ``b0`` and ``b1`` are what this place alone adds to the Betti numbers of the mask before.
    """

    n: int
    kind: str
    pixels: int
    x0: int
    y0: int
    x1: int
    y1: int
    cx: float
    cy: float
    b0: int
    b1: int


@dataclass(frozen=True)
class TruthErrors:
    """How far a mask is from the truth: Dice and clDice in 0..1 (1 is best), the others are errors (0 is best).

    ``matching`` pairs pieces and holes (in a volume pieces and cavities) by place; ``b2`` is of volumes only.
    """

    dice: float
    cldice: float
    b0: int
    b1: int
    matching: int
    b2: int | None = None


@dataclass(frozen=True)
class ComparisonRow:
    """One way to repair the same input: its Betti numbers, pixels changed, Dice with the input, errors if known."""

    name: str
    title: str
    parameters: str
    betti: Betti
    changed: int
    dice: float
    errors: TruthErrors | None = None


@dataclass(frozen=True)
class ThresholdResult:
    """Artifact ids of a mask at one threshold, its change map and its change table, with the numbers beside them.

    ``own`` is the mask in the format of the source, '' where that is what ``mask`` is already.
    """

    mask: str
    change_map: str
    change_table: str
    threshold: float
    before_betti: Betti
    after_betti: Betti
    dice: float
    changed: int
    change_count: int
    topological: int
    changes: tuple[ChangeRow, ...]
    own: str = ""


@dataclass(frozen=True)
class RefineResult:
    """What a refinement made. ``before``, ``mask``, ``probability``, ``change_map`` and ``change_table`` are artifacts.

    So is ``own``, the mask in the format of the source, which is '' where that is what ``mask`` is already.
    ``changes`` are the first of ``change_count`` (the table has all), of which ``topological`` change a Betti number;
    ``dice`` compares after with before; ``seconds`` is the network's time on ``megapixels``; ``notes`` say how the
    input was read.
    """

    before: str
    mask: str
    probability: str
    change_map: str
    change_table: str
    height: int
    width: int
    kind: Kind
    notes: tuple[str, ...]
    threshold: float
    before_betti: Betti
    after_betti: Betti
    dice: float
    changed: int
    change_count: int
    topological: int
    changes: tuple[ChangeRow, ...]
    comparison: tuple[ComparisonRow, ...]
    truth: Betti | None
    weights_sha256: str
    seconds: float
    megapixels: float
    own: str = ""


def refine(request: RefineRequest, ctx: JobContext) -> RefineResult:
    """Repair a segmentation by the network and store mask, probability, change map and change table."""
    from backend.services.topology.run import run_refine

    return run_refine(request, ctx)


def rethreshold(request: ThresholdRequest, ctx: JobContext) -> ThresholdResult:
    """Store the mask of an earlier refinement at another threshold, with its change map and table."""
    from backend.services.topology.run import run_threshold

    return run_threshold(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="topology",
        name="refine",
        run=refine,
        request=RefineRequest,
        result=RefineResult,
        summary="Repair the topology of a two-dimensional segmentation.",
    ),
    Action(
        system="topology",
        name="threshold",
        run=rethreshold,
        request=ThresholdRequest,
        result=ThresholdResult,
        summary="Keep a refinement at another threshold.",
    ),
)
