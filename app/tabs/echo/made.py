"""Clips that were made, as the page shows them: one with its curve, several side by side with their numbers."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape
from typing import Any

from app.components.clip_view import ClipPane
from app.tabs.echo.shown import STYLES, curve_figure, echo_html, ef_text
from backend.services.echo.making import MODELS, CompareResult, GenerateResult, Made

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SYNTHETIC = "synthetic"


def made_html(result: GenerateResult) -> str:
    """Player, numbers and curve of one made clip."""
    made = result.made
    how = f"{MODELS[made.model][0]}, {made.steps} steps"
    took = f"Made by {how} in {made.seconds:.1f} s{f', schedule {made.schedule}' if made.schedule else ''}."
    pane = ClipPane("", made.clip, SYNTHETIC, STYLES)
    return echo_html([pane], made.measured, requested=made.ef, notes=[*result.notes, took], labelled=False)


def compared_html(result: CompareResult, over: str) -> str:
    """Several clips of one wish in lockstep, their curves in one plot, and their numbers in a table."""
    panes = [asdict(ClipPane(made.title, made.clip, SYNTHETIC, STYLES)) for made in result.made]
    shown: dict[str, Any] = {
        "panes": panes,
        "notes": list(result.notes),
        "figure": _curves(result.made),
        "fps": result.made[0].measured.fps,
        "labelled": False,
    }
    element = f'<ss-echo shown="{escape(json.dumps(shown))}"></ss-echo>'
    return f"{element}{_table(result.made, over)}{_quality(result.made) if over == 'steps' else ''}"


def _curves(clips: tuple[Made, ...]) -> dict[str, Any]:
    """The smoothed curve of every clip, each as a share of its largest volume."""
    figure = curve_figure(clips[0].measured)
    figure["traces"] = []
    for made, colour in zip(clips, COLOURS, strict=False):
        line = next(trace for trace in curve_figure(made.measured)["traces"] if trace["name"] == "smoothed")
        figure["traces"].append({**line, "name": made.title, "line": {"color": colour, "width": 2}})
    return {**figure, "range": {**figure["range"], "y": [0, 108]}}


def _table(clips: tuple[Made, ...], over: str) -> str:
    steps = over == "steps"
    heads = ["Clip", "EF asked for", "EF measured", "Heart rate measured", "Seconds"]
    heads += ["Difference to most steps, grey levels"] if steps else ["Schedule"]
    rows = []
    for made in clips:
        rate = f"{made.measured.heart_rate:.0f} /min" if made.measured.heart_rate else "unknown"
        last = f"{made.difference:.2f}" if steps and made.difference is not None else escape(made.schedule)
        measured = ef_text(made.measured).removeprefix("EF ")
        cells = (f"{made.ef:.0f} %", measured, rate, f"{made.seconds:.1f}", last)
        title = escape(MODELS[made.model][1])
        numbers = "".join(f'<td class="ss-number">{cell}</td>' for cell in cells)
        rows.append(f'<tr><th scope="row" title="{title}">{escape(made.title)}</th>{numbers}</tr>')
    head = "".join(f'<th scope="col" class="ss-number">{text}</th>' for text in heads[1:])
    head = f'<th scope="col">{heads[0]}</th>{head}'
    return (
        f'<div class="ss-table-wrap"><table class="ss-table"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}'
        "</tbody></table></div><p><small>One patient and one seed: a single draw says little about a model; the "
        "benchmark measures many.</small></p>"
    )


def _quality(clips: tuple[Made, ...]) -> str:
    """How far the clip still is from that of the most steps, against the seconds it took."""
    # The student is another model: a point beside the line.
    line, points = (
        [made for made in clips if made.title.startswith("student") is student] for student in (False, True)
    )
    # Room for the words beside the points.
    ends = {
        "x": [0, 1.12 * max(made.seconds for made in clips)],
        "y": [0, 1.25 * max([0.1, *(made.difference or 0 for made in clips)])],
    }
    figure = {
        "traces": [
            {
                "type": "scatter",
                "mode": mode,
                "x": [made.seconds for made in group],
                "y": [made.difference for made in group],
                "text": [made.title for made in group],
                "textposition": "top right",
                "hovertemplate": "%{text}<br>%{x:.1f} s<br>%{y:.2f} grey levels<extra></extra>",
            }
            for group, mode in ((line, "lines+markers+text"), (points, "markers+text"))
            if group
        ],
        "x": "seconds on this machine",
        "y": "difference [grey levels]",
        "label": "Difference to the clip of the most steps against seconds",
        "range": ends,
        "legend": False,
    }
    return f'<ss-plot figure="{escape(json.dumps(figure))}"></ss-plot>'
