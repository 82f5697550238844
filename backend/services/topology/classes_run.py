"""The job on several classes: refine each, combine, say for each what changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.media.limits import Limits
from backend.provenance import Provenance
from backend.services.topology.change_table import write_change_table
from backend.services.topology.classes import ClassesRequest, ClassesResult, ClassRow
from backend.services.topology.classes_draw import draw_classes, most_changed_slice
from backend.services.topology.classes_read import ClassInput, open_classes
from backend.services.topology.compare import betti
from backend.services.topology.cut import MaskKeeper, list_changes
from backend.services.topology.outputs import output_format, typed_like, write_like
from backend.services.topology.render import BY_KIND
from backend.services.topology.requests import ChangeRow
from backend.services.topology.run import LARGEST, build_refiner, check_thresholds
from backend.services.topology.volume import VolumeChange
from backend.services.topology.volume_cut import list_volume_changes
from backend.services.topology.volume_grid import (
    FAINT,
    box_around,
    divisions,
    refined_in_box,
    require_size,
    spacing_note,
)
from backend.services.topology.volume_read import as_stacked
from backend.settings import get_settings

DOUBTFUL_DICE = 0.9  # a repair changes little: below this overlap with the input it is something else
LEAST = 1e-6  # score of a pixel that only the cleaning gave to a class

Report = Callable[[float, float, str], None]
Refine = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Combined:
    """All classes refined: ``labels`` of the input's shape, a row a class, and (label, change) for the table.

    ``codes`` is the uint8 layer of kind codes of the input's shape; where two classes changed, the graver kind.
    """

    labels: np.ndarray
    rows: tuple[ClassRow, ...]
    changes: tuple[tuple[int, ChangeRow | VolumeChange], ...]
    codes: np.ndarray
    notes: tuple[str, ...]
    seconds: float


def run_classes(request: ClassesRequest, ctx: JobContext) -> ClassesResult:
    """See :func:`backend.services.topology.classes.refine_classes`."""
    ctx.progress(0, 1, "Reading the label map")
    check_thresholds(request)
    source = ctx.view(request.source)
    path = ctx.open(request.source)
    limits = Limits.from_settings(get_settings())
    given = open_classes(path, limits, channel=request.channel, mend_frame=request.mend_frame)
    name, sha256, model = load_for(given.labels.ndim, request, ctx)
    with ctx.weights.autocast(ctx.device):
        made = combine(given, model, request, ctx.progress)
    ctx.check_cancelled()
    ctx.progress(1, 1, "Storing the label map")
    keeper = MaskKeeper(ctx, source.synthetic, (request.source,), {name: sha256}, request.seed)
    index = most_changed_slice(given.labels, made.labels)
    pictures = draw_classes(given.labels, made.labels, [row.label for row in made.rows], index)
    ids = [
        keeper.png(f"labels-{title}.png", picture, "image")
        for title, picture in zip(("before", "after", "changes"), pictures, strict=True)
    ]
    form = output_format(path, given.labels.ndim)

    def write(target: Path, provenance: Provenance) -> None:
        write_labels(target, made.labels, given, path, provenance, limits)

    labels_id = keeper.add(f"refined-labels{form.suffix}", form.media_type, write, "mask")
    table = made.changes, given.labels.ndim == 3, True
    table_id = keeper.add(
        "changes.csv", "text/csv", lambda target, provenance: write_change_table(target, *table, provenance), "table"
    )
    ctx.progress(1, 1)
    return ClassesResult(
        labels=labels_id,
        before_picture=ids[0],
        after_picture=ids[1],
        change_picture=ids[2],
        change_table=table_id,
        shape=tuple(int(side) for side in given.labels.shape),
        slice=index,
        kind=given.kind,
        classes=made.rows,
        changed=int(np.count_nonzero(made.labels != given.labels)),
        threshold=request.threshold,
        notes=(*doubt(min(row.dice for row in made.rows)), *given.notes, *made.notes, *form.notes),
        weights_sha256=sha256,
        seconds=round(made.seconds, 3),
        megapixels=given.labels.size / 1e6,
    )


def load_for(dimensions: int, request: Any, ctx: JobContext) -> tuple[str, str, Any]:
    """Name, hash and network for so many dimensions. Raises ``UserError`` where the weights are for others.

    ``request`` has ``weights`` for pictures and ``volume_weights`` for volumes.
    """
    name = request.weights if dimensions == 2 else request.volume_weights
    ctx.progress(0, 1, "Loading the network")
    model: Any = ctx.weights.load(name, build_refiner, ctx.device)
    if model.dimensions != dimensions:
        raise UserError(
            f"The weights {name!r} are for {'volumes' if model.dimensions == 3 else 'pictures'}.",
            f"The file is a {'volume' if dimensions == 3 else 'picture'}.",
            "Choose other weights for it.",
        )
    return name, ctx.weights.find(name).sha256, model


def combine(given: ClassInput, model: Any, request: Any, report: Report) -> Combined:
    """Refine every class and give each pixel to one of them.

    ``request`` has the fields of :class:`ClassesRequest` from ``threshold`` on; ``report(done, total, note)`` is called
    after every window and may raise to stop. Raises ``UserError`` for what is too large.
    """
    from models.topology.repairs import tidy

    if given.labels.ndim == 2 and given.labels.size > LARGEST:
        raise UserError(
            "The label map is too large to repair in one piece.",
            f"It measures {given.labels.shape[1]:,} × {given.labels.shape[0]:,} pixels, and the limit is "
            f"{LARGEST / 1e6:.0f} megapixels.",
            "Crop it into tiles and repair them one by one.",
        )
    labels = np.full(given.labels.shape, given.background, given.labels.dtype)
    best = np.zeros(given.labels.shape, np.float32)
    started, notes = time.perf_counter(), []
    total = len(given.classes)
    for index, (value, name) in enumerate(given.classes):
        called = f"label {value}" + (f" ({name})" if name else "")
        note = f"Refining {called}, {index + 1} of {total}"
        report(index, total, note)
        refined, grid_note = _refined(given, value, model, request, _share_of(index, total, note, report))
        if grid_note and grid_note not in notes:
            notes.append(grid_note)
        kept = tidy(refined >= request.threshold, request.remove_below, request.fill_share, least=request.fill_below)
        score = np.where(kept, np.maximum(refined, LEAST), 0)
        wins = (score > best) | ((score == best) & kept & (given.labels == value))
        labels[wins], best[wins] = value, score[wins]
    seconds = time.perf_counter() - started
    report(total, total, "Finding what changed")
    rows, changes = [], []
    codes = np.zeros(labels.shape, np.uint8)
    for value, name in given.classes:
        before, after = given.mask(value), labels == value
        row, found = _compared(value, name, before, after, given.affine, codes)
        rows.append(row)
        changes += [(value, change) for change in found]
        report(total, total, "Finding what changed")
    return Combined(labels, tuple(rows), tuple(changes), codes, tuple(notes), seconds)


def _share_of(index: int, total: int, note: str, report: Report) -> Callable[[int, int], None]:
    return lambda done, windows: report(index + done / windows, total, note)


def _refined(
    given: ClassInput, value: int, model: Any, request: Any, callback: Callable[[int, int], None]
) -> tuple[np.ndarray, str]:
    """Refined probability of one class, float32 of the input's shape, and a note about the grid."""
    from models.topology.inference import refine

    probability = given.probability(value)
    if probability.ndim == 2:
        return refine(model, probability, callback=callback), ""
    box = box_around(probability >= FAINT)
    shape = tuple(side.stop - side.start for side in box)
    require_size(shape)
    parts = divisions(given.spacing_mm, shape) if request.cubic else (1, 1, 1)
    refined = refined_in_box(probability, box, parts, lambda inner: refine(model, inner, callback=callback))
    return refined, spacing_note(given.spacing_mm, parts, request.cubic)


