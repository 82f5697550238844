"""Which weights the parts of the page need, which are not here, and which belong together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from backend.errors import UserError
from backend.services.echo.requests import METER

if TYPE_CHECKING:
    from backend.weights import WeightFile, Weights

AUTOENCODER, IMAGE_MODEL, VIDEO_MODEL = "echo/autoencoder", "echo/image", "echo/video"
STUDENT = "echo/student"
"""The video model distilled to few steps; generating works without it."""
DEFAULTS = {"autoencoder": AUTOENCODER, "image": IMAGE_MODEL, "video": VIDEO_MODEL}
PARTS = {"autoencoder": "autoencoder", "image": "image model (LIDM)", "video": "video model (LVDM)"}
"""What a generator is made of, by the name of its field in a request → title."""
TO_MEASURE = (METER,)
TO_GENERATE = (*DEFAULTS.values(), METER)


def missing(weights: Weights, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of ``names`` that are not installed."""
    absent = []
    for name in names:
        try:
            weights.find(name)
        except UserError:
            absent.append(name)
    return tuple(absent)


def part_of(weight: WeightFile) -> str:
    """Which part weights are: a key of :data:`PARTS`, "student", or '' for any other, told by their description."""
    arguments = weight.config.get("arguments")
    if not isinstance(arguments, dict):
        return ""
    if "reference" in arguments:
        if "teacher_sha256" in weight.config:
            return "student"
        return "video" if arguments["reference"] else "image"
    return "autoencoder" if "fine" in arguments else ""


def choices(weights: Weights, part: str) -> list[str]:
    """Names of the weights of a part on this machine, the default first, so that a job can say how to get it."""
    found = [weight.name for weight in weights.available() if weight.name.startswith("echo/")]
    fitting = [name for name in found if part_of(weights.find(name)) == part]
    return [DEFAULTS[part], *(name for name in fitting if name != DEFAULTS[part])]


def check_together(weights: Weights, chosen: Mapping[str, str]) -> dict[str, WeightFile]:
    """The weights that ``chosen`` names by part. A generator belongs to the autoencoder whose code it was trained in.

    Raises ``UserError`` where one is not installed, is another part, or they do not belong together.
    """
    found = {part: weights.find(name) for part, name in chosen.items()}
    for part, weight in found.items():
        if part in PARTS and part_of(weight) != part:
            raise UserError(
                f"The weights {weight.name!r} are no {PARTS[part]}.", "", f"Choose others, such as {DEFAULTS[part]}."
            )
    autoencoder = found["autoencoder"]
    for weight in found.values():
        wanted = weight.config.get("autoencoder_sha256")
        if wanted and wanted != autoencoder.sha256:
            owner = next((other.name for other in weights.available() if other.sha256 == wanted), "")
            raise UserError(
                f"The weights {weight.name!r} do not fit the autoencoder {autoencoder.name!r}.",
                "They were trained in the code of another autoencoder.",
                f"Choose the autoencoder {owner}." if owner else "That one is not on this machine; choose others.",
            )
    return found
