"""The job on many scans: one after another, each stored when it is finished, then one table and one ZIP."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.provenance import Provenance
from backend.services.anomaly.batch import MOST_SCANS, ScanRow, ScansRequest, ScansResult
from backend.services.anomaly.requests import DetectRequest, DetectResult
from backend.services.anomaly.run import check, load, look, store
from backend.services.keeper import Keeper

SHARED = tuple({item.name for item in fields(ScansRequest)} & {item.name for item in fields(DetectRequest)})
COLUMNS = (
    "scan",
    "sequence",
    "brain [ml]",
    "findings",
    "findings [ml]",
    "largest [ml]",
    "peak",
    "region of the largest",
    "unlike a brain",
    "time [s]",
    "problem",
)
FILES = ("heat", "restored", "labels", "table", "panel", "segmentation")


def run_batch(request: ScansRequest, ctx: JobContext) -> ScansResult:
    """See :func:`backend.services.anomaly.batch.batch`."""
    total = len(request.sources)
    if not 1 <= total <= MOST_SCANS:
        raise UserError(
            f"{total} scans cannot be looked at in one job.", f"It is 1 to {MOST_SCANS}.", "Choose some, or split them."
        )
    wishes = [DetectRequest(source, **{name: getattr(request, name) for name in SHARED}) for source in request.sources]
    check(wishes[0])
    model, sha256, config = load(request.weights, ctx)
    began, rows = time.perf_counter(), list[ScanRow]()
    for index, wish in enumerate(wishes):
        name = f"Scan {index + 1} of {total}"

        def report(share: float, note: str, picture: bytes | None, index: int = index, name: str = name) -> None:
            ctx.progress(index + share, total, f"{name}: {note}", picture)

        started = time.perf_counter()
        try:
            found = look(wish, ctx, model, config, report)
            result = store(wish, found, ctx, sha256, f"{index + 1:03d}-")
            rows.append(_row(index + 1, wish.source, result, time.perf_counter() - started))
        except UserError as error:
            rows.append(ScanRow(index + 1, wish.source, problem=" ".join(filter(None, (error.what, error.why)))))
    done = [row for row in rows if not row.problem]
    summary = archive = ""
    if done:
        ctx.progress(total, total, "Packing the results")
        synthetic = any(ctx.view(row.source).synthetic for row in done)
        parents = tuple(row.source for row in done)
        summary, archive = _pack(rows, Keeper(ctx, synthetic, parents, {request.weights: sha256}, request.seed))
    ctx.progress(total, total)
    return ScansResult(tuple(rows), summary, archive, len(done), round(time.perf_counter() - began, 3))


def _row(number: int, source: str, result: DetectResult, seconds: float) -> ScanRow:
    first = result.findings[0] if result.findings else None
    return ScanRow(
        number,
        source,
        sequence=result.sequence,
        brain_ml=result.brain_ml,
        count=result.count,
        total_ml=result.total_ml,
        largest_ml=first.ml if first else 0.0,
        peak=max((row.peak for row in result.findings), default=0.0),
        region=first.region if first else "",
        unlike=result.unlike,
        seconds=round(seconds, 3),
        **{name: getattr(result, name) for name in FILES},
    )


def _pack(rows: Sequence[ScanRow], keeper: Keeper) -> tuple[str, str]:
    """Ids of the table of all scans, and of the ZIP with it and every file."""
    from backend.media.write_csv import write_csv
    from backend.media.write_zip import write_zip

    def write_summary(path: Path, made: Provenance) -> None:
        write_csv(path, COLUMNS, (_cells(row) for row in rows), made)

    ctx = keeper.ctx
    summary = keeper.add("summary.csv", "text/csv", write_summary, "table")
    files = [("summary.csv", ctx.open(summary))]
    for row in rows:
        ids = [getattr(row, name) for name in FILES]
        files += [(ctx.view(item).name, ctx.open(item)) for item in ids if item]

    def write_archive(path: Path, made: Provenance) -> None:
        write_zip(path, files, made)

    return summary, keeper.add("heat-maps.zip", "application/zip", write_archive, "archive")


def _cells(row: ScanRow) -> tuple[object, ...]:
    if row.problem:
        return (row.number, *[None] * (len(COLUMNS) - 2), row.problem)
    return (
        row.number,
        row.sequence,
        row.brain_ml,
        row.count,
        row.total_ml,
        row.largest_ml,
        row.peak,
        row.region,
        row.unlike,
        row.seconds,
        "",
    )
