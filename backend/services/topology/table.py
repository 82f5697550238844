"""What the pages of pictures and of volumes have in common: the table of repairs, the legend, numbers in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend.errors import UserError
from backend.services.topology.compare import SIMPLE
from backend.services.topology.render import KINDS, VOLUME_MEANINGS
from backend.services.topology.requests import Cleaned, ComparisonRow, SimpleRepairs

if TYPE_CHECKING:
    Bounds = Mapping[str, tuple[float, float, float, str]]

LIMITS: Bounds = {
    "remove_below": (0, 100_000, 1, "px"),
    "fill_below": (0, 100_000, 1, "px"),
    "fill_share": (0, 10, 0.05, "× median hole"),
    "closing_radius": (0, 25, 1, "px"),
    "hysteresis_low": (0.01, 0.99, 0.01, ""),
    "hysteresis_high": (0.01, 0.99, 0.01, ""),
}
"""Least, greatest, step and unit of each parameter of the simple repairs."""
VOLUME_LIMITS: Bounds = {
    **LIMITS,
    "remove_below": (0, 1_000_000, 1, "voxels"),
    "fill_below": (0, 1_000_000, 1, "voxels"),
    "fill_share": (0, 10, 0.05, "× median cavity"),
    "closing_radius": (0, 6, 1, "voxels"),
}
WORDS = {
    "remove_below": "pieces below",
    "fill_below": "holes below",
    "fill_share": "and below",
    "closing_radius": "radius",
    "hysteresis_low": "low",
    "hysteresis_high": "high",
}


def check_threshold(value: float) -> None:
    """Raise ``UserError`` unless the threshold lies between 0 and 1."""
    if not 0 < value < 1:
        raise UserError("The threshold must lie between 0 and 1.", f"It was {value:g}.", "Choose one in between.")


def check_tuning(tune: SimpleRepairs, bounds: Bounds) -> None:
    """Raise ``UserError`` for a parameter outside its bounds."""
    for name, (low, high, _, _) in bounds.items():
        if not low <= getattr(tune, name) <= high:
            raise UserError(
                f"The value for '{WORDS[name]}' is out of range.", f"It must lie between {low:g} and {high:g}."
            )


def counted_kinds(counts: Mapping[str, int], *, volume: bool = False) -> list[dict[str, Any]]:
    """The kinds of change that occur, for the legend: colour, code in a kind layer, meaning and how often."""
    return [
        {
            "kind": style.kind,
            "code": style.code,
            "title": style.title,
            "colour": style.colour,
            "meaning": VOLUME_MEANINGS[style.kind] if volume else style.meaning,
            "count": counts[style.kind],
        }
        for style in KINDS
        if counts[style.kind]
    ]


def comparison_table(
    rows: tuple[ComparisonRow, ...], tune: SimpleRepairs, request: Cleaned, bounds: Bounds, connectivity: str
) -> dict[str, Any]:
    """The repairs side by side as plain values: columns with their meaning, rows with cells and the fields to tune."""
    known = rows[0].errors is not None
    volume = rows[0].betti.b2 is not None
    element = "voxels" if volume else "px"
    columns = [
        {"title": "Repair", "meaning": "What was done to the same input"},
        {"title": "Settings", "meaning": "Change them to tune a simple repair"},
        {"title": "β₀ pieces", "meaning": f"Separate pieces; {connectivity}"},
        {"title": "β₁ loops" if volume else "β₁ holes", "meaning": f"Closed loops; {connectivity}"},
    ]
    if volume:
        columns.append({"title": "β₂ cavities", "meaning": f"Cavities shut off inside; {connectivity}"})
    columns += [
        {"title": f"Changed {element}", "meaning": f"{element.capitalize()} that differ from the input"},
        {"title": "Dice with input", "meaning": "Overlap with the input, 1 is identical"},
    ]
    if known:
        columns += _error_columns(volume)
    caption = (
        "Errors are measured against the true mask, which no method saw; less is better."
        if known
        else "Without a true mask nothing here says which is right: fewer pieces or holes are not better in themselves."
    )
    return {
        "title": "The same input, repaired without a network",
        "caption": f"{caption} Connectivity: {connectivity}.",
        "columns": columns,
        "rows": [_row(row, tune, request, bounds) for row in rows],
    }


def became(before: int, after: int, noun: str) -> str:
    """Before and after in words: "3 holes became 1", "1 hole, as before"."""
    return f"{count(before, noun)}, as before" if before == after else f"{count(before, noun)} became {after:,}"


def count(number: int, noun: str) -> str:
    """A number and its noun, in the plural where needed."""
    several = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else several}"


def _error_columns(volume: bool) -> list[dict[str, str]]:
    errors = [
        {"title": "β₀ error", "meaning": "Pieces too many or too few against the true mask"},
        {"title": "β₁ error", "meaning": "Loops too many or too few against the true mask"},
    ]
    if volume:
        errors.append({"title": "β₂ error", "meaning": "Cavities too many or too few against the true mask"})
    holes = "cavities" if volume else "holes"
    return [
        *errors,
        {
            "title": "Matching error",
            "meaning": f"Pieces and {holes} without a partner at the same place in the true mask: unlike counts, "
            "errors cannot cancel",
        },
        {"title": "Dice", "meaning": "Overlap with the true mask, 1 is identical"},
        {"title": "clDice", "meaning": "Overlap of the centre lines with the true mask, 1 is identical"},
    ]


def _row(row: ComparisonRow, tune: SimpleRepairs, request: Cleaned, bounds: Bounds) -> dict[str, Any]:
    simple = next((repair for repair in SIMPLE if repair.name == row.name), None)
    fields = [
        {
            "name": name,
            "label": WORDS[name],
            "value": getattr(tune, name),
            "min": bounds[name][0],
            "max": bounds[name][1],
            "step": bounds[name][2],
            "unit": bounds[name][3],
        }
        for name in (simple.fields if simple else ())
    ]
    cells = [f"{value:,}" for value in row.betti.as_dict().values()]
    cells += [f"{row.changed:,}", f"{row.dice:.3f}"]
    if row.errors is not None:
        errors = [row.errors.b0, row.errors.b1, *([] if row.errors.b2 is None else [row.errors.b2])]
        cells += [f"{error:,}" for error in (*errors, row.errors.matching)]
        cells += [f"{row.errors.dice:.3f}", f"{row.errors.cldice:.3f}"]
    return {
        "name": row.name,
        "title": row.title,
        "meaning": simple.meaning if simple else "",
        "ours": row.name == "refined",
        "text": _cleaning(request, bounds) if row.name == "refined" else "",
        "fields": fields,
        "cells": cells,
    }


def _cleaning(request: Cleaned, bounds: Bounds) -> str:
    """The same cleaning as the last simple repair follows the network, so it is stated beside it."""
    element, share = bounds["remove_below"][3], bounds["fill_share"][3]
    return (
        f"then pieces below {request.remove_below} {element}, holes below {request.fill_below} {element} "
        f"and below {request.fill_share:g} {share}"
    )
