"""``evaluate``: measure a folder of predictions against a folder of truths."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from backend.catalogue import CATALOGUE
from backend.cli.console import as_json, err, out, table
from backend.errors import UserError
from backend.notices import RESEARCH_ONLY

if TYPE_CHECKING:
    import numpy as np


def evaluate(
    system: Annotated[str, typer.Argument(help="Whose measures to compute, for example topology.")],
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted masks.")],
    truths: Annotated[Path, typer.Argument(help="Folder of true masks with the same names (suffixes may differ).")],
    to: Annotated[Path | None, typer.Option("--out", help="CSV file to write, one line a mask.")] = None,
    threshold: Annotated[
        float, typer.Option(min=0, max=1, help="What counts as foreground in a probability map.")
    ] = 0.5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare masks with their truths: Dice, clDice, errors of the Betti numbers, Betti matching.

    Foreground is 8-connected, background 4-connected. The closing lines are mean and median over the masks.

    Example: python -m backend evaluate topology predictions truth --out measures.csv
    """
    CATALOGUE.get(system)
    if system not in MEASURES:
        raise UserError(f"There are no measures for {system!r} yet.", what_to_do=f"Choose: {', '.join(MEASURES)}.")
    pairs = _pairs(predictions, truths)
    rows: list[dict[str, str | float]] = []
    for name, predicted, truth in pairs:
        masks = (_mask(predicted, threshold), _mask(truth, threshold))
        if masks[0].shape != masks[1].shape:
            raise UserError(f"The two masks called {name!r} differ in size.", what_to_do="Make them one size.")
        rows.append({"name": name, **MEASURES[system](*masks)})
    columns = list(rows[0])
    if to is not None:
        _write_csv(to, columns, rows)
    if json:
        as_json(rows)
        return
    measures = columns[1:]
    summary = [
        (title, *(f"{middle([float(row[name]) for row in rows]):.4g}" for name in measures))
        for title, middle in (("mean", statistics.fmean), ("median", statistics.median))
    ]
    shown = [(row["name"], *(f"{row[name]:.4g}" for name in measures)) for row in rows]
    table(["mask", *measures], [*shown, *summary])
    out().print(RESEARCH_ONLY)


def topology_measures(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Measures of one mask [H, W] bool: overlap in 0…1 (1 is best), the rest are counts of errors (0 is best)."""
    from models.metrics.betti import betti_errors
    from models.metrics.matching import betti_matching, unmatched_regions
    from models.metrics.overlap import cldice, dice

    b0, b1 = betti_errors(predicted, truth)
    return {
        "dice": dice(predicted, truth),
        "cldice": cldice(predicted, truth),
        "betti0_error": b0,
        "betti1_error": b1,
        "betti_matching_error": betti_matching(predicted, truth).error,
        "unmatched_regions": unmatched_regions(predicted, truth),
    }


MEASURES: dict[str, Callable[[np.ndarray, np.ndarray], dict[str, float]]] = {"topology": topology_measures}
"""What is measured, by system."""


def _pairs(predictions: Path, truths: Path) -> list[tuple[str, Path, Path]]:
    """Files of both folders with the same stem, by name. Raises ``UserError`` when there is none."""
    found: list[dict[str, Path]] = []
    for folder in (predictions, truths):
        if not folder.is_dir():
            raise UserError("A folder of masks does not exist.", what_to_do="Check both names.")
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
        found.append({path.name.partition(".")[0]: path for path in files})
    predicted, true = found
    common = [name for name in predicted if name in true]
    if not common:
        raise UserError("No mask has its counterpart.", "Files are paired by their names without suffix.")
    alone = len(predicted) + len(true) - 2 * len(common)
    if alone:
        err().print(f"{alone} files without a counterpart are left out.")
    return [(name, predicted[name], true[name]) for name in common]


def _mask(path: Path, threshold: float) -> np.ndarray:
    from backend.media.limits import Limits
    from backend.services.topology.input import interpret
    from backend.services.topology.read import read_map
    from backend.settings import get_settings

    array = read_map(path, Limits.from_settings(get_settings())).array
    if array.min() == array.max():  # an empty or full mask is a result too
        return (array if array.ndim == 2 else array[..., 0]) > 0
    return interpret(array, mend_frame=False).probability >= threshold


def _write_csv(path: Path, columns: list[str], rows: list[dict[str, str | float]]) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, columns)
            writer.writeheader()
            writer.writerows(rows)
        temporary.replace(path)
    except OSError as error:
        raise UserError(
            "The table cannot be written there.", f"The system says: {error.strerror or type(error).__name__}."
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
