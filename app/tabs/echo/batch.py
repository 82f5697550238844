"""Many clips: a range of ejection fractions, one job, a gallery, and a ZIP in the layout of EchoNet-Dynamic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
from pydantic import TypeAdapter

from app.components.clip_view import ClipPane
from app.components.html import html
from app.tabs.echo.absent import say_absent
from app.tabs.echo.gallery import Item, dicoms_of_job, gallery_html, item_of, items_of_job, scatter_html
from app.tabs.echo.sampler_box import sampler_box
from app.tabs.echo.shown import STYLES, echo_html
from app.tabs.echo.weights_row import FIELDS, weights_row
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.services.echo.batch import BatchRequest, BatchResult, CollectRequest
from backend.services.echo.making import (
    EF_RANGE,
    FPS_RANGE,
    FRAME_RANGE,
    GUIDANCE_RANGE,
    MODELS,
    MOST_CLIPS,
    RATE_RANGE,
    SEED_RANGE,
    STEP_RANGE,
    STEPS,
)
from backend.services.echo.needs import TO_GENERATE

if TYPE_CHECKING:
    from app.components.downloads import Downloads
    from app.components.provenance_card import ProvenanceCard
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACTIONS = ("batch",)
ENDED = (JobState.DONE, JobState.CANCELLED, JobState.INTERRUPTED)
INTRODUCTION = """<section class="ss-hero"><p>Make a set to train or test with: clips of different made-up patients,
their ejection fractions spread evenly over a range. They come in one ZIP in the layout of EchoNet-Dynamic
(FileList.csv, Videos, VolumeTracings.csv), so that programs written for that data read it unchanged, and as DICOM if
you like. In FileList.csv, EF is what was asked for and MeasuredEF what the meter found.</p></section>"""
DEFAULT = BatchRequest()


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part. No model is loaded before a job starts."""
    html(INTRODUCTION)
    say_absent(runtime, TO_GENERATE)
    with gr.Row():
        count = gr.Number(
            DEFAULT.count, label="Clips", precision=0, minimum=1, maximum=MOST_CLIPS, elem_id="echo-count"
        )
        low = gr.Slider(*EF_RANGE, DEFAULT.ef_low, step=1, label="Lowest EF, %")
        high = gr.Slider(*EF_RANGE, DEFAULT.ef_high, step=1, label="Highest EF, %")
        seed = gr.Number(
            DEFAULT.seed,
            label="First seed",
            precision=0,
            minimum=0,
            maximum=SEED_RANGE[1] - MOST_CLIPS,
            info="Each clip takes the next one",
        )
    with gr.Accordion("Heart rates, length, model and sampling", open=False) as more:
        with gr.Row():
            slow = gr.Slider(*RATE_RANGE, DEFAULT.rate_low, step=1, label="Lowest heart rate, /min")
            fast = gr.Slider(*RATE_RANGE, DEFAULT.rate_high, step=1, label="Highest heart rate, /min")
            frames = gr.Slider(*FRAME_RANGE, DEFAULT.frames, step=16, label="Frames")
            fps = gr.Slider(*FPS_RANGE, DEFAULT.fps, step=1, label="Frames a second")
        with gr.Row():
            model = gr.Radio([(title, name) for name, (title, _) in MODELS.items()], value=DEFAULT.model, label="Model")
            steps = gr.Slider(*STEP_RANGE, DEFAULT.steps or STEPS, step=1, label="Steps")
            guidance = gr.Slider(*GUIDANCE_RANGE, DEFAULT.guidance, step=0.25, label="Guidance")
            sampler = sampler_box(runtime, shell, DEFAULT.sampler, steps, guidance, elem_id="echo-batch-sampler")
            dicom = gr.Checkbox(False, label="Also as DICOM", info="A second ZIP, ultrasound multi-frame")
        weights = weights_row(runtime, shell)
    with gr.Row():
        with gr.Column(scale=4, min_width=200):
            html("")
        with gr.Column(scale=1, min_width=180):
            run = gr.Button("Make the clips", variant="primary", elem_id="echo-batch-run")
    job = shell.job("echo", ACTIONS)
    result = html()
    look, shown_job = shell.hidden("look"), shell.hidden("shown")
    one, plot = html(), html()
    pack = gr.Button("Pack what is finished", visible=False, elem_id="echo-batch-pack")
    downloads = shell.downloads()
    card = shell.provenance()

    def request(*values: Any) -> BatchRequest:
        number, least, most, first, slowest, fastest, length, per_second, name, turns, strength, solver, also, *nets = (
            values
        )
        return BatchRequest(
            count=int(number or 0),
            ef_low=float(least),
            ef_high=float(most),
            seed=int(first or 0),
            rate_low=float(slowest),
            rate_high=float(fastest),
            frames=int(length),
            fps=float(per_second),
            model=name,
            steps=int(turns),
            guidance=float(strength),
            sampler=solver,
            dicom=bool(also),
            **dict(zip(FIELDS, nets, strict=True)),
        )

    choices = [count, low, high, seed, slow, fast, frames, fps, model, steps, guidance, sampler, dicom, *weights]
    job.submit(run.click, "batch", request, choices)
    shown = [result, one, plot, downloads.html, card.html, pack]
    shell.on(
        run.click, lambda: ("", "", "", "", "", gr.update(visible=False), gr.update(open=False)), None, [*shown, more]
    )

    def show(view: JobView) -> tuple[Any, ...]:
        made = TypeAdapter(BatchResult).validate_python(dict(view.result)) if view.result else None
        items = [item_of(clip) for clip in made.made] if made else items_of_job(runtime, view)
        files = [item for item in (made.archive, made.dicoms, made.table) if item] if made else []
        asked = int(view.request.get("count", len(items)))
        gallery = gallery_html(items, asked, look.elem_id or "", finished=view.state is JobState.DONE)
        unpacked = gr.update(visible=made is None and bool(items))
        return gallery, "", scatter_html(items), downloads.render(files), card.render(files[:1]), unpacked, view.id

    job.finished(show, [*shown, shown_job], ENDED)
    shell.on(pack.click, lambda told: _pack(runtime, told, downloads, card), [shown_job], [downloads.html, card.html])
    shell.on(look.change, lambda wish: _one(runtime, wish), [look], [one])
    names = [
        "count",
        "ef_low",
        "ef_high",
        "seed",
        "rate_low",
        "rate_high",
        "frames",
        "fps",
        "model",
        "steps",
        "guidance",
        "sampler",
        "dicom",
    ]
    card.on_rerun(
        lambda asked: [*(_given(asked, name) for name in names), *(asked.get(part, gr.skip()) for part in FIELDS)],
        choices,
    )


