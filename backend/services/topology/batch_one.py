"""One file of a batch: opened, refined and measured, whatever it is. Pictures, volumes, masks and label maps alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.media.limits import Limits
from backend.services.topology.batch import BatchRequest
from backend.services.topology.batch_truth import (
    Truth,
    class_errors,
    true_classes,
    true_picture,
    true_volume,
    volume_errors,
)
from backend.services.topology.change_table import write_change_table
from backend.services.topology.classes_draw import draw_classes, most_changed_slice, shown_slice
from backend.services.topology.classes_read import open_classes, several_labels
from backend.services.topology.classes_run import combine, write_labels
from backend.services.topology.compare import truth_errors
from backend.services.topology.cut import cut, quantise
from backend.services.topology.input import EVERY_LABEL, Kind, require_two_sides
from backend.services.topology.outputs import output_format, restore_values, write_like
from backend.services.topology.read import read_map
from backend.services.topology.render import preview_png, projection_png
from backend.services.topology.requests import Betti, ChangeRow, RefineRequest, TruthErrors
from backend.services.topology.run import open_input
from backend.services.topology.volume import VolumeChange, VolumeRequest
from backend.services.topology.volume_cut import cut_volume, quantise_levels
from backend.services.topology.volume_grid import refined_in_box
from backend.services.topology.volume_read import as_stacked, read_volume
from backend.services.topology.volume_run import open_volume

if TYPE_CHECKING:
    from backend.provenance import Provenance

BEFORE, AFTER, CODE = 0x80, 0x40, 0x0F  # bits of a layers picture
WORDS: dict[Kind, str] = {"binary": "binary mask", "probability": "probability map", "labels": "label map"}

Report = Callable[[float, str, "Callable[[], bytes] | None"], None]
Load = Callable[[int], Any]


@dataclass(frozen=True)
class Done:
    """One file refined.

    ``write`` stores the result in the format ``suffix`` of the input, ``write_table`` the changes as CSV; ``layers`` is
    the picture of :func:`pack_layers`. The other fields are those of a :class:`~.batch.BatchRow`.
    """

    shape: tuple[int, ...]
    content: str
    classes: int
    before: Betti
    after: Betti
    changed: int
    places: int
    topological: int
    kinds: dict[str, int]
    dice: float
    errors_before: TruthErrors | None
    errors: TruthErrors | None
    layers: np.ndarray
    slice: int | None
    suffix: str
    media_type: str
    notes: tuple[str, ...]
    write: Callable[[Path, Provenance], None]
    write_table: Callable[[Path, Provenance], None]


def refine_one(path: Path, truth: Truth, request: BatchRequest, load: Load, report: Report, limits: Limits) -> Done:
    """Open, refine and measure one stored file.

    ``load(dimensions)`` gives the network; ``report(share, note, preview)`` is called as it goes on and may raise to
    stop, ``preview()`` then draws a PNG. Raises ``UserError`` where the file cannot be repaired.
    """
    if request.reading in ("auto", "labels") and request.each_label and several_labels(path, limits):
        return _label_map(path, truth, request, load, report, limits)
    volume = read_volume(path, limits)
    if volume is not None:
        return _volume(path, truth, request, load, report, limits)
    return _picture(path, truth, request, load, report, limits)


def _picture(path: Path, truth: Truth, request: BatchRequest, load: Load, report: Report, limits: Limits) -> Done:
    from models.topology.inference import refine

    opened = read_map(path, limits)
    wanted = _same_fields(RefineRequest, request, label=_label(request))
    given, notes = open_input(path, wanted)
    require_two_sides(given.probability, request.input_threshold)
    before = given.probability >= request.input_threshold
    true = true_picture(truth, before.shape, limits)
    drawn: list[Callable[[], np.ndarray]] = []

    def windows(done: int, total: int) -> None:
        partial = drawn[-1]
        report(done / total, "", lambda: preview_png(partial()))

    refined = refine(load(2), given.probability, callback=windows, preview=drawn.append)
    clean = (request.remove_below, request.fill_below, request.fill_share)
    found = cut(before, quantise(refined), request.threshold, clean)
    report(1, "Measuring", None)
    form = output_format(path)
    values = restore_values(found.mask, opened.array, kind=given.kind, label=_label(request), invert=request.invert)
    return Done(
        shape=before.shape,
        content=WORDS[given.kind],
        classes=0,
        before=found.before_betti,
        after=found.after_betti,
        changed=found.changed,
        places=len(found.changes),
        topological=found.topological,
        kinds=_kinds(found.changes),
        dice=found.dice,
        errors_before=None if true is None else truth_errors(before, true),
        errors=None if true is None else truth_errors(found.mask, true),
        layers=pack_layers(before, found.mask, found.codes),
        slice=None,
        suffix=form.suffix,
        media_type=form.media_type,
        notes=(*notes, *form.notes),
        write=lambda target, made: write_like(target, values, path, made, limits, channel=opened.channel),
        write_table=_table([(0, change) for change in found.changes], solid=False, labelled=False),
    )


def _volume(path: Path, truth: Truth, request: BatchRequest, load: Load, report: Report, limits: Limits) -> Done:
    from models.topology.inference import refine

    wanted = _same_fields(VolumeRequest, request, label=_label(request), weights=request.volume_weights)
    given = open_volume(path, wanted)
    probability = given.input.probability
    before = probability >= request.input_threshold
    true = true_volume(truth, before.shape, limits)
    drawn: list[Callable[[], np.ndarray]] = []

    def windows(done: int, total: int) -> None:
        partial = drawn[-1]
        report(done / total, "", lambda: projection_png(partial()))

    def run(inner: np.ndarray) -> np.ndarray:
        return refine(load(3), inner, callback=windows, preview=drawn.append)

    levels = quantise_levels(refined_in_box(probability, given.box, given.parts, run))
    clean = (request.volume_remove_below, request.volume_fill_below, request.fill_share)
    found = cut_volume(before, levels, request.threshold, clean, given.affine)
    report(1, "Measuring", None)
    form = output_format(path, 3)
    raw = given.opened.array
    values = restore_values(found.mask, raw, kind=given.input.kind, label=_label(request), invert=request.invert)
    index = most_changed_slice(before, found.mask)
    shown = [shown_slice(array, index) for array in (before, found.mask, found.codes)]
    return Done(
        shape=before.shape,
        content=f"{WORDS[given.input.kind]}, volume",
        classes=0,
        before=found.before_betti,
        after=found.after_betti,
        changed=found.changed,
        places=len(found.changes),
        topological=found.topological,
        kinds=_kinds(found.changes),
        dice=found.dice,
        errors_before=volume_errors(before, true),
        errors=volume_errors(found.mask, true),
        layers=pack_layers(*shown),
        slice=index,
        suffix=form.suffix,
        media_type=form.media_type,
        notes=(*given.notes, *form.notes),
        write=lambda target, made: write_like(
            target, as_stacked(values), path, made, limits, channel=given.opened.channel
        ),
        write_table=_table([(0, change) for change in found.changes], solid=True, labelled=False),
    )


def _label_map(path: Path, truth: Truth, request: BatchRequest, load: Load, report: Report, limits: Limits) -> Done:
    given = open_classes(path, limits, mend_frame=request.mend_frame)
    model = load(given.labels.ndim)
    if given.labels.ndim == 3:
        request = replace(request, remove_below=request.volume_remove_below, fill_below=request.volume_fill_below)
    made = combine(given, model, request, lambda done, total, note: report(done / total, note, None))
    true = true_classes(truth, given, limits)
    index = most_changed_slice(given.labels, made.labels)
    pictures = draw_classes(given.labels, made.labels, [row.label for row in made.rows], index)
    form = output_format(path, given.labels.ndim)
    volume = ", volume" if given.labels.ndim == 3 else ""
    changes = [change for _, change in made.changes]
    return Done(
        shape=given.labels.shape,
        content=f"{'label map' if given.kind == 'labels' else 'class probabilities'} of {len(made.rows)}{volume}",
        classes=len(made.rows),
        before=_sum([row.before for row in made.rows]),
        after=_sum([row.after for row in made.rows]),
        changed=int(np.count_nonzero(given.labels != made.labels)),
        places=len(changes),
        topological=sum(row.topological for row in made.rows),
        kinds=_kinds(changes),
        dice=float(np.mean([row.dice for row in made.rows])),
        errors_before=class_errors(given, given.mask, true),
        errors=class_errors(given, lambda value: made.labels == value, true),
        layers=np.concatenate(pictures, axis=1),
        slice=index,
        suffix=form.suffix,
        media_type=form.media_type,
        notes=(*given.notes, *made.notes, *form.notes),
        write=lambda target, origin: write_labels(target, made.labels, given, path, origin, limits),
        write_table=_table(made.changes, solid=given.labels.ndim == 3, labelled=True),
    )


def pack_layers(before: np.ndarray, after: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Mask before (bit 7), mask after (bit 6) and kind codes (low bits) as one uint8 [H, W]."""
    return (before * np.uint8(BEFORE)) | (after * np.uint8(AFTER)) | (codes & np.uint8(CODE))


