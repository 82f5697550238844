"""What commands share: consoles, groups that turn a ``UserError`` into sentences, an open runtime, tables and sizes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer.core import TyperGroup

from backend.errors import UserError

if TYPE_CHECKING:
    from backend.runtime import Runtime

FILE_WIDTH = 240
"""Characters a table may take where no terminal limits it."""

MISTAKE = 2
"""Exit status after a ``UserError``."""


def out() -> Console:
    """Standard output; made anew because tests and pipes replace the stream."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else FILE_WIDTH)


def err() -> Console:
    """Standard error, for progress and complaints."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


class Group(TyperGroup):
    """A group of commands that prints each sentence of a ``UserError`` on a line and exits with :data:`MISTAKE`."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            for sentence in (error.what, error.why, error.what_to_do):
                if sentence:
                    err().print(sentence, markup=False)
            raise typer.Exit(MISTAKE) from None


def group(name: str, help: str) -> typer.Typer:
    """A group of commands that prints its help when called alone."""
    return typer.Typer(name=name, help=help, cls=Group, no_args_is_help=True, rich_markup_mode="rich")


@contextmanager
def opened(*, jobs: bool = False) -> Iterator[Runtime]:
    """The installation; with ``jobs`` its engine runs what this command submits, and nothing else."""
    from backend import logs
    from backend.runtime import Runtime
    from backend.settings import get_settings

    settings = get_settings()
    quiet = (
        settings if settings.log_level in ("ERROR", "DEBUG") else settings.model_copy(update={"log_level": "WARNING"})
    )
    with Runtime.open(settings, start_jobs=jobs, adopt_jobs=False) as runtime:
        logs.set_up(quiet)
        try:
            yield runtime
        finally:
            logs.shut_down()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str = "Nothing there.") -> None:
    """Print rows as a table, or one sentence when there are none."""
    if not rows:
        out().print(empty)
        return
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for position, column in enumerate(columns):
        drawn.add_column(column, no_wrap=position == 0)  # what comes first is an id or name, to be copied
    for row in rows:
        drawn.add_row(*(escape(str(cell)) for cell in row))
    out().print(drawn)


def as_json(value: Any) -> None:
    """Print plain values as JSON, for other programs."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def size(count: int) -> str:
    """A number of bytes as people read it."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
