"""``python -m tests.benchmarks SYSTEM``: run one benchmark, print its table, end with one line of JSON."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from backend.catalogue import CATALOGUE
from tests.benchmarks.harness import Options, Report, data_folder


def benchmarks() -> dict[str, str]:
    """Benchmark modules by the name one calls them: every system that has one, and the house."""
    found = {"house": "tests.benchmarks.house"}
    for system in CATALOGUE:
        if system.benchmark and system.benchmark not in found.values():
            found[system.name] = system.benchmark
    return found


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned plain text; columns in order of first appearance, numbers to four significant digits."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells = [columns] + [[text(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def text(value: Any) -> str:
    """One cell of the table."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def show(system: str, report: Report, seconds: float) -> None:
    """Print the report; its last line is the JSON."""
    if report.rows:
        print(table(report.rows))
    for note in report.notes:
        print(f"note: {note}")
    for reason in report.skipped:
        print(f"skipped: {reason}")
    print(f"took {seconds:.0f} s")
    print(report.json_line(system), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    known = benchmarks()
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("system", choices=[*sorted(known), "all"], help="what to measure")
    parser.add_argument("--full", action="store_true", help="every case and repeat; the default takes a few minutes")
    parser.add_argument("--data", type=Path, help="folder of real data (default: ../shared/data, then SYNTHSCOPE_DATA)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default 0)")
    given = parser.parse_args(arguments)
    try:
        data = data_folder(given.data)
    except FileNotFoundError as error:
        parser.error(str(error))
    for system in sorted(known) if given.system == "all" else [given.system]:
        options = Options(system=system, full=given.full, data=data, seed=given.seed)
        start = time.perf_counter()
        report = import_module(known[system]).run(options)
        show(system, report, time.perf_counter() - start)
    return 0


if __name__ == "__main__":
    sys.exit(main())
