"""Lesion families by name: those a detector may be trained on, and those kept for validation."""

from __future__ import annotations

from collections.abc import Callable

from models.phantoms.brain import families, unseen
from models.phantoms.brain.lesion import Lesion
from models.phantoms.brain.subject import Subject

_TRAINING: dict[str, Callable[[Subject, int], tuple[Lesion, ...]]] = {
    "multiple_sclerosis": families.multiple_sclerosis,
    "tumour": families.tumour,
    "infarct": families.infarct,
    "spike": families.spike,
    "ghost": families.ghost,
    "bias_island": families.bias_island,
}
_UNSEEN: dict[str, Callable[[Subject, int], tuple[Lesion, ...]]] = {
    "rings": unseen.rings,
    "lines": unseen.lines,
    "textures": unseen.textures,
    "atrophy": unseen.atrophy,
    "gradient": unseen.gradient,
}
TRAINING = tuple(_TRAINING)
UNSEEN = tuple(_UNSEEN)
"""Kept for validation: never to be trained on."""
FAMILIES = TRAINING + UNSEEN


def lesions(subject: Subject, family: str, seed: int) -> tuple[Lesion, ...]:
    """Lesions of one family (:data:`FAMILIES`) in ``subject``; the same ``seed`` gives the same.

    Raises ``ValueError`` for another name.
    """
    if family not in FAMILIES:
        raise ValueError(f"lesion family {family!r} is none of {', '.join(FAMILIES)}")
    return {**_TRAINING, **_UNSEEN}[family](subject, seed)