def _given(asked: Mapping[str, Any], name: str) -> Any:
    """What a request asked for; where it left the number of steps open, what the slider shows then."""
    return STEPS if name == "steps" and asked[name] is None else asked[name]


def _pack(runtime: Runtime, job: str, downloads: Downloads, card: ProvenanceCard) -> tuple[str, str]:
    """ZIP and table of what a cancelled batch had finished."""
    asked = runtime.jobs.view(job).request
    clips = tuple(item.clip for item in items_of_job(runtime, runtime.jobs.view(job)))
    wanted = CollectRequest(clips, dicoms_of_job(runtime, job), int(asked.get("seed", 0)))
    done = runtime.jobs.wait(runtime.jobs.submit("echo", "collect", wanted, actor=LOCAL), timeout=600)
    if done.result is None:
        error = done.error or {"what": "The clips were not packed."}
        raise UserError(*(error.get(name, "") for name in ("what", "why", "what_to_do")))
    files = [done.result[name] for name in ("archive", "dicoms", "table") if done.result[name]]
    return downloads.render(files), card.render(files[:1])


def _one(runtime: Runtime, wish: str) -> Any:
    """The clip that was clicked, in the player; ``wish`` is 'CLIP …' as the gallery wrote it."""
    clip = wish.partition(" ")[0]
    if not clip:
        return gr.skip()
    view = runtime.artifacts.view(clip)
    if view.kind != "clip":
        raise UserError("This is no clip of a batch.", "", "Click a picture of the gallery.")
    item = Item.of_artifact(view)
    return echo_html([ClipPane(item.title, clip, "synthetic", STYLES)], None, labelled=False)