def unpack_layers(layers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The inverse of :func:`pack_layers`."""
    return (layers & BEFORE) > 0, (layers & AFTER) > 0, layers & np.uint8(CODE)


def _same_fields(kind: type, request: BatchRequest, **others: Any) -> Any:
    """A request for a single file with the settings of the batch."""
    names = {item.name for item in fields(kind)} & {item.name for item in fields(request)}
    return kind(**{"source": "", **{name: getattr(request, name) for name in names}, **others})


def _label(request: BatchRequest) -> int | None:
    """All labels are one foreground where they are not taken one by one; a single label is itself."""
    return None if request.each_label else EVERY_LABEL


def _kinds(changes: Sequence[ChangeRow | VolumeChange]) -> dict[str, int]:
    return dict(sorted(Counter(change.kind for change in changes).items()))


def _sum(numbers: Sequence[Betti]) -> Betti:
    solid = numbers[0].b2 is not None
    return Betti(
        sum(item.b0 for item in numbers),
        sum(item.b1 for item in numbers),
        sum(item.b2 or 0 for item in numbers) if solid else None,
    )


def _table(
    changes: Sequence[tuple[int, ChangeRow | VolumeChange]], *, solid: bool, labelled: bool
) -> Callable[[Path, Provenance], None]:
    return lambda target, made: write_change_table(target, changes, solid, labelled, made)
