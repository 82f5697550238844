"""What README names and what there really is, as sets to compare. ``python -m tests.readme`` prints the tables for it.

README is read by these rules. Names count where they stand in backticks or in a fenced block. A table whose first
heading is "Tab" lists every tab, one whose first heading is "System" every system of the catalogue with a column
"State".
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
Words = tuple[str, ...]


def code(text: str) -> list[str]:
    """Everything in backticks, and the lines of fenced blocks without their comments."""
    found: list[str] = []
    fenced = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for block in fenced.findall(text):
        found += [line.partition(" #")[0].strip() for line in block.splitlines() if line.strip()]
    found += [token.strip() for token in re.findall(r"`([^`\n]+)`", fenced.sub("", text))]
    return found


def table(text: str, heading: str) -> list[dict[str, str]]:
    """Rows of the first table whose first column has that heading, by column; marks of emphasis are taken off."""
    lines = [line.strip() for line in text.splitlines()]
    for index, line in enumerate(lines):
        columns = cells(line)
        if columns and columns[0].lower() == heading.lower():
            rows = []
            for row in lines[index + 2 :]:
                if not row.startswith("|"):
                    break
                rows.append(dict(zip([column.lower() for column in columns], cells(row), strict=True)))
            return rows
    return []


def cells(line: str) -> list[str]:
    """Cells of one line of a table."""
    if not line.startswith("|"):
        return []
    return [re.sub(r"[*_`]", "", cell).strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]


def make_targets() -> dict[str, str]:
    """Documented targets of the Makefile and what they do."""
    return dict(re.findall(r"^([a-z][a-z-]*):[^#\n]*## (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


@lru_cache(maxsize=1)
def commands() -> dict[Words, Any]:
    """Every command of ``python -m backend`` by its words, as typer's command object; groups are left out."""
    import typer.main

    from backend.cli.program import app

    def walk(group: Any, words: Words) -> dict[Words, Any]:
        inner = getattr(group, "commands", None)
        if inner is None:
            return {words: group}
        return {key: value for name, each in inner.items() for key, value in walk(each, (*words, name)).items()}

    return walk(typer.main.get_command(app), ())


def options(command: Any) -> set[str]:
    """Options of a command, as they are written."""
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def settings() -> dict[str, str]:
    """Environment variables and what they do."""
    from backend.settings import Settings

    return {f"SYNTHSCOPE_{name.upper()}": field.description or "" for name, field in Settings.model_fields.items()}


def routes() -> dict[str, str]:
    """Our own routes, ``GET /api/jobs/{job_id}``, with the first line of their docstring."""
    from app import server

    found = {}
    for router in server.routers():
        for route in router.routes:
            text = (route.endpoint.__doc__ or "").strip().splitlines() or [""]
            for method in sorted((getattr(route, "methods", None) or {"GET"}) - {"HEAD", "OPTIONS"}):
                found[f"{method} {route.path}"] = text[0]
    return found


def anonymous(path: str) -> str:
    """A route without the names of its parameters."""
    return re.sub(r"\{[^}]*\}", "{}", path)


def tabs() -> list[str]:
    """Titles of the page's tabs."""
    from app import workbench

    return [title for _, title, _ in workbench.tabs()]


def benchmarks() -> set[str]:
    """Names that ``python -m tests.benchmarks`` takes."""
    from tests.benchmarks.__main__ import benchmarks as every

    return {*every(), "all"}


def main() -> None:
    """Print the tables that README must hold, ready to be pasted."""
    from backend.catalogue import CATALOGUE

    def show(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        print(f"\n## {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for row in rows:
            print(f"| {' | '.join(row)} |")

    show(
        "Make targets", ("Target", "What it does"), [(f"`make {name}`", text) for name, text in make_targets().items()]
    )
    show(
        "Commands",
        ("Command", "What it does"),
        [
            (f"`python -m backend {' '.join(words)}`", (command.help or "").strip().splitlines()[0])
            for words, command in commands().items()
        ],
    )
    show("Settings", ("Variable", "What it sets"), [(f"`{name}`", text) for name, text in settings().items()])
    show(
        "Routes",
        ("Route", "What it gives"),
        [(f"`{name}`", text.replace("``", "`")) for name, text in routes().items()],
    )
    show("Tabs", ("Tab", "What it is for"), [(f"**{title}**", "…") for title in tabs()])
    rows = [(system.title, system.paper, system.state, "…") for system in CATALOGUE]
    show("The ten systems", ("System", "Paper", "State", "Measured evidence"), rows)


if __name__ == "__main__":
    main()
