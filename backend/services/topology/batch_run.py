"""The batch job: file after file, each stored as soon as it is finished, then everything in one ZIP."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.media.limits import Limits
from backend.provenance import Provenance
from backend.services.topology.batch import (
    MOST_FILES,
    BatchRequest,
    BatchResult,
    BatchRow,
    CollectRequest,
    CollectResult,
    Problem,
)
from backend.services.topology.batch_measure import measure_means, summary_columns, summary_row
from backend.services.topology.batch_one import Done, refine_one
from backend.services.topology.batch_truth import Truth
from backend.services.topology.classes_run import doubt, load_for
from backend.services.topology.cut import MaskKeeper
from backend.services.topology.run import check_thresholds
from backend.settings import get_settings

PREVIEW_EVERY_S = 1.0
ROW = "batch_row"  # property of a mask: its row of the table
PROBLEMS = "batch_problems"  # property of a mask: problems of the files before it


def run_batch(request: BatchRequest, ctx: JobContext) -> BatchResult:
    """See :func:`backend.services.topology.batch.refine_batch`."""
    check_thresholds(request)
    numbers = _numbers(request)
    total = len(numbers) + len(request.refused)
    problems = list(request.refused)
    rows = [BatchRow(problem.number, problem=problem) for problem in problems]
    networks = _Networks(request, ctx)
    limits = Limits.from_settings(get_settings())
    began = time.perf_counter()
    for index, (number, source) in enumerate(zip(numbers, request.sources, strict=True)):
        title = f"File {number} of {total}"
        ctx.progress(index, len(numbers), title)
        started = time.perf_counter()
        truth = request.truths[index] if request.truths else ""
        report = _reporter(ctx, index, len(numbers), title)
        try:
            path = ctx.open(source)
            known = str(ctx.view(source).properties.get("sample", ""))
            true = Truth(ctx.open(truth) if truth else None, known)
            with ctx.weights.autocast(ctx.device):
                done = refine_one(path, true, request, networks.load, report, limits)
            row = _store(number, source, truth, done, request, networks, ctx, problems, started)
        except UserError as error:
            row = BatchRow(number, source, problem=Problem(number, error.what, error.why, error.what_to_do))
        except MemoryError:
            row = BatchRow(number, source, problem=Problem(number, *_NO_MEMORY))
        if row.problem is not None:
            problems.append(row.problem)
        rows.append(row)
    rows.sort(key=lambda row: row.number)
    finished = [row for row in rows if row.mask]
    summary = archive = ""
    if finished:
        ctx.progress(len(numbers), len(numbers), "Packing the results")
        summary, archive = _pack(rows, ctx, request.seed)
    ctx.progress(len(numbers), len(numbers))
    return BatchResult(
        rows=tuple(rows),
        summary=summary,
        archive=archive,
        means=measure_means(finished, request.seed),
        files=len(finished),
        seconds=round(time.perf_counter() - began, 3),
    )


def run_collect(request: CollectRequest, ctx: JobContext) -> CollectResult:
    """See :func:`backend.services.topology.batch.collect`."""
    ctx.progress(0, 1, "Packing the results")
    if not request.masks:
        raise UserError("No file was finished.", "The batch stopped before its first result.", "Start it again.")
    rows, problems = rows_of([ctx.view(mask).properties for mask in request.masks], request.masks)
    if len(rows) < len(request.masks):
        raise UserError("These are not the masks of a batch.", "", "Open the batch from its job.")
    every = sorted([*rows, *(BatchRow(item.number, problem=item) for item in problems)], key=lambda row: row.number)
    summary, archive = _pack(every, ctx, request.seed)
    ctx.progress(1, 1)
    return CollectResult(archive=archive, summary=summary, files=len(rows))


def rows_of(properties: Sequence[Any], masks: Sequence[str]) -> tuple[tuple[BatchRow, ...], tuple[Problem, ...]]:
    """Rows of stored masks by their properties, and the problems that came before the last of them."""
    from pydantic import TypeAdapter

    as_row, as_problems = TypeAdapter(BatchRow), TypeAdapter(tuple[Problem, ...])
    rows: list[BatchRow] = []
    problems: tuple[Problem, ...] = ()
    for told, mask in zip(properties, masks, strict=True):
        if ROW not in told:
            continue
        rows.append(replace(as_row.validate_python(dict(told[ROW])), mask=mask))
        found = as_problems.validate_python(list(told.get(PROBLEMS, ())))
        problems = max(problems, found, key=len)
    return tuple(sorted(rows, key=lambda row: row.number)), problems


_NO_MEMORY = (
    "The machine ran out of memory on this file.",
    "It needs more than is free.",
    "Crop it, or close other programs.",
)


class _Networks:
    """The networks for pictures and for volumes, each loaded when the first file asks for it."""

    def __init__(self, request: BatchRequest, ctx: JobContext) -> None:
        self._request, self._ctx = request, ctx
        self._models: dict[int, Any] = {}
        self.hashes: dict[int, dict[str, str]] = {}

    def load(self, dimensions: int) -> Any:
        """The network for so many dimensions. Raises ``UserError`` where there is none."""
        if dimensions not in self._models:
            name, sha256, model = load_for(dimensions, self._request, self._ctx)
            self._models[dimensions], self.hashes[dimensions] = model, {name: sha256}
        return self._models[dimensions]


def _numbers(request: BatchRequest) -> list[int]:
    """The number of each source among all files, those refused on arrival included. Raises ``UserError``."""
    files = len(request.sources) + len(request.refused)
    if not request.sources:
        raise UserError(
            "There is no file to repair.",
            f"All {files} were refused on arrival." if files else "None was chosen.",
            "Drop masks, or a ZIP of masks.",
        )
    if files > MOST_FILES:
        raise UserError(f"There are {files:,} files.", f"Up to {MOST_FILES:,} fit one batch.", "Split them.")
    if request.truths and len(request.truths) != len(request.sources):
        raise UserError(
            f"There are {len(request.truths)} true masks for {len(request.sources)} files.",
            "They are paired in the order of their names, one for each file.",
            "Give as many true masks as files, or none.",
        )
    taken = {problem.number for problem in request.refused}
    if len(taken) < len(request.refused) or not taken <= set(range(1, files + 1)):
        raise ValueError(f"refused files are numbered {sorted(taken)} of {files}")
    return [number for number in range(1, files + 1) if number not in taken]


def _reporter(
    ctx: JobContext, index: int, total: int, title: str
) -> Callable[[float, str, Callable[[], bytes] | None], None]:
    due = 0.0

    def report(share: float, note: str, preview: Callable[[], bytes] | None) -> None:
        # A preview of a large file costs time itself: it may take a tenth of the whole at most.
        nonlocal due
        picture, began = None, time.monotonic()
        if preview is not None and began >= due:
            picture = preview()
            due = time.monotonic() + max(PREVIEW_EVERY_S, 10 * (time.monotonic() - began))
        ctx.progress(index + min(share, 1.0), total, f"{title}: {note}" if note else title, picture)

    return report


def _store(
    number: int,
    source: str,
    truth: str,
    done: Done,
    request: BatchRequest,
    networks: _Networks,
    ctx: JobContext,
    problems: Sequence[Problem],
    started: float,
) -> BatchRow:
    """Store layers, table and mask of one file; the mask last, because it carries the row."""
    made = ctx.view(source)
    dimensions = len(done.shape)
    parents = (source, truth) if truth else (source,)
    keeper = MaskKeeper(ctx, made.synthetic, parents, networks.hashes[dimensions], request.seed)
    layers = keeper.png(f"{number:04d}-layers.png", done.layers, "map")
    table = keeper.add(f"{number:04d}-changes.csv", "text/csv", done.write_table, "table")
    row = BatchRow(
        number=number,
        source=source,
        shape=tuple(int(side) for side in done.shape),
        content=done.content,
        classes=done.classes,
        before=done.before,
        after=done.after,
        changed=done.changed,
        places=done.places,
        topological=done.topological,
        kinds=done.kinds,
        dice=done.dice,
        errors_before=done.errors_before,
        errors=done.errors,
        seconds=round(time.perf_counter() - started, 3),
        layers=layers,
        table=table,
        slice=done.slice,
        notes=(*done.notes, *doubt(done.dice)),
    )
    told = {ROW: _plain(asdict(row)), PROBLEMS: [asdict(problem) for problem in problems]}
    mask = keeper.add(f"{number:04d}-mask{done.suffix}", done.media_type, done.write, "mask", told)
    return replace(row, mask=mask)


def _plain(value: Any) -> Any:
    """Tuples as lists, as JSON gives them back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _pack(rows: Sequence[BatchRow], ctx: JobContext, seed: int) -> tuple[str, str]:
    """Ids of the summary CSV and of the ZIP with everything in it."""
    from backend.media.write_csv import write_csv
    from backend.media.write_zip import write_zip

    finished = [row for row in rows if row.mask]
    views = {row.number: ctx.view(row.mask) for row in finished}
    synthetic = any(view.synthetic for view in views.values())
    weights = {name: sha for view in views.values() for name, sha in view.provenance.weights.items()}
    keeper = MaskKeeper(ctx, synthetic, tuple(row.source for row in finished), weights, seed)

    def write_summary(target: Path, provenance: Provenance) -> None:
        write_csv(target, summary_columns(rows), (summary_row(row, rows) for row in rows), provenance)

    summary = keeper.add("summary.csv", "text/csv", write_summary, "table")
    files = [(f"masks/{views[row.number].name}", ctx.open(row.mask)) for row in finished]
    files += [(f"changes/{row.number:04d}-changes.csv", ctx.open(row.table)) for row in finished]
    files.append(("summary.csv", ctx.open(summary)))
    told = [
        {"number": row.number, "source": row.source, "mask": name, "sha256": views[row.number].sha256}
        for row, (name, _) in zip(finished, files, strict=False)
    ]

    def write_archive(target: Path, provenance: Provenance) -> None:
        write_zip(target, files, provenance, {"files": told})

    return summary, keeper.add("repaired-masks.zip", "application/zip", write_archive, "archive")
