"""Measure a clip: choose it, press Measure, see labels, volume curve, ED and ES, and the ejection fraction."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from pydantic import TypeAdapter

from app.components.clip_view import ClipPane, clip_view_html, opened
from app.components.html import html
from app.tabs.echo.absent import say_absent
from app.tabs.echo.shown import NO_TRUTH, STYLES, echo_html
from backend.errors import UserError
from backend.jobs.contract import JobView
from backend.samples import samples
from backend.services.echo.needs import TO_MEASURE
from backend.services.echo.requests import MeasureRequest, MeasureResult

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACTIONS = ("measure",)
ACCEPT = ".dcm,.mp4,.mov,.avi,.webm,.gif,.npz"
INTRODUCTION = """<section class="ss-hero"><p>Give an apical four-chamber clip: a network outlines the chambers in every
frame, and from the outline of the left ventricle come its volume curve, end-diastole (ED) and end-systole (ES), heart
rate and ejection fraction (EF). The network has learnt from phantoms alone, drawn by a program; on real clips look at
the outlines before you believe the number.</p></section>"""
NOTHING_CHOSEN = '<p class="ss-empty">Nothing is chosen yet: click a sample, or drop a clip.</p>'


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part. No model is loaded before a measurement starts."""
    html(INTRODUCTION)
    say_absent(runtime, TO_MEASURE)
    with gr.Accordion("Choose a clip", open=True, elem_id="echo-measure-choose") as choice:
        sample = shell.samples(samples("clip", runtime.settings))
        uploaded = shell.upload(
            "Your own clip",
            accept=ACCEPT,
            hint="Apical four-chamber, apex at the top: DICOM (multi-frame), MP4, AVI, GIF, WebM or NPZ. Names and "
            "dates burned into the picture are removed on arrival.",
        )
        with gr.Accordion("Options", open=False), gr.Row():
            fps = gr.Number(0, label="Frames a second", minimum=0, info="0 takes what the file says")
            scale = gr.Number(0, label="Pixel size after cropping, mm", minimum=0, info="0 takes the file's own")
    source = shell.hidden("source")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            contents = html(NOTHING_CHOSEN)
        with gr.Column(scale=1, min_width=180):
            run = gr.Button("Measure", variant="primary", interactive=False, elem_id="echo-measure-run")
    job = shell.job("echo", ACTIONS)
    result = html()
    downloads = shell.downloads()
    card = shell.provenance()

    shell.on(sample.change, shell.open_sample, [sample], [source])
    shell.on(uploaded.change, lambda new: (new, "") if new else (gr.skip(), gr.skip()), [uploaded], [source, sample])
    shown = [result, downloads.html, card.html]
    chosen = shell.on(source.change, lambda new: _look(runtime, shell, new), [source], [contents, run])
    shell.on(chosen.then, lambda: ("", "", ""), None, shown)

    def request(artifact: str, rate: float | None, size: float | None) -> MeasureRequest:
        if not artifact:
            raise UserError("No clip is chosen.", "", "Click a sample, or upload a clip.")
        return MeasureRequest(source=artifact, fps=float(rate or 0), mm_per_px=float(size or 0))

    job.submit(run.click, "measure", request, [source, fps, scale])
    shell.on(run.click, lambda: gr.update(open=False), None, [choice])

    def show(view: JobView) -> tuple[Any, ...]:
        made = TypeAdapter(MeasureResult).validate_python(dict(view.result or {}))
        files = [made.video, made.table, made.clip]
        return measured_html(made), downloads.render(files), card.render(files[:1]), "", gr.update(open=False)

    job.finished(show, [*shown, contents, choice])
    card.on_rerun(lambda asked: [asked["source"], asked["fps"], asked["mm_per_px"]], [source, fps, scale])


def measured_html(made: MeasureResult) -> str:
    """The result of a measurement: player, numbers and curve."""
    badge = "phantom" if made.truth else "synthetic" if made.synthetic else ""
    pane = ClipPane("", made.clip, badge, STYLES)
    about = [] if made.truth or made.synthetic else [NO_TRUTH]
    return echo_html([pane], made.measured, truth=made.truth, notes=[*about, *made.notes])


def _look(runtime: Runtime, shell: Shell, artifact: str) -> tuple[str, Any]:
    """The chosen clip in the player as it came, and whether it can be measured."""
    if not artifact:
        return NOTHING_CHOSEN, gr.update(interactive=False)
    try:
        opened(runtime, artifact)
        view = runtime.artifacts.view(artifact)
    except UserError as error:
        return shell.error(error), gr.update(interactive=False)
    notes = "".join(f"<li>{escape(note)}</li>" for note in view.properties.get("notes", ()))
    title = str(view.properties.get("title", "Your clip"))
    badge = str(view.properties.get("label", ""))
    player = clip_view_html([ClipPane(title, artifact, badge)])
    shown = f'<div class="ss-echo-input">{player}<ul class="ss-echo-notes">{notes}</ul></div>'
    return shown, gr.update(interactive=True)