def _compared(
    value: int, name: str, before: np.ndarray, after: np.ndarray, affine: np.ndarray | None, codes: np.ndarray
) -> tuple[ClassRow, tuple[ChangeRow | VolumeChange, ...]]:
    """What became of one class; the kinds of its changes are drawn into ``codes``, the graver of two staying."""
    from models.metrics.overlap import dice

    changes: tuple[ChangeRow | VolumeChange, ...]
    if before.ndim == 2:
        changes, here = list_changes(before, after)
        start, end, place = before, after, codes
    else:
        box = box_around(before | after, margin=1)
        start, end = before[box], after[box]
        corner = (box[0].start, box[1].start, box[2].start)
        changes, here = list_volume_changes(start, end, corner, affine)
        place = codes[box]
    drawn = (here > 0) & ((place == 0) | (here < place))
    place[drawn] = here[drawn]
    row = ClassRow(
        label=value,
        name=name,
        pixels_before=int(np.count_nonzero(before)),
        pixels_after=int(np.count_nonzero(after)),
        before=betti(start),
        after=betti(end),
        changed=int(np.count_nonzero(start != end)),
        places=len(changes),
        topological=sum(BY_KIND[change.kind].topological for change in changes),
        dice=float(dice(end, start)),
    )
    return row, changes


def doubt(dice: float) -> tuple[str, ...]:
    """A sentence where so much was changed that the network may not know what it saw."""
    if dice >= DOUBTFUL_DICE:
        return ()
    return (
        f"Much was changed (Dice with the input {dice:.3f}): these weights may not know such structures. Look at it "
        "before you use it, or train your own refiner.",
    )


def write_labels(
    target: Path, labels: np.ndarray, given: ClassInput, source: Path, provenance: Provenance, limits: Limits
) -> None:
    """The combined label map in the format of its source."""
    values = typed_like(labels, given.like)
    stacked = as_stacked(values) if values.ndim == 3 else values
    write_like(target, stacked, source, provenance, limits, channel=given.channel)
