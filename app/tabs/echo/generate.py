"""Generate: ask for an ejection fraction, watch the clip form, see what the meter says, download it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
from pydantic import TypeAdapter

from app.components.clip_view import ClipPane, clip_view_html, opened
from app.components.html import html
from app.tabs.echo.absent import say_absent
from app.tabs.echo.made import compared_html, made_html
from app.tabs.echo.measure import ACCEPT
from app.tabs.echo.sampler_box import sampler_box
from app.tabs.echo.weights_row import FIELDS, weights_row
from backend.errors import UserError
from backend.jobs.contract import JobView
from backend.samples import samples
from backend.services.echo.making import (
    EF_RANGE,
    FPS_RANGE,
    FRAME_RANGE,
    GUIDANCE_RANGE,
    JVID_SCHEDULE,
    MODELS,
    RATE_RANGE,
    SEED_RANGE,
    STEP_RANGE,
    STEPS,
    CompareRequest,
    CompareResult,
    GenerateRequest,
    GenerateResult,
    Wish,
)
from backend.services.echo.needs import TO_GENERATE

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACTIONS = ("generate", "compare")
INTRODUCTION = """<section class="ss-hero"><p>Ask for an ejection fraction and a heart rate, and watch a four-chamber
clip form. A meter that took no part in the training then outlines it and says which ejection fraction it shows. The
patient is made up by the seed, or comes from a clip of yours: its end-diastolic frame begins to beat. The generator has
seen phantoms only, hearts drawn by a program.</p></section>"""
DEFAULT = Wish()
MADE_UP = '<p class="ss-card">The patient is made up by the seed.</p>'


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part. No model is loaded before a job starts."""
    html(INTRODUCTION)
    say_absent(runtime, TO_GENERATE)
    with gr.Row():
        ef = gr.Slider(*EF_RANGE, 35, step=1, label="Ejection fraction, %", elem_id="echo-ef")
        rate = gr.Slider(*RATE_RANGE, DEFAULT.heart_rate, step=1, label="Heart rate, /min")
        frames = gr.Slider(*FRAME_RANGE, DEFAULT.frames, step=16, label="Frames")
        seed = gr.Number(
            DEFAULT.seed,
            label="Seed",
            precision=0,
            minimum=0,
            maximum=SEED_RANGE[1],
            info="Another seed, another patient",
        )
    with gr.Accordion("Patient from a clip, model and sampling", open=False, elem_id="echo-more") as more:
        with gr.Row():
            model = gr.Radio([(title, name) for name, (title, _) in MODELS.items()], value="jvid", label="Model",
                             info="; ".join(f"{title}: {meaning}" for title, meaning in MODELS.values()))  # fmt: skip
        with gr.Row():
            fps = gr.Slider(*FPS_RANGE, DEFAULT.fps, step=1, label="Frames a second")
            steps = gr.Slider(*STEP_RANGE, DEFAULT.steps or STEPS, step=1, label="Steps", info="More take longer")
            guidance = gr.Slider(
                *GUIDANCE_RANGE, DEFAULT.guidance, step=0.25, label="Guidance", info="How strongly EF is enforced"
            )
            sampler = sampler_box(runtime, shell, DEFAULT.sampler, steps, guidance, elem_id="echo-sampler")
            schedule = gr.Textbox(
                "", label="Schedule of JVID", info=f"V video, I image model, by step; empty: {JVID_SCHEDULE}"
            )
        weights = weights_row(runtime, shell, wished=True)
        sample = shell.samples(samples("clip", runtime.settings))
        uploaded = shell.upload(
            "A clip whose heart shall beat", accept=ACCEPT, hint="Apical four-chamber, apex at the top."
        )
        frame = gr.Radio(
            [("its end-diastolic frame, as the meter finds it", "ed"), ("its first frame", "first")],
            value="ed",
            label="Begin with",
        )
        forget = gr.Button("Make up a patient again", size="sm", visible=False)
    reference = shell.hidden("reference")
    with gr.Row():
        with gr.Column(scale=2, min_width=280):
            chosen = html(MADE_UP)
        with gr.Column(scale=3, min_width=520), gr.Row():
            run = gr.Button("Generate", variant="primary", min_width=120, elem_id="echo-generate-run")
            models = gr.Button("Compare models", min_width=120, elem_id="echo-compare-run")
            numbers = gr.Button("Compare steps", min_width=120, elem_id="echo-steps-run")
    job = shell.job("echo", ACTIONS)
    result = html()
    downloads = shell.downloads()
    card = shell.provenance()

    shell.on(sample.change, shell.open_sample, [sample], [reference])
    shell.on(uploaded.change, lambda new: (new, "") if new else (gr.skip(), gr.skip()), [uploaded], [reference, sample])
    shell.on(
        reference.change,
        lambda new: (_patient(runtime, shell, new), gr.update(visible=bool(new))),
        [reference],
        [chosen, forget],
    )
    shell.on(forget.click, lambda: ("", ""), None, [reference, sample])

    wishes = [ef, rate, frames, fps, seed, reference, frame, guidance, steps, sampler, schedule, model, *weights]

    def wish(*values: Any) -> dict[str, Any]:
        asked, beats, count, per_second, number, origin, which, strength, turns, solver, order, name, *nets = values
        return {
            "ef": float(asked),
            "heart_rate": float(beats),
            "frames": int(count),
            "fps": float(per_second),
            "seed": int(number or 0),
            "reference": origin or "",
            "reference_frame": which,
            "guidance": float(strength),
            "steps": int(turns),
            "sampler": solver,
            "schedule": (order or "").strip(),
            "model": name,
            **dict(zip(FIELDS, nets, strict=True)),
        }

    job.submit(run.click, "generate", lambda *values: GenerateRequest(**wish(*values)), wishes)
    job.submit(models.click, "compare", lambda *values: CompareRequest(**wish(*values), over="models"), wishes)
    job.submit(numbers.click, "compare", lambda *values: CompareRequest(**wish(*values), over="steps"), wishes)

    shown = [result, downloads.html, card.html]
    for button in (run, models, numbers):
        shell.on(button.click, lambda: (gr.update(open=False), "", "", ""), None, [more, *shown])

    def show(view: JobView) -> tuple[str, str, str]:
        if view.action == "compare":
            several = TypeAdapter(CompareResult).validate_python(dict(view.result or {}))
            files = [several.table, *(made.video for made in several.made)]
            over = str(view.request.get("over", "models"))
            return compared_html(several, over), downloads.render(files), card.render(files[:1])
        one = TypeAdapter(GenerateResult).validate_python(dict(view.result or {}))
        made = one.made
        return (
            made_html(one),
            downloads.render([made.video, made.dicom, made.clip, made.table]),
            card.render([made.video]),
        )

    job.finished(show, shown)
    names = [
        "ef",
        "heart_rate",
        "frames",
        "fps",
        "seed",
        "reference",
        "reference_frame",
        "guidance",
        "steps",
        "sampler",
        "schedule",
        "model",
    ]
    card.on_rerun(
        lambda asked: [*(_given(asked, name) for name in names), *(asked.get(part, gr.skip()) for part in FIELDS)],
        wishes,
    )


def _given(asked: Mapping[str, Any], name: str) -> Any:
    """What a request asked for; where it left the number of steps open, what the slider shows then."""
    return STEPS if name == "steps" and asked[name] is None else asked[name]


def _patient(runtime: Runtime, shell: Shell, reference: str) -> str:
    """Who is going to beat, in one line with the chosen clip."""
    if not reference:
        return MADE_UP
    try:
        opened(runtime, reference)
    except UserError as error:
        return shell.error(error)
    player = clip_view_html([ClipPane("The patient is taken from this clip", reference)])
    return f'<div class="ss-echo-input">{player}</div>'
