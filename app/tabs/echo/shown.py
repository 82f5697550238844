"""What was measured in a clip, as the page shows it: numbers, sentences and the volume curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from app.components.clip_view import ClipPane, LabelStyle
from backend.services.echo.requests import LABELS, KnownTruth, Measured

CURVE, SMOOTH, TRUE = "#0072B2", "#56B4E9", "#767b82"
ED, ES = "#009E73", "#D55E00"
STYLES = tuple(LabelStyle(label.code, label.title, label.colour) for label in LABELS)
NO_TRUTH = "This is a real clip: nobody knows its true ejection fraction, so nothing here is checked against a truth."
EF_WORDS = "ejection fraction, by area-length in this one view"


def echo_html(
    panes: Sequence[ClipPane],
    measured: Measured | None,
    *,
    truth: KnownTruth | None = None,
    requested: float | None = None,
    notes: Sequence[str] = (),
    labelled: bool = True,
) -> str:
    """The element ``<ss-echo>``; ``requested`` is the EF in % that was asked for, of made clips.

    ``labelled`` begins with the labels over the pictures.
    """
    shown: dict[str, Any] = {"panes": [asdict(pane) for pane in panes], "notes": list(notes), "labelled": labelled}
    if measured is not None:
        shown |= {
            "main": {"value": ef_text(measured), "words": _words(measured)},
            "facts": _facts(measured, truth, requested),
            "figure": curve_figure(measured, truth),
            "fps": measured.fps,
            "notes": [*measured.notes, *notes],
        }
    return f'<ss-echo shown="{escape(json.dumps(shown))}"></ss-echo>'


def ef_text(measured: Measured) -> str:
    """The ejection fraction as it is shown."""
    if measured.ef is None:
        return "EF unknown"
    return f"EF {'' if measured.whole else '≥ '}{measured.ef:.0f} %"


def _words(measured: Measured) -> str:
    if measured.ef is None:
        return "no left ventricle was found"
    return EF_WORDS if measured.whole else "less than one whole beat, so a lower bound"


def _facts(measured: Measured, truth: KnownTruth | None, requested: float | None) -> list[list[str]]:
    """Name, value and meaning of each number beside the player."""
    facts = []
    if requested is not None:
        facts.append(["EF asked for", f"{requested:.0f} %", "What the generator was told"])
    if truth is not None:
        facts.append(["EF it was drawn with", f"{truth.ef:.1f} %", "Known because this is a phantom"])
    if measured.ef is not None and len(measured.beat_ef) > 1:
        low, high = min(measured.beat_ef), max(measured.beat_ef)
        facts.append(
            ["EF of the beats", f"{low:.0f} to {high:.0f} %", f"{len(measured.beat_ef)} beats; EF is the median"]
        )
    if measured.discs_ef is not None:
        facts.append(["EF by Simpson's discs", f"{measured.discs_ef:.0f} %", "The same outlines, in one plane"])
    rate = f"{measured.heart_rate:.0f} /min" if measured.heart_rate else "unknown"
    facts.append(["Heart rate", rate, "From the distance of like moments of the cycle"])
    for name, frames, meaning in (
        ("End-diastolic volume", measured.end_diastole, "Median over the end-diastolic frames"),
        ("End-systolic volume", measured.end_systole, "Median over the end-systolic frames"),
    ):
        volume = _median([measured.smooth[frame] for frame in frames])
        if volume is not None and measured.mm_per_px:
            facts.append([name, f"{volume:.0f} ml", meaning])
    for name, frames in (("ED frames", measured.end_diastole), ("ES frames", measured.end_systole)):
        text = ", ".join(str(frame + 1) for frame in frames[:6]) + (" …" if len(frames) > 6 else "")
        facts.append([name, text or "none", "Counted from 1"])
    found = sum(volume is not None for volume in measured.volumes)
    facts.append(["Frames with a ventricle", f"{found} of {len(measured.volumes)}", ""])
    if measured.confidence:
        meaning = "Mean probability inside the outlined ventricle, as the network states it"
        facts.append(["Confidence", f"{measured.confidence:.2f}", meaning])
    return facts


def curve_figure(measured: Measured, truth: KnownTruth | None = None) -> dict[str, Any]:
    """Volume against time with ED and ES, for ``<ss-plot>``; relative to the largest volume where no scale is known."""
    fps = measured.fps
    known = [volume for volume in measured.smooth if volume is not None]
    scale = 1.0 if measured.mm_per_px else 100.0 / max([*known, 1e-9])
    times = [round(frame / fps, 4) for frame in range(len(measured.volumes))]

    def values(volumes: Sequence[float | None]) -> list[float | None]:
        return [None if volume is None else round(volume * scale, 3) for volume in volumes]

    unit = "ml" if measured.mm_per_px else "%"
    hover = f"frame %{{customdata}}<br>%{{x:.2f}} s<br>%{{y:.1f}} {unit}<extra>%{{fullData.name}}</extra>"
    numbers = [frame + 1 for frame in range(len(times))]
    line = {"type": "scatter", "x": times, "customdata": numbers, "hovertemplate": hover}
    smooth = values(measured.smooth)
    dots = {"size": 4, "color": SMOOTH}
    traces: list[dict[str, Any]] = [
        {**line, "y": values(measured.volumes), "name": "each frame", "mode": "markers", "marker": dots},
        {**line, "y": smooth, "name": "smoothed", "mode": "lines", "line": {"color": CURVE, "width": 2}},
    ]
    if truth is not None and len(truth.volumes) == len(times):
        true_scale = 1.0 if measured.mm_per_px else 100.0 / max(truth.volumes)
        traces.append({
            **line,
            "y": [round(volume * true_scale, 3) for volume in truth.volumes],
            "name": "drawn with",
            "mode": "lines",
            "line": {"color": TRUE, "width": 1.5, "dash": "dash"},
        })  # fmt: skip
    for name, frames, colour, symbol in (
        ("ED", measured.end_diastole, ED, "triangle-down"),
        ("ES", measured.end_systole, ES, "triangle-up"),
    ):
        traces.append({
            **line,
            "x": [times[frame] for frame in frames],
            "y": [smooth[frame] for frame in frames],
            "customdata": [frame + 1 for frame in frames],
            "name": name,
            "mode": "markers",
            "marker": {"size": 11, "color": colour, "symbol": symbol},
        })  # fmt: skip
    top = max([value for trace in traces for value in trace["y"] if value is not None] or [1.0])
    return {
        "traces": traces,
        "x": "time [s]",
        "y": "LV volume [ml]" if measured.mm_per_px else "LV volume [% of largest]",
        "label": "Volume of the left ventricle against time",
        "range": {"x": [0, times[-1] or 1], "y": [0, 1.08 * top]},
    }


def _median(values: Sequence[float | None]) -> float | None:
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    middle = len(known) // 2
    return known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
