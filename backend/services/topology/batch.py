"""Many files as one job: what it takes and gives. Nothing heavy is imported on top.

Every file is refined with the same settings, one after another. What is finished is stored at once, so that a cancelled
batch keeps it: each mask carries its row of the table among its properties, from which the page and the action
``collect`` put the rest together. A file that cannot be repaired has a sentence in its row instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backend.jobs.contract import Action, JobContext
from backend.services.topology.input import Reading
from backend.services.topology.requests import (
    DEFAULT_WEIGHTS,
    FILL_BELOW,
    FILL_SHARE,
    REMOVE_BELOW,
    Betti,
    TruthErrors,
)
from backend.services.topology.volume import VOLUME_FILL_BELOW, VOLUME_REMOVE_BELOW, VOLUME_WEIGHTS

MOST_FILES = 1000


@dataclass(frozen=True)
class Problem:
    """Why one file has no result, in the sentences of a ``UserError``; ``number`` counts the files from 1."""

    number: int
    what: str
    why: str = ""
    what_to_do: str = ""


@dataclass(frozen=True)
class BatchRequest:
    """Repair many segmentations with the same settings.

    ``sources`` are artifact ids of uploads, pictures and volumes mixed; ``truths`` is empty or holds for each source
    the id of its true mask or '', for measuring only. ``refused`` are files that were turned away on arrival: they keep
    their numbers, the sources take the others in order. ``each_label`` refines every label of a label map by itself;
    without it all labels are one foreground. The rest is as for single files; ``volume_…`` holds for volumes.
    """

    sources: tuple[str, ...]
    truths: tuple[str, ...] = ()
    refused: tuple[Problem, ...] = ()
    reading: Reading = "auto"
    each_label: bool = True
    invert: bool = False
    mend_frame: bool = True
    cubic: bool = True
    input_threshold: float = 0.5
    threshold: float = 0.5
    weights: str = DEFAULT_WEIGHTS
    volume_weights: str = VOLUME_WEIGHTS
    remove_below: int = REMOVE_BELOW
    fill_below: int = FILL_BELOW
    volume_remove_below: int = VOLUME_REMOVE_BELOW
    volume_fill_below: int = VOLUME_FILL_BELOW
    fill_share: float = FILL_SHARE
    seed: int = 0


@dataclass(frozen=True)
class BatchRow:
    """One file: what it was, what became of it, or its ``problem``.

    ``shape`` is (H, W) or (X, Y, Z); ``content`` says in words what was read. ``before`` and ``after`` are Betti
    numbers (of a label map their sums over its classes, of which there are ``classes``; 0 for a single mask);
    ``changed`` counts pixels or voxels, ``places`` connected places among them by kind in ``kinds``, ``topological``
    those that alter a Betti number. ``dice`` compares with the input, over classes the mean. ``errors_before`` and
    ``errors`` measure input and result against the true mask. ``mask``, ``layers`` and ``table`` are artifact ids;
    ``layers`` is a picture, of a volume that of slice ``slice``. ``seconds`` is the whole time for the file.
    """

    number: int
    source: str = ""
    shape: tuple[int, ...] = ()
    content: str = ""
    classes: int = 0
    before: Betti | None = None
    after: Betti | None = None
    changed: int = 0
    places: int = 0
    topological: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    dice: float | None = None
    errors_before: TruthErrors | None = None
    errors: TruthErrors | None = None
    seconds: float = 0.0
    mask: str = ""
    layers: str = ""
    table: str = ""
    slice: int | None = None
    notes: tuple[str, ...] = ()
    problem: Problem | None = None


@dataclass(frozen=True)
class Mean:
    """Mean over files with the limits of its 95 % bootstrap interval; ``None`` where fewer than two files have it."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class MeasureMeans:
    """One measure against the true masks: the inputs, the results, and the paired difference (result − input)."""

    name: str
    files: int
    before: Mean
    after: Mean
    difference: Mean


@dataclass(frozen=True)
class BatchResult:
    """All rows, and the artifacts that hold everything together.

    ``summary`` is the table as CSV, ``archive`` a ZIP of all masks in their own formats with their change tables, the
    summary and the provenance; both are '' where no file could be repaired. ``means`` are over the files with a truth.
    """

    rows: tuple[BatchRow, ...]
    summary: str
    archive: str
    means: tuple[MeasureMeans, ...]
    files: int
    seconds: float


@dataclass(frozen=True)
class CollectRequest:
    """Put what a cancelled batch had finished into one ZIP: ``masks`` are the masks it stored, in order."""

    masks: tuple[str, ...]
    seed: int = 0


@dataclass(frozen=True)
class CollectResult:
    """Artifact ids of the ZIP and the summary, and how many files are in it."""

    archive: str
    summary: str
    files: int


def refine_batch(request: BatchRequest, ctx: JobContext) -> BatchResult:
    """Repair each file and store masks, change tables, summary and one ZIP of them all."""
    from backend.services.topology.batch_run import run_batch

    return run_batch(request, ctx)


def collect(request: CollectRequest, ctx: JobContext) -> CollectResult:
    """Pack the finished files of a batch that was cancelled."""
    from backend.services.topology.batch_run import run_collect

    return run_collect(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="topology",
        name="batch",
        run=refine_batch,
        request=BatchRequest,
        result=BatchResult,
        summary="Repair the topology of many segmentations with the same settings.",
    ),
    Action(
        system="topology",
        name="collect",
        run=collect,
        request=CollectRequest,
        result=CollectResult,
        summary="Pack what a cancelled batch had finished.",
    ),
)
