"""``jobs``: what runs, what ran, and cancelling it."""

from __future__ import annotations

from typing import Annotated

import typer

from backend.cli.console import as_json, group, opened, out, table
from backend.identity import COMMAND_LINE

app = group("jobs", "List the jobs of this installation and cancel them, whichever process runs them.")


@app.command("list")
def list_jobs(
    active: Annotated[bool, typer.Option("--active", help="Only those that are queued or running.")] = False,
    system: Annotated[str, typer.Option(help="Only those of this system.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="Most jobs to show.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show jobs, newest first.

    Example: python -m backend jobs list --active
    """
    with opened() as runtime:
        views = runtime.jobs.list(active=active, system=system, limit=limit)
    if json:
        as_json([vars(view) for view in views])
        return
    rows = [
        (
            view.id,
            f"{view.system} {view.action}",
            view.state,
            f"{view.fraction:.0%}",
            f"{view.elapsed_s:.1f} s" if view.elapsed_s is not None else "",
            view.created_at.isoformat(timespec="seconds"),
            view.created_by,
        )
        for view in views
    ]
    table(["job", "what", "state", "done", "took", "asked (UTC)", "by"], rows, empty="There is no such job.")


@app.command()
def cancel(job: Annotated[str, typer.Argument(help="Id of the job, as `jobs list` shows it.")]) -> None:
    """Ask a job to stop: a queued one stops at once, a running one at its next step.

    Example: python -m backend jobs cancel JOB
    """
    with opened() as runtime:
        before = runtime.jobs.view(job)
        if before.state.final:
            out().print(f"The job was already {before.state}.")
            return
        runtime.jobs.cancel(job, actor=COMMAND_LINE)
    out().print("The job was asked to stop.")
