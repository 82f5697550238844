"""The clips of a batch as films in small that play under the pointer, and requested against measured EF."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from backend.services.echo.making import Made

if TYPE_CHECKING:
    from backend.jobs.contract import ArtifactView, JobView
    from backend.runtime import Runtime

FEW = 30  # points below which a correlation says little


@dataclass(frozen=True)
class Item:
    """One clip: artifact ids, seed, EF asked for and measured in %, ``None`` where the meter found no ventricle.

    ``whole`` is false where there was no whole beat and what was measured is a lower bound.
    """

    clip: str
    video: str
    seed: int
    ef: float
    measured: float | None
    whole: bool = True

    @property
    def title(self) -> str:
        """Seed and EF in words."""
        found = "unknown" if self.measured is None else f"{self.found} %"
        return f"Seed {self.seed}: EF {self.ef:.0f} % asked for, {found} measured"

    @property
    def found(self) -> str:
        """The measured number, with a sign where it is a lower bound."""
        return "?" if self.measured is None else f"{'' if self.whole else '≥ '}{self.measured:.0f}"

    @classmethod
    def of_artifact(cls, view: ArtifactView, video: str = "") -> Item:
        """From a stored clip of a batch."""
        told = view.properties
        found = told.get("measured_ef")
        seed = view.provenance.seed or 0
        measured, whole = None if found is None else float(found), bool(told.get("measured_whole_beat", True))
        return cls(view.id, video, seed, float(told.get("ef", 0)), measured, whole)


def item_of(made: Made) -> Item:
    """From a finished batch."""
    return Item(made.clip, made.video, made.seed, made.ef, made.measured.ef, made.measured.whole)


def items_of_job(runtime: Runtime, job: JobView) -> list[Item]:
    """Clips that a batch had finished when it was cancelled."""
    views = runtime.artifacts.list(job_id=job.id, limit=100_000)
    films = {view.name.removesuffix(".mp4"): view.id for view in views if view.kind == "video"}
    clips = [view for view in views if view.kind == "clip"]
    items = [Item.of_artifact(view, films.get(view.name.removesuffix(".npz"), "")) for view in clips]
    return sorted((item for item in items if item.video), key=lambda item: item.seed)


def dicoms_of_job(runtime: Runtime, job: str) -> tuple[str, ...]:
    """Ids of the DICOM files of those clips, in the same order."""
    views = runtime.artifacts.list(job_id=job, limit=100_000)
    return tuple(view.id for view in sorted(views, key=lambda view: view.provenance.seed or 0) if view.kind == "dicom")


def gallery_html(items: Sequence[Item], asked: int, into: str, *, finished: bool) -> str:
    """The films; a click writes the clip's id into the element ``into``."""
    if not items:
        return '<p class="ss-empty">It was stopped before a clip was finished.</p>'
    if finished:
        lead = f"{len(items)} clips. Point at one to play it, click it to look closer."
    else:
        lead = f"It was stopped: {len(items)} of {asked} clips were finished and are kept."
    films = "".join(
        f'<button type="button" class="ss-film" data-fill="{escape(into)}" data-value="{escape(item.clip)}" '
        f'title="{escape(item.title)}"><video src="/api/artifacts/{escape(item.video)}#t=0.01" muted loop playsinline '
        f'preload="metadata" width="112" height="112"></video><span>EF <b>{item.ef:.0f}</b> → {item.found} %</span>'
        "</button>"
        for item in items
    )
    return (
        f'<section class="ss-section"><p><b>{lead}</b> Under each: asked for → measured.</p>'
        f'<div class="ss-films" role="group" aria-label="Clips">{films}</div></section>'
    )


def scatter_html(items: Sequence[Item]) -> str:
    """Requested against measured EF as a plot with the line of equality; '' for fewer than three points."""
    points = [(item.ef, item.measured, item.seed) for item in items if item.measured is not None]
    if len(points) < 3:
        return ""
    ends = [0, 90]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "clip",
        "x": [ef for ef, _, _ in points],
        "y": [measured for _, measured, _ in points],
        "customdata": [seed for _, _, seed in points],
        "hovertemplate": "seed %{customdata}<br>asked for %{x:.0f} %<br>measured %{y:.0f} %<extra></extra>",
        "marker": {"size": 8, "color": "#0072B2"},
    }
    equal: dict[str, Any] = {"type": "scatter", "mode": "lines", "name": "equal", "x": ends, "y": ends}
    equal |= {"line": {"color": "#767b82", "width": 1.5, "dash": "dash"}, "hoverinfo": "skip"}
    error = sum(abs(measured - ef) for ef, measured, _ in points) / len(points)
    figure = {
        "traces": [equal, dots],
        "x": "EF asked for [%]",
        "y": "EF measured [%]",
        "label": "Requested against measured ejection fraction",
        "range": {"x": ends, "y": ends},
        "height": 320,
    }
    few = " With so few clips it says little." if len(points) < FEW else ""
    return (
        f'<ss-plot class="ss-echo-scatter" figure="{escape(json.dumps(figure))}"></ss-plot><p><small>Mean absolute '
        f"difference {error:.1f} points over {len(points)} clips, by a meter that is not exact itself.{few}</small></p>"
    )
