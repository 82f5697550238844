"""True masks of the files of a batch, and how far a result is from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.services.topology.classes_read import ClassInput, open_classes
from backend.services.topology.compare import truth_errors
from backend.services.topology.input import EVERY_LABEL, interpret
from backend.services.topology.read import read_map
from backend.services.topology.requests import TruthErrors
from backend.services.topology.truth import sample_truth
from backend.services.topology.volume_grid import box_around
from backend.services.topology.volume_read import read_volume
from backend.settings import get_settings


@dataclass(frozen=True)
class Truth:
    """Where the true mask of a file is: an uploaded one, or that of the sample the file came from. Both may be none."""

    path: Path | None = None
    sample: str = ""


def true_picture(truth: Truth, shape: tuple[int, ...], limits: Limits) -> np.ndarray | None:
    """The true mask of a picture, bool [H, W]. Raises ``UserError``, also where its size is another."""
    if truth.path is None:
        return sample_truth(truth.sample, shape, get_settings()) if truth.sample else None
    opened = read_map(truth.path, limits)
    found = interpret(opened.array, label=EVERY_LABEL, mend_frame=False).probability >= 0.5
    _require_shape(found.shape, shape)
    return found


def true_volume(truth: Truth, shape: tuple[int, ...], limits: Limits) -> np.ndarray | None:
    """The true mask of a volume, bool [X, Y, Z]. Raises ``UserError``, also where its size is another."""
    if truth.path is None:
        return sample_truth(truth.sample, shape, get_settings()) if truth.sample else None
    opened = read_volume(truth.path, limits)
    if opened is None:
        raise _other_shape("a picture", shape)
    _require_shape(opened.array.shape, shape)
    return interpret(opened.array, label=EVERY_LABEL, volume=True).probability >= 0.5


def true_classes(truth: Truth, given: ClassInput, limits: Limits) -> ClassInput | None:
    """The true classes of a label map. Raises ``UserError``, also where its size is another."""
    if truth.path is None:
        return None
    true = open_classes(truth.path, limits, mend_frame=False)
    _require_shape(true.labels.shape, given.labels.shape)
    return true


def _require_shape(found: tuple[int, ...], shape: tuple[int, ...]) -> None:
    if found != shape:
        raise _other_shape(" × ".join(map(str, found)), shape)


def _other_shape(found: str, shape: tuple[int, ...]) -> UserError:
    return UserError(
        "The true mask and the segmentation differ in size.",
        f"The true mask is {found}, the segmentation {' × '.join(map(str, shape))}.",
        "Pair each file with the true mask of the same image.",
    )


def volume_errors(mask: np.ndarray, true: np.ndarray | None) -> TruthErrors | None:
    """How far a bool [X, Y, Z] is from the truth, measured in the box that holds both; ``None`` without a truth."""
    if true is None:
        return None
    if not (mask.any() or true.any()):
        return truth_errors(mask, true)
    box = box_around(mask | true, margin=1)
    return truth_errors(mask[box], true[box])


def class_errors(given: ClassInput, mask: Callable[[int], np.ndarray], true: ClassInput | None) -> TruthErrors | None:
    """Over the classes of the input: means of the overlaps, sums of the counts."""
    if true is None:
        return None
    found = []
    for value, _ in given.classes:
        here, there = mask(value), true.labels == value
        found.append(truth_errors(here, there) if here.ndim == 2 else volume_errors(here, there))
    told = [item for item in found if item is not None]
    solid = told[0].b2 is not None
    return TruthErrors(
        dice=float(np.mean([item.dice for item in told])),
        cldice=float(np.mean([item.cldice for item in told])),
        b0=sum(item.b0 for item in told),
        b1=sum(item.b1 for item in told),
        matching=sum(item.matching for item in told),
        b2=sum(item.b2 or 0 for item in told) if solid else None,
    )
