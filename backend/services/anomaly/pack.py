"""Anomaly: everything that a detection gave as one ZIP. Nothing heavy is imported on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.errors import UserError
from backend.jobs.contract import Action, JobContext

if TYPE_CHECKING:
    from pathlib import Path

    from backend.provenance import Provenance

MOST_FILES = 40


@dataclass(frozen=True)
class PackRequest:
    """``files``: artifact ids of what goes in, results of one detection and of its review."""

    files: tuple[str, ...]
    seed: int = 0


@dataclass(frozen=True)
class PackResult:
    """Artifact id of the ZIP, and how many files it holds."""

    archive: str
    files: int


def pack(request: PackRequest, ctx: JobContext) -> PackResult:
    """Pack files under their names; ``provenance.json`` in it says of each how it was made.

    Raises ``UserError`` when there are none, too many, or one has no name of its own.
    """
    from backend.media.write_zip import write_zip
    from backend.services.keeper import Keeper

    if not 1 <= len(request.files) <= MOST_FILES:
        raise UserError(f"{len(request.files)} files cannot be packed.", f"It is 1 to {MOST_FILES}.", "Choose others.")
    ctx.progress(0, 1, "Packing the results")
    views = [ctx.view(item) for item in request.files]
    names = [view.name for view in views]
    if len(set(names)) < len(names):
        raise UserError("These files cannot be packed.", "Two of them have one name.", "Choose one result only.")
    files = [(name, ctx.open(item)) for name, item in zip(names, request.files, strict=True)]
    origins: dict[str, Any] = {name: view.provenance.as_dict() for name, view in zip(names, views, strict=True)}

    def write(path: Path, made: Provenance) -> None:
        write_zip(path, files, made, {"files": origins})

    weights = {name: sha for view in views for name, sha in view.provenance.weights.items()}
    keeper = Keeper(ctx, any(view.synthetic for view in views), request.files, weights, request.seed)
    archive = keeper.add("anomaly.zip", "application/zip", write, "archive")
    ctx.progress(1, 1)
    return PackResult(archive, len(files))


ACTIONS: tuple[Action, ...] = (
    Action(
        system="anomaly",
        name="pack",
        run=pack,
        request=PackRequest,
        result=PackResult,
        summary="One ZIP of everything that a detection gave.",
    ),
)
