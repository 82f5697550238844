"""``train``: run a system's training recipe with a progress bar; Ctrl-C keeps a checkpoint to go on from."""

from __future__ import annotations

import dataclasses
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from backend.catalogue import CATALOGUE
from backend.cli.console import err, out
from backend.cli.values import fill
from backend.errors import UserError


def train(
    system: Annotated[str, typer.Argument(help="System to train, for example topology.")],
    values: Annotated[list[str] | None, typer.Argument(help="More of the recipe's fields as key=value.")] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "--masks", help="Folder of your own masks or clips; without it, phantoms are drawn."),
    ] = None,
    minutes: Annotated[
        float, typer.Option(min=0.01, help="Time to train, all runs of a resumed training together.")
    ] = 20,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for weights, card and checkpoint [default: your home's weights]."),
    ] = None,
    start: Annotated[
        str, typer.Option(help="Weights to go on from, for example topology/refiner2d [default: from scratch].")
    ] = "",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    resume: Annotated[bool, typer.Option(help="Go on from the checkpoint in the folder.")] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace finished weights in the folder.")] = False,
) -> None:
    """Train a system's network and write weights, config and card.

    Weights in the default folder are found by name, for example topology/trained or echo/trained-video. Press Ctrl-C to
    stop; the same command goes on from there.

    Example: python -m backend train topology --masks masks --minutes 20

    Example: python -m backend train topology --masks masks --minutes 4 --start topology/refiner2d

    Example: python -m backend train topology recipe=polynomial --minutes 5 --out baseline
    """
    from backend.settings import get_settings
    from backend.weights import MODEL, resolve_device

    CATALOGUE.get(system)
    name = f"backend.training.{system}"
    if find_spec(name) is None:
        raise UserError(f"There is nothing to train for {system!r} yet.", what_to_do=f"Choose one of: {_trainable()}.")
    recipe = import_module(name)
    given: dict[str, Any] = {
        "out": to or Path(),
        "minutes": minutes,
        "device": resolve_device(device),
        "seed": seed,
        "resume": resume,
        "command": _command(system, data, minutes, seed, start, values or []),
    }
    fields = {field.name for field in dataclasses.fields(recipe.TrainRequest)}
    if data is not None:
        given["masks" if "masks" in fields else "data"] = data
    if start:
        if "start" not in fields:
            raise UserError(f"The training of {system!r} cannot go on from other weights.", what_to_do="Omit --start.")
        given["start"] = start
    request = fill(recipe.TrainRequest, values or [], given)
    if to is None:
        # A system with several parts names a folder for each.
        short = recipe.default_name(request) if hasattr(recipe, "default_name") else "trained"
        request = dataclasses.replace(request, out=get_settings().home / "weights" / system / short)
    if (request.out / MODEL).exists() and not overwrite:
        raise UserError(
            "There are finished weights in that folder.",
            what_to_do="Choose another folder with --out, or replace them with --overwrite.",
        )
    try:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
        with Progress(*columns, TimeRemainingColumn(), console=err()) as bar:
            task = bar.add_task(f"training {system}", total=1.0)
            report = recipe.train(
                request, progress=lambda fraction, note: bar.update(task, completed=fraction, description=note)
            )
            bar.update(task, completed=1.0)
    except KeyboardInterrupt:
        err().print("Stopped. The same command goes on from here.")
        raise typer.Exit(130) from None
    out().print(
        f"{report.steps} steps in {report.minutes:.1f} minutes. Weights {report.sha256[:16]} in {report.folder}"
    )
    for note in report.notes:
        out().print(note)
    out().print(_table(system, report))


def _table(system: str, report: Any) -> Table:
    """The closing table: a row a method, a column a measure, with intervals over the items that were measured."""
    rows: dict[str, dict[str, str]] = {}
    for key, mean in report.validation.items():
        method, _, measure = key.rpartition(".")
        rows.setdefault(method or system, {})[measure] = _cell(mean, report.each.get(key, []))
    measures = list(dict.fromkeys(measure for row in rows.values() for measure in row))
    count = max((len(values) for values in report.each.values()), default=0) or report.held_out
    what = f"{count} held out" if report.held_out else f"the {count} of the training itself, too few to hold any out"
    table = Table(title=f"Mean [95 % interval] over {what}", title_justify="left", min_width=60)
    table.add_column("method")
    for measure in measures:
        table.add_column(measure, justify="right", no_wrap=True)
    for method, row in rows.items():
        table.add_row(method, *(row.get(measure, "") for measure in measures))
    return table


def _cell(mean: float, values: list[float]) -> str:
    if len(values) < 2:
        return f"{mean:.3g}"
    from backend.training.topology_measure import interval

    _, low, high = interval(values)
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]"


def _command(system: str, data: Path | None, minutes: float, seed: int, start: str, values: list[str]) -> str:
    """The command as the card names it: without the places of this machine."""
    named = [shlex.quote(_without_place(value)) for value in values]
    parts = ["python -m backend train", system, *named, f"--minutes {minutes:g}", f"--seed {seed}"]
    parts += [f"--start {shlex.quote(start)}"] if start else []
    return " ".join([*parts, "--data DIR"] if data is not None else parts)


def _without_place(value: str) -> str:
    """``key=/some/where/file`` as ``key=file``."""
    key, _, given = value.partition("=")
    return f"{key}={Path(given).name}" if Path(given).is_absolute() else value


def _trainable() -> str:
    return ", ".join(system.name for system in CATALOGUE if find_spec(f"backend.training.{system.name}")) or "none yet"
