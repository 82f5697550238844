"""``audit``: list, check and export the log of who did what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from backend.cli.console import as_json, err, group, opened, out, table
from backend.errors import UserError

app = group("audit", "Read, check and export the audit log. It is tamper-evident: a changed event breaks the chain.")


@app.command("list")
def list_events(
    limit: Annotated[int, typer.Option(min=1, help="Most events to show.")] = 20,
    action: Annotated[str, typer.Option(help="Only this action, for example artifact.add.")] = "",
    actor: Annotated[str, typer.Option(help="Only what this person or process did.")] = "",
    subject: Annotated[str, typer.Option(help="Only this thing, for example artifact:ID.")] = "",
    text: Annotated[str, typer.Option(help="Only events that contain this text.")] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show events, newest first.

    Example: python -m backend audit list --action artifact.delete --limit 5
    """
    with opened() as runtime:
        events = runtime.audit.events(limit=limit, action=action, actor=actor, subject=subject, text=text)
    if json:
        as_json([vars(event) for event in events])
        return
    rows = [
        (event.seq, event.at.isoformat(timespec="seconds"), event.actor, event.action, event.subject, event.reason)
        for event in events
    ]
    table(["#", "when (UTC)", "who", "action", "what", "why"], rows, empty="No event matches.")


@app.command()
def verify(
    head: Annotated[str, typer.Option(help="A head hash you kept elsewhere; the chain must still contain it.")] = "",
) -> None:
    """Recompute the whole chain; names the first broken event and exits with 1 when there is one.

    Example: python -m backend audit verify --head "$(cat /safe/place/head)"
    """
    with opened() as runtime:
        found = runtime.audit.verify(head or None)
    if not found.ok:
        where = f"event {found.broken_at}" if found.broken_at is not None else "the chain"
        err().print(f"Broken at {where}: {found.reason}", markup=False)
        raise typer.Exit(1)
    out().print(f"{found.events} events, unbroken. Head {found.head}")
    if not found.guarded:
        err().print(f"But the database is not guarded: {found.reason}", markup=False)
        raise typer.Exit(1)


@app.command()
def head() -> None:
    """Print the hash of the newest event, to be kept outside the database.

    Example: python -m backend audit head > /safe/place/head
    """
    with opened() as runtime:
        print(runtime.audit.head())


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="File to write; .csv or .json decides the format.")],
) -> None:
    """Write the whole log to a file, with its head hash.

    Example: python -m backend audit export audit.csv
    """
    form = path.suffix.lower().lstrip(".")
    if form not in ("csv", "json"):
        raise UserError("The audit log is exported as CSV or JSON.", what_to_do="Name the file .csv or .json.")
    with opened() as runtime:
        runtime.audit.export(path, form)  # type: ignore[arg-type]
        count = runtime.audit.count()
    out().print(f"{count} events written.")
