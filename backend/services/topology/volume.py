"""Topology of volumes: what the jobs take and give. Nothing heavy is imported on top.

Foreground voxels that touch at a corner belong together (26-connected), background voxels must share a face
(6-connected): β₀ counts pieces, β₁ tunnels and closed loops, β₂ cavities that are shut off inside the foreground.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backend.jobs.contract import Action, JobContext
from backend.services.topology.input import Kind, Reading
from backend.services.topology.requests import FILL_SHARE, Betti, ComparisonRow, SimpleRepairs

VOLUME_CONNECTIVITY = "foreground 26-connected, background 6-connected"
VOLUME_WEIGHTS = "topology/refiner3d"
VOLUME_REMOVE_BELOW = 20  # voxels: at 1 mm a lesion of 3 mm across still stays
VOLUME_FILL_BELOW = 20  # voxels


def volume_repairs() -> SimpleRepairs:
    """The repairs without a network as they are set for a volume at first."""
    return SimpleRepairs(remove_below=VOLUME_REMOVE_BELOW, fill_below=VOLUME_FILL_BELOW)


@dataclass(frozen=True)
class VolumeRequest:
    """Repair one three-dimensional segmentation.

    As :class:`~backend.services.topology.requests.RefineRequest`, with sizes in voxels. Where voxels are longer in one
    direction than in another, ``cubic`` refines on a grid of nearly cubic voxels and samples the result back at the
    given ones; without it the network sees the voxels as they are.
    """

    source: str
    truth: str = ""
    reading: Reading = "auto"
    channel: str = ""
    label: int | None = None
    invert: bool = False
    cubic: bool = True
    input_threshold: float = 0.5
    threshold: float = 0.5
    weights: str = VOLUME_WEIGHTS
    remove_below: int = VOLUME_REMOVE_BELOW
    fill_below: int = VOLUME_FILL_BELOW
    fill_share: float = FILL_SHARE
    compare: SimpleRepairs = field(default_factory=volume_repairs)
    seed: int = 0


@dataclass(frozen=True)
class VolumeThresholdRequest:
    """Cut the stored probability of an earlier refinement at another threshold; no network is run.

    ``before`` and ``probability`` are artifacts of a :class:`VolumeResult`; the rest as in :class:`VolumeRequest`.
    """

    before: str
    probability: str
    threshold: float
    remove_below: int = VOLUME_REMOVE_BELOW
    fill_below: int = VOLUME_FILL_BELOW
    fill_share: float = FILL_SHARE
    seed: int = 0


@dataclass(frozen=True)
class VolumeChange:
    """One changed place of a volume.

    ``voxels`` is its size, ``ml`` its volume in millilitres (``None`` where the voxel size is unknown); the box
    [x0, x1) × [y0, y1) × [z0, z1) and the centre (``cx``, ``cy``, ``cz``) are voxel indices along the axes of the file
    (columns, rows, slices), ``mm`` is the centre in the file's own millimetres, RAS+. ``at`` is the voxel of the place
    nearest to its centre, which itself may lie outside. ``b0``, ``b1`` and ``b2`` are what this place alone adds to the
    Betti numbers of the mask before.
    """

    n: int
    kind: str
    voxels: int
    ml: float | None
    x0: int
    y0: int
    z0: int
    x1: int
    y1: int
    z1: int
    at: tuple[int, int, int]
    cx: float
    cy: float
    cz: float
    mm: tuple[float, float, float] | None
    b0: int
    b1: int
    b2: int


@dataclass(frozen=True)
class VolumeThresholdResult:
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
    changes: tuple[VolumeChange, ...]
    own: str = ""


@dataclass(frozen=True)
class VolumeResult:
    """What a refinement made. ``before``, ``mask``, ``probability``, ``change_map`` and ``change_table`` are artifacts.

    So is ``own``, the mask in the format of the source, which is '' where that is what ``mask`` is already. The first
    four are NIfTI volumes on the grid of the source: uint8 masks, a probability that is stored in 255 steps,
    and the kind of change in each voxel by its code. ``shape`` is (x, y, z), ``spacing_mm`` ``None`` where the source
    does not tell it. ``changes`` are the first of ``change_count`` (the table has all), of which ``topological`` change
    a Betti number; ``seconds`` is the network's time on ``megavoxels``; ``notes`` say how the input was read.
    """

    before: str
    mask: str
    probability: str
    change_map: str
    change_table: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float] | None
    kind: Kind
    notes: tuple[str, ...]
    threshold: float
    before_betti: Betti
    after_betti: Betti
    dice: float
    changed: int
    change_count: int
    topological: int
    changes: tuple[VolumeChange, ...]
    comparison: tuple[ComparisonRow, ...]
    truth: Betti | None
    weights_sha256: str
    seconds: float
    megavoxels: float
    own: str = ""


def refine_volume(request: VolumeRequest, ctx: JobContext) -> VolumeResult:
    """Repair a volume by the network and store mask, probability, change map and change table."""
    from backend.services.topology.volume_run import run_volume

    return run_volume(request, ctx)


def rethreshold_volume(request: VolumeThresholdRequest, ctx: JobContext) -> VolumeThresholdResult:
    """Store the mask of an earlier refinement at another threshold, with its change map and table."""
    from backend.services.topology.volume_run import run_volume_threshold

    return run_volume_threshold(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="topology",
        name="refine_volume",
        run=refine_volume,
        request=VolumeRequest,
        result=VolumeResult,
        summary="Repair the topology of a three-dimensional segmentation.",
    ),
    Action(
        system="topology",
        name="threshold_volume",
        run=rethreshold_volume,
        request=VolumeThresholdRequest,
        result=VolumeThresholdResult,
        summary="Keep the refinement of a volume at another threshold.",
    ),
)
