"""``generate``: run an action of a system through the job engine, or make again what one made."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from backend.catalogue import CATALOGUE
from backend.cli import artifacts
from backend.cli.console import as_json, err, opened, out
from backend.cli.values import parse
from backend.errors import UserError
from backend.identity import COMMAND_LINE
from backend.jobs.contract import JobState, JobView
from backend.runtime import Runtime

FIRST_FIELDS = ("source", "sources", "input", "image", "mask", "volume", "clip")
"""Request fields that ``--input FILE`` and ``--sample ID`` fill when they name none."""

Show = Callable[[float, float, str], None]


def generate(
    system: Annotated[str, typer.Argument(help="System, for example topology.")] = "",
    action: Annotated[str, typer.Argument(help="What it shall do, for example refine.")] = "",
    values: Annotated[list[str] | None, typer.Argument(help="Fields of the request as key=value.")] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            help="A file to work on, or field=FILE; de-identified on arrival. Actions on many files take it "
            "several times, and a folder or ZIP of files.",
        ),
    ] = None,
    sample: Annotated[
        list[str] | None, typer.Option("--sample", help="A sample to work on instead (see `samples`), or field=ID.")
    ] = None,
    to: Annotated[Path | None, typer.Option("--out", help="Folder to copy the results into.")] = None,
    replay: Annotated[str, typer.Option(help="Make the job behind this artifact again and compare every byte.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run an action as a job, with a progress bar; Ctrl-C cancels it. Results stay in the store with their provenance.

    With --replay the exit status says whether everything came out identical: 0, or 1 if not.

    Example: python -m backend generate topology refine --input mask.png --out repaired

    Example: python -m backend generate topology refine threshold=0.6 --sample phantom-vessels-3

    Example: python -m backend generate topology batch --input masks --input truths=true-masks --out repaired

    Example: python -m backend generate --replay ARTIFACT
    """
    if replay:
        if system or action or values or given or sample:
            raise UserError("--replay stands alone.", "What to make is taken from the artifact's provenance.")
        _replay(replay)
        return
    if not action:
        raise UserError("Name a system and an action.", what_to_do=_choices(system))
    chosen = CATALOGUE.action(system, action)
    request = parse(chosen.request, values or [])
    with opened(jobs=True) as runtime:
        several = _lists(chosen.request)
        for option, take, take_all in ((given, _take_file, _take_files), (sample, _take_sample, _take_samples)):
            for word in option or []:
                field, what = _field(chosen.request, word)
                if field in several:
                    request[field] = [*request.get(field, []), *take_all(runtime, what)]
                    continue
                if field in request:
                    raise UserError(f"{field!r} is given twice.", what_to_do="Give it once.")
                request[field] = take(runtime, what)
        with _interrupt() as interrupted:
            job = runtime.jobs.submit(system, action, request, actor=COMMAND_LINE)
            view = _follow(runtime, job, interrupted)
        if view.state is JobState.FAILED:
            raise UserError(**{key: (view.error or {}).get(key, "") for key in ("what", "why", "what_to_do")})
        if view.state is not JobState.DONE:
            err().print(f"The job was {view.state}. What it had finished stays in the store.")
            raise typer.Exit(130)
        made = [runtime.artifacts.view(item) for item in view.artifacts]
        copied = artifacts.copy_out(runtime, made, to) if to is not None else []
    if json:
        as_json({"job": job, "result": view.result, "files": [str(path) for path in copied]})
        return
    artifacts.show(made)
    for path in copied:
        out().print(str(path), markup=False)


@contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets the event instead of breaking off wherever the program stands; a second one breaks off."""
    event = threading.Event()

    def note(number: int, frame: object) -> None:
        event.set()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)


def _follow(runtime: Runtime, job: str, interrupted: threading.Event) -> JobView:
    """Show progress until the job is final; an interrupt cancels it and waits for its end."""
    view = runtime.jobs.view(job)
    cancelled = False
    with _progress(f"{view.system} {view.action}") as show:
        while not view.state.final:
            if interrupted.is_set() and not cancelled:
                cancelled = True
                runtime.jobs.cancel(job, actor=COMMAND_LINE)
                err().print("Cancelling; it stops at its next step.")
            try:
                view = runtime.jobs.wait(job, timeout=0.2)
            except TimeoutError:
                view = runtime.jobs.view(job)
                show(view.done, view.total, view.note)
    return view


def _replay(artifact: str) -> None:
    from backend.jobs.replay import replay

    with opened() as runtime, _progress("making it again") as show:
        found = replay(runtime, artifact, actor=COMMAND_LINE, progress=show)
    for file in found.files:
        out().print(f"{file.original.name}: {file.difference or 'identical'}", markup=False)
    if not found.identical:
        for change in found.changed:
            err().print(f"Different here: {change}.", markup=False)
        raise typer.Exit(1)


@contextmanager
def _progress(title: str) -> Iterator[Show]:
    """A progress bar on standard error, as a function of done, total and note."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err(), transient=True) as bar:
        task = bar.add_task(title, total=None)

        def show(done: float, total: float, note: str) -> None:
            bar.update(task, completed=done, total=total or None, description=note or title)

        yield show


def _field(request: Any, word: str) -> tuple[str, str]:
    """Which field of the request a file or sample fills."""
    names = [field.name for field in dataclasses.fields(request)]
    field, equals, what = word.partition("=")
    if equals and field in names:
        return field, what
    for name in FIRST_FIELDS:
        if name in names:
            return name, word
    raise UserError("This action takes no file.", what_to_do=f"Its fields are: {', '.join(names)}.")


def _lists(request: type) -> set[str]:
    """Fields that hold the ids of any number of files."""
    return {name for name, kind in get_type_hints(request).items() if kind == tuple[str, ...]}


def _take_files(runtime: Runtime, name: str) -> list[str]:
    """Every file of a folder or ZIP, or the one file. One that cannot be had stops it: numbers must stay in step."""
    from backend.media.intake_several import accept_several

    path = Path(name)
    if not path.exists():
        raise UserError("The input does not exist.", what_to_do="Check its name.")
    arrivals = accept_several(runtime, path, filename=path.name, actor=COMMAND_LINE)
    refused = [arrival for arrival in arrivals if arrival.error is not None]
    for arrival in refused:
        # Said here and not in the error, which may be logged: names of files can be names of patients.
        err().print(f"{arrival.name or path.name}: {arrival.error.what if arrival.error else ''}", markup=False)
    if refused:
        raise UserError(
            f"{len(refused)} of {len(arrivals)} files cannot be taken.", "", "Leave them out, or mend them."
        )
    return [arrival.view.id for arrival in arrivals if arrival.view is not None]


def _take_samples(runtime: Runtime, name: str) -> list[str]:
    return [_take_sample(runtime, name)]


def _take_file(runtime: Runtime, name: str) -> str:
    from backend.media.intake import accept_upload

    path = Path(name)
    if not path.is_file():
        raise UserError("The input file does not exist.", what_to_do="Check its name.")
    return accept_upload(runtime, path, filename=path.name, actor=COMMAND_LINE).id


def _take_sample(runtime: Runtime, name: str) -> str:
    from backend.samples import accept_sample

    return accept_sample(runtime, name, actor=COMMAND_LINE).id


def _choices(system: str) -> str:
    if system:
        return f"{system} can do: {', '.join(CATALOGUE.get(system).actions()) or 'nothing as a job yet'}."
    offers = [f"{item.name} {action}" for item in CATALOGUE for action in item.actions()]
    return f"There are: {', '.join(offers)}."
