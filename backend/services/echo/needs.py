"""Which weights the parts of the page need, and which of them are not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.services.echo.requests import METER

if TYPE_CHECKING:
    from backend.weights import Weights

AUTOENCODER, IMAGE_MODEL, VIDEO_MODEL = "echo/autoencoder", "echo/image", "echo/video"
TO_MEASURE = (METER,)
TO_GENERATE = (AUTOENCODER, IMAGE_MODEL, VIDEO_MODEL, METER)


def missing(weights: Weights, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``names`` that are not installed."""
    absent = []
    for name in names:
        try:
            weights.find(name)
        except UserError:
            absent.append(name)
    return tuple(absent)
