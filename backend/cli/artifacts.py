"""``artifacts``: list, copy out and check what is stored."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from backend.cli.console import as_json, err, group, opened, out, size, table
from backend.errors import UserError
from backend.jobs.contract import ArtifactView
from backend.runtime import Runtime
from backend.store.files import part_beside

app = group("artifacts", "What people brought and systems made: list it, copy it out, check it.")


@app.command("list")
def list_artifacts(
    kind: Annotated[str, typer.Option(help="Only this kind: upload, sample, mask, image, table …")] = "",
    system: Annotated[str, typer.Option(help="Only what this system made.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most artifacts to show.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with provenance.")] = False,
) -> None:
    """Show artifacts, newest first.

    Example: python -m backend artifacts list --system topology --kind mask
    """
    with opened() as runtime:
        views = runtime.artifacts.list(kind=kind, system=system, limit=limit)
    if json:
        as_json([{**vars(view), "provenance": view.provenance.as_dict()} for view in views])
        return
    table(["artifact", "name", "kind", "size", "synthetic", "made (UTC)"], [_row(view) for view in views])


@app.command()
def export(
    artifact: Annotated[list[str], typer.Argument(help="Ids of artifacts.")],
    to: Annotated[Path, typer.Option(help="Folder to copy them into; it is made if needed.")] = Path(),
) -> None:
    """Copy artifacts out of the store; each file carries its provenance inside.

    Example: python -m backend artifacts export ID1 ID2 --to results
    """
    with opened() as runtime:
        for path in copy_out(runtime, [runtime.artifacts.view(item) for item in artifact], to):
            out().print(str(path), markup=False)


@app.command()
def verify(
    artifact: Annotated[list[str] | None, typer.Argument(help="Ids; without any, all are checked.")] = None,
) -> None:
    """Compare files with the hashes they were stored with; exits with 1 when one differs or is missing.

    Example: python -m backend artifacts verify
    """
    with opened() as runtime:
        ids = artifact or [view.id for view in runtime.artifacts.list(limit=1_000_000)]
        bad = [item for item in ids if not runtime.artifacts.verify(item)]
    for item in bad:
        err().print(f"{item} is not as it was stored.")
    if bad:
        raise typer.Exit(1)
    out().print(f"{len(ids)} artifacts are as they were stored.")


def copy_out(runtime: Runtime, views: Sequence[ArtifactView], folder: Path) -> list[Path]:
    """Copy artifacts into a folder under their own names, numbered where a name is taken. Raises ``UserError``."""
    copied = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for view in views:
            target = _free(folder, view.name)
            temporary = part_beside(target)
            try:
                shutil.copyfile(runtime.artifacts.path(view.id), temporary)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            copied.append(target)
    except OSError as error:
        raise UserError(
            "The results cannot be written there.", f"The system says: {error.strerror or type(error).__name__}."
        ) from None
    return copied


def show(views: Sequence[ArtifactView]) -> None:
    """Print artifacts as a table."""
    table(["artifact", "name", "kind", "size", "synthetic", "made (UTC)"], [_row(view) for view in views])


def _row(view: ArtifactView) -> tuple[object, ...]:
    made = view.created_at.isoformat(timespec="seconds")
    return view.id, view.name, view.kind, size(view.size), "yes" if view.synthetic else "no", made


def _free(folder: Path, name: str) -> Path:
    """A path in the folder that does not exist yet: ``mask.png``, then ``mask-2.png`` …"""
    stem, dot, suffix = name.partition(".")
    number, candidate = 1, folder / name
    while candidate.exists():
        number += 1
        candidate = folder / f"{stem}-{number}{dot}{suffix}"
    return candidate
