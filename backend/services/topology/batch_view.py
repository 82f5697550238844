"""What the page shows of a batch, running, finished or cancelled: rows, means, sentences, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobState, JobView
from backend.media.limits import Limits
from backend.services.topology.batch import BatchRequest, BatchResult, BatchRow, MeasureMeans
from backend.services.topology.batch_measure import MEASURES, SMALLER_IS_BETTER, measure_means
from backend.services.topology.batch_one import unpack_layers
from backend.services.topology.batch_run import rows_of
from backend.services.topology.render import BY_KIND, KINDS, base_picture, change_picture, png_bytes
from backend.services.topology.requests import CONNECTIVITY
from backend.services.topology.volume import VOLUME_CONNECTIVITY

if TYPE_CHECKING:
    from backend.runtime import Runtime

PICTURES = ("before", "after", "changes")
LARGEST_SIDE = 2048
TITLES = {"dice": "Dice with truth", "cldice": "clDice with truth"}  # beside the Dice with the input
SMALL = 256  # pixels; up to here a picture is a thumbnail


def batch_view(runtime: Runtime, job_id: str) -> dict[str, Any]:
    """Plain JSON values: the rows with their columns, means, sentences, and the files that hold everything together.

    Of a job that was cancelled or interrupted, or still runs, the rows are those that were finished, with the problems
    of the files before them. Raises ``UserError`` for a job that is no batch.
    """
    job = _batch(runtime, job_id)
    rows, means, files = _contents(runtime, job)
    solid = any(row.before is not None and row.before.b2 is not None for row in rows)
    measured = any(row.errors is not None for row in rows)
    names = _names(runtime, rows)
    return {
        "job": job.id,
        "state": str(job.state),
        "summary": _summary(job, rows),
        "columns": _columns(solid, measured),
        "rows": [_row(row, names) for row in rows],
        "means": [_means(item) for item in means],
        "means_note": _means_note(means),
        "kinds": [
            {"kind": style.kind, "title": style.title, "colour": style.colour, "meaning": style.meaning}
            for style in KINDS
        ],
        "files": files,
        "connectivity": f"{CONNECTIVITY}" + (f"; volumes: {VOLUME_CONNECTIVITY}" if solid else ""),
    }


def picture(runtime: Runtime, job_id: str, number: int, name: str, side: int) -> bytes:
    """PNG of one file of a batch, at most ``side`` pixels a side: ``before``, ``after`` or the coloured ``changes``.

    Raises ``UserError`` for a file or picture that is not there.
    """
    if name not in PICTURES:
        raise UserError("There is no such picture.", f"The pictures are {', '.join(PICTURES)}.")
    rows, *_ = _contents(runtime, _batch(runtime, job_id))
    layers = next((row.layers for row in rows if row.number == number), "")
    if not layers:
        raise UserError(f"There is no file {number} with a result in this batch.", "", "Open it from the table.")
    return _drawn(runtime.artifacts.path(layers), name, max(16, min(side, LARGEST_SIDE)))


def finished_masks(runtime: Runtime, job_id: str) -> tuple[str, ...]:
    """Ids of the masks that a batch has stored, in the order of the files. Raises ``UserError``."""
    rows, *_ = _contents(runtime, _batch(runtime, job_id))
    return tuple(row.mask for row in rows if row.mask)


def expected_seconds(runtime: Runtime, sources: Sequence[str]) -> float | None:
    """How long a batch of these uploads will take, by what a pixel or voxel took in this installation's last batches.

    ``None`` before the first, and where it has seen none of the kind.
    """
    paces: dict[int, list[float]] = {2: [], 3: []}
    for job in runtime.jobs.list(system="topology", limit=50):
        if job.action == "batch" and job.state is JobState.DONE and job.result:
            for row in job.result["rows"]:
                if row["mask"]:
                    paces[len(row["shape"])].append(row["seconds"] / float(np.prod(row["shape"])))
    total = 0.0
    for source in sources:
        shape = _shape_on_arrival(runtime.artifacts.view(source).properties)
        known = paces[3 if len(shape) > 2 else 2]
        if not known or not shape:
            return None
        total += float(np.median(known)) * float(np.prod(shape))
    return total


def _shape_on_arrival(properties: Mapping[str, Any]) -> tuple[int, ...]:
    """The size of an upload as the door wrote it down; () where it did not."""
    if "arrays" in properties:  # name → [type, sides …]
        return max((tuple(sides[1:]) for sides in properties["arrays"].values()), key=np.prod, default=())
    if "shape" in properties:
        return tuple(side for side in properties["shape"] if side > 1)
    if "rows" in properties:
        frames = properties.get("frames", 1)
        return (*((frames,) if frames > 1 else ()), properties["rows"], properties["columns"])
    return ()


def _batch(runtime: Runtime, job_id: str) -> JobView:
    job = runtime.jobs.view(job_id)
    if job.system != "topology" or job.action != "batch":
        raise UserError("There is no batch under this id.", "The job is another one.", "Open the batch from its job.")
    return job


def _contents(runtime: Runtime, job: JobView) -> tuple[tuple[BatchRow, ...], tuple[MeasureMeans, ...], list[str]]:
    """Rows, means and the ids of summary and archive."""
    from pydantic import TypeAdapter

    if job.state is JobState.DONE and job.result is not None:
        made = TypeAdapter(BatchResult).validate_python(dict(job.result))
        return made.rows, made.means, [artifact for artifact in (made.archive, made.summary) if artifact]
    views = [view for view in runtime.artifacts.list(job_id=job.id, limit=100_000) if view.kind == "mask"]
    rows, problems = rows_of([view.properties for view in views], [view.id for view in views])
    request = TypeAdapter(BatchRequest).validate_python(dict(job.request))
    known = {problem.number: problem for problem in (*request.refused, *problems)}
    every = [*rows, *(BatchRow(item.number, problem=item) for item in known.values())]
    return tuple(sorted(every, key=lambda row: row.number)), measure_means(rows, request.seed), []


def _names(runtime: Runtime, rows: tuple[BatchRow, ...]) -> dict[str, str]:
    """Names of the stored masks, by id; one that was deleted since has none."""
    names = {}
    for row in rows:
        if row.mask:
            try:
                names[row.mask] = runtime.artifacts.view(row.mask).name
            except UserError:
                continue
    return names


def _row(row: BatchRow, names: dict[str, str]) -> dict[str, Any]:
    """One row for the page: ``values`` to sort by, ``cells`` to read, both by the names of the columns."""
    values: dict[str, Any] = {"number": row.number}
    cells = {"number": str(row.number)}
    if row.mask and row.before is not None and row.after is not None:
        values |= {
            "size": float(np.prod(row.shape)),
            "content": row.content,
            "places": row.topological,
            "dice": row.dice,
            "seconds": row.seconds,
        }
        sides = row.shape[::-1] if len(row.shape) == 2 else row.shape
        cells |= {
            "size": " × ".join(map(str, sides)),
            "content": row.content,
            "places": f"{row.topological:,} of {row.places:,}",
            "dice": f"{row.dice:.3f}",
            "seconds": f"{row.seconds:.1f}",
        }
        for name in ("b0", "b1", "b2"):
            start, end = getattr(row.before, name), getattr(row.after, name)
            if start is not None:
                values[name], cells[name] = end - start, f"{start:,} → {end:,}"
        for name in MEASURES:
            start, end = (getattr(item, name, None) for item in (row.errors_before, row.errors))
            if start is not None and end is not None:
                values[f"true_{name}"] = end
                whole = name in SMALLER_IS_BETTER
                cells[f"true_{name}"] = f"{start:,} → {end:,}" if whole else f"{start:.3f} → {end:.3f}"
    problem = row.problem
    return {
        "number": row.number,
        "source": row.source,
        "values": values,
        "cells": cells,
        "problem": None if problem is None else asdict(problem),
        "mask": row.mask,
        "table": row.table,
        "mask_name": names.get(row.mask, "") if row.mask else "",
        "slice": row.slice,
        "notes": list(row.notes),
        "changed": row.changed,
        "kinds": [{"title": BY_KIND[kind].title, "count": count, "kind": kind} for kind, count in row.kinds.items()],
    }


def _columns(solid: bool, measured: bool) -> list[dict[str, str]]:
    columns = [
        ("number", "File", "In the order in which the files came, by name"),
        ("size", "Size", "Width × height in pixels; of volumes columns × rows × slices"),
        ("content", "Kind", "How the file was read"),
        ("b0", "β₀ pieces", "Separate pieces before → after; of a label map the sum over its labels"),
        ("b1", "β₁ holes", "Closed loops before → after, of volumes tunnels; of a label map the sum over its labels"),
    ]
    if solid:
        columns.append(("b2", "β₂ cavities", "Closed cavities before → after, of volumes only"))
    columns += [
        ("places", "Places", "Changed places that alter the topology, of all changed places"),
        ("dice", "Dice with input", "Overlap with the input, 1 is identical; of a label map the mean over its labels"),
    ]
    if measured:
        names = [name for name in MEASURES if name != "b2" or solid]
        meaning = "Against the true mask, input → result; {} is better"
        columns += [
            (
                f"true_{name}",
                TITLES.get(name, MEASURES[name]),
                meaning.format("less" if name in SMALLER_IS_BETTER else "more"),
            )
            for name in names
        ]
    columns.append(("seconds", "Seconds", "Time for the file on this machine"))
    return [{"name": name, "title": title, "meaning": meaning} for name, title, meaning in columns]


def _means(item: MeasureMeans) -> dict[str, Any]:
    better = "less" if item.name in SMALLER_IS_BETTER else "more"
    return {"name": item.name, "title": MEASURES[item.name], "better": better, **asdict(item)}


def _means_note(means: tuple[MeasureMeans, ...]) -> str:
    if not means:
        return ""
    files = max(item.files for item in means)
    few = " With so few files an interval says little." if files < 10 else ""
    return f"Means over {files} files with a true mask, which the network did not see; 95 % bootstrap intervals.{few}"


def _summary(job: JobView, rows: tuple[BatchRow, ...]) -> list[str]:
    """What happened, in sentences."""
    finished = [row for row in rows if row.mask]
    total = len(job.request["sources"]) + len(job.request.get("refused", ()))
    problems = [row for row in rows if row.problem is not None]
    noun = "file" if total == 1 else "files"
    lines = []
    if job.state is JobState.DONE:
        lines.append(f"{len(finished)} of {total} {noun} were repaired.")
    elif job.state in (JobState.CANCELLED, JobState.INTERRUPTED):
        how = "was cancelled" if job.state is JobState.CANCELLED else "was interrupted"
        lines.append(f"The batch {how}: {len(finished)} of {total} {noun} were finished and are kept.")
    else:
        lines.append(f"{len(finished)} of {total} {noun} so far.")
    if problems:
        lines.append(f"{len(problems)} could not be repaired; the row of each says why.")
    if finished:
        changed = sum(row.topological for row in finished)
        untouched = sum(not row.changed for row in finished)
        lines.append(
            f"{changed:,} places changed the topology" + (f"; {untouched} came out as they were." if untouched else ".")
        )
    return lines


@lru_cache(maxsize=256)
def _drawn(path: Path, name: str, side: int) -> bytes:
    """A stored file never changes under its path, which makes it a good key."""
    from PIL import Image

    from backend.media.images import read_image

    layers = read_image(path, Limits())
    if layers.ndim == 3:  # a label map: three pictures in the colours of its classes, side by side
        width = layers.shape[1] // len(PICTURES)
        place = PICTURES.index(name)
        pixels = layers[:, place * width : (place + 1) * width]
    else:
        before, after, codes = unpack_layers(layers)
        pixels = (
            change_picture(after, codes, legend=False)
            if name == "changes"
            else base_picture(before if name == "before" else after)
        )
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scale = side / max(image.size)
    if scale < 1 or side <= SMALL:  # a small mask fills its thumbnail, and stays pixels when it is looked at
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        image = image.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST)
    return png_bytes(np.asarray(image))
