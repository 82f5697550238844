"""The command line as a whole: every group and command, and the exit status."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from backend.cli import artifacts, audit, evaluate, generate, jobs, listing, train
from backend.cli.console import Group

app = typer.Typer(
    name="python -m backend",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""SynthScope without the page: run systems, train them, measure them, read the audit log.

    [bold]Research use only. Not for diagnosis.[/bold]

    A look around:        python -m backend systems
    Repair a mask:        python -m backend generate topology refine --input mask.png --out repaired
    Make it again:        python -m backend generate --replay ARTIFACT
    Train on your masks:  python -m backend train topology --data masks --minutes 20 --out my-refiner
    Check the audit log:  python -m backend audit verify
    """,
)

app.command("generate")(generate.generate)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.add_typer(audit.app)
app.add_typer(jobs.app)
app.add_typer(artifacts.app)
app.add_typer(listing.weights_app)
app.command("samples")(listing.samples)
app.command("systems")(listing.systems)
app.command("settings")(listing.settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for "no" as an answer, 2 for a mistake, 130 after Ctrl-C."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="python -m backend")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    return 0
