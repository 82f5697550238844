"""CSV that every program opens without options, and that still carries its mark.

Our choice: no comment lines, which spreadsheets show as data and parsers stumble over. Instead the table has one
column more, the last. Its title is the research-use sentence; its first cell holds the provenance as JSON, the others
are empty. A table without rows carries the sentence only.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from backend.media.marks import Mark, replacing
from backend.notices import RESEARCH_ONLY
from backend.provenance import Provenance

DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], provenance: Provenance) -> None:
    """Write a table (RFC 4180, UTF-8). Floats keep every digit; ``None`` and NaN are empty cells.

    ``columns`` are the titles, with their units; every row has as many values. Text that a spreadsheet would run as a
    formula gets an apostrophe in front. Raises ``ValueError`` for a row of another length or repeated titles.
    """
    if not columns or len(set(columns)) != len(columns) or RESEARCH_ONLY in columns:
        raise ValueError("columns need titles, each its own")
    mark = Mark(provenance).to_text()
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\r\n")
        table.writerow([*columns, RESEARCH_ONLY])
        for row in rows:
            values = [_cell(value) for value in row]
            if len(values) != len(columns):
                raise ValueError(f"a row of {len(values)} values under {len(columns)} titles")
            table.writerow([*values, mark])
            mark = ""


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "item"):  # a NumPy scalar
        value = value.item()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(DANGEROUS) else text
