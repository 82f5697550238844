"""The jobs that make clips: load the generator, choose the reference frame, denoise, decode, measure, store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.services.echo.generator import Generator, load_generator, taught_by
from backend.services.echo.keep import EchoKeeper
from backend.services.echo.making import (
    COMPARED_STEPS,
    EF_RANGE,
    FPS_RANGE,
    FRAME_RANGE,
    GUIDANCE_RANGE,
    MODELS,
    RATE_RANGE,
    SEED_RANGE,
    STEP_RANGE,
    CompareRequest,
    CompareResult,
    GenerateRequest,
    GenerateResult,
    Made,
    ModelName,
    Wish,
)
from backend.services.echo.measure import load_meter, measure_clip, open_source, stored
from backend.services.echo.needs import STUDENT, missing
from backend.services.echo.overlay import moving_png
from backend.services.echo.requests import METER, SIDE, MeasureRequest

if TYPE_CHECKING:
    from backend.services.echo.batch import BatchRequest
    from models.echo.meter import Meter

PREVIEW_EVERY_S = 0.7
PREVIEW_FRAMES = 16

Report = Callable[[float, str, bytes | None], None]
"""Share done, note, preview."""


def run_generate(request: GenerateRequest, ctx: JobContext) -> GenerateResult:
    """See :func:`backend.services.echo.making.generate`."""
    check_wish(request)
    tools = load_tools(ctx, request)
    reference, notes = reference_frame(request, tools, ctx)
    made = make(request, request.model, tools, ctx, _progress(ctx, 0, 1), reference)
    if request.sampler == "student" and "V" in made.schedule:
        notes += (_of_student(tools.generator),)
    ctx.progress(1, 1)
    return GenerateResult(made=made, notes=notes, weights=tools.weights)


def run_compare(request: CompareRequest, ctx: JobContext) -> CompareResult:
    """See :func:`backend.services.echo.making.compare`."""
    check_wish(request)
    taught = request.over == "steps" and request.model != "lidm" and _student_fits(request, ctx)
    tools = load_tools(ctx, request, student=taught)
    reference, notes = reference_frame(request, tools, ctx)
    if request.sampler == "student" or taught:
        notes += (_of_student(tools.generator),)
    if request.over == "models":
        each: list[tuple[ModelName, Wish, str]] = [(name, request, title) for name, (title, _) in MODELS.items()]
    else:
        solver = "dpm" if request.sampler == "student" else request.sampler
        each = [
            (request.model, replace(request, steps=steps, sampler=solver), f"{steps} steps") for steps in COMPARED_STEPS
        ]
        if taught:
            steps = tools.generator.models.student_steps
            each.append((request.model, replace(request, steps=None, sampler="student"), f"student, {steps} steps"))
    clips: list[Made] = []
    for index, (model, wish, title) in enumerate(each):
        report = _progress(ctx, index, len(each), f"{title}: ")
        clips.append(make(wish, model, tools, ctx, report, reference, title=title, several=True))
    if request.over == "steps":
        clips = _differences(clips, ctx)
    keeper = EchoKeeper(ctx, True, _parents(request), tools.weights, request.seed, request.sampler)
    ctx.progress(1, 1)
    return CompareResult(tuple(clips), notes, tools.weights, table_of(clips, keeper))


@dataclass(frozen=True)
class Tools:
    """The networks of a job and the hashes of their weights by name."""

    generator: Generator
    meter: Meter
    weights: dict[str, str]


def load_tools(ctx: JobContext, wish: Wish | BatchRequest, *, student: bool = False) -> Tools:
    """Load the generator that is wished for and the meter. Raises ``UserError`` where one is not installed."""
    ctx.progress(0, 1, "Loading the networks")
    generator = load_generator(ctx, wish, student=student)
    meter, sha256 = load_meter(METER, ctx)
    return Tools(generator, meter, {**generator.weights, METER: sha256})


def check_wish(wish: Wish) -> None:
    """Raise ``UserError`` for a number outside its range."""
    for name, value, (low, high), unit in (
        ("ejection fraction", wish.ef, EF_RANGE, " %"),
        ("heart rate", wish.heart_rate, RATE_RANGE, " beats per minute"),
        ("number of frames", wish.frames, FRAME_RANGE, ""),
        ("frame rate", wish.fps, FPS_RANGE, " frames a second"),
        ("number of steps", wish.steps, STEP_RANGE, ""),
        ("guidance", wish.guidance, GUIDANCE_RANGE, ""),
        ("seed", wish.seed, SEED_RANGE, ""),
    ):
        if value is not None and not low <= value <= high:
            raise UserError(
                f"A {name} of {value:g}{unit} cannot be made.",
                f"It has to lie between {low:g} and {high:g}{unit}.",
                "Choose one in between.",
            )


def reference_frame(wish: Wish, tools: Tools, ctx: JobContext) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The frame to start from, float32 [112, 112] in 0…1, ``None`` where the patient is made up; notes on which."""
    if not wish.reference:
        return None, ()
    ctx.progress(0, 1, "Reading the reference")
    given = ctx.view(wish.reference)
    source = open_source(ctx, given, MeasureRequest(wish.reference), least=1)
    at, notes = 0, [f"The reference: {note[:1].lower()}{note[1:]}" for note in source.notes]
    if wish.reference_frame == "ed" and len(source.frames) > 1:
        _, measured = measure_clip(tools.meter, source.frames, source.fps, source.mm_per_px, ctx)
        volumes = [-1.0 if volume is None else volume for volume in measured.smooth]
        at = measured.end_diastole[0] if measured.end_diastole else int(np.argmax(volumes))
        notes.append(f"The heart beats from frame {at + 1} of the reference, its end-diastole as the meter found it.")
    elif len(source.frames) > 1:
        notes.append("The heart beats from the first frame of the reference, taken for end-diastole.")
    if not given.synthetic:
        notes.append("The reference is real; every frame of the result is synthetic.")
    return source.frames[at].astype(np.float32) / 255, tuple(notes)


def make(
    wish: Wish,
    model: ModelName,
    tools: Tools,
    ctx: JobContext,
    report: Report,
    reference: np.ndarray | None,
    *,
    title: str = "",
    several: bool = False,
    stem: str = "",
    dicom: bool = True,
) -> Made:
    """Make, measure and store one clip."""
    schedule = tools.generator.schedule(wish, model)
    started = time.perf_counter()
    due = 0.0

    def follow(step: int, total: int, latents: Any) -> None:
        nonlocal due
        picture = None
        if time.monotonic() >= due:
            began = time.monotonic()
            picture = moving_png(tools.generator.preview(latents[:PREVIEW_FRAMES]), wish.fps)
            due = time.monotonic() + max(PREVIEW_EVERY_S, 10 * (time.monotonic() - began))
        report(0.9 * step / total, f"step {step} of {total}", picture)

    frames = tools.generator.make(wish, model, reference, follow)
    seconds = round(time.perf_counter() - started, 3)
    if frames.dtype != np.uint8 or frames.shape != (wish.frames, SIDE, SIDE):
        raise ValueError(f"the generator gave {frames.dtype} {frames.shape}")

    def measuring(done: int, total: int) -> None:
        report(0.9 + 0.1 * done / total, "measuring", None)

    labels, measured = measure_clip(tools.meter, frames, wish.fps, None, ctx, measuring)
    steps = len(schedule)
    weights = {name: sha256 for name, sha256 in tools.weights.items() if name != STUDENT or wish.sampler == "student"}
    keeper = EchoKeeper(ctx, True, _parents(wish), weights, wish.seed, f"{wish.sampler} {schedule}", steps)
    stem = stem or (f"echo-{title.lower().replace(',', '').replace(' ', '-')}" if several else "echo")
    facts = {
        "ef": wish.ef,
        "measured_ef": measured.ef,
        "measured_whole_beat": measured.whole,
        "heart_rate": wish.heart_rate,
        "measured_heart_rate": measured.heart_rate,
        "model": model,
        "schedule": schedule,
        "seconds": seconds,
    }
    return Made(
        title=title or MODELS[model][0],
        model=model,
        ef=wish.ef,
        seed=wish.seed,
        steps=steps,
        schedule=schedule,
        clip=keeper.clip(f"{stem}.npz", stored(frames, labels, measured), facts),
        video=keeper.film(f"{stem}.mp4", frames, wish.fps),
        dicom=keeper.dicom(f"{stem}.dcm", frames, wish.fps, wish.heart_rate) if dicom else "",
        table=keeper.curve(f"{stem}-curve.csv", measured),
        measured=measured,
        seconds=seconds,
    )


def _progress(ctx: JobContext, index: int, count: int, before: str = "") -> Report:
    """Reports of clip ``index`` of ``count`` as progress of the job."""

    def report(share: float, note: str, picture: bytes | None) -> None:
        ctx.progress(index + share, count, f"{before}{note}", picture)

    return report


def _student_fits(wish: Wish, ctx: JobContext) -> bool:
    """Whether a student of the video model that is wished for is installed."""
    if missing(ctx.weights, (STUDENT, wish.video)):
        return False
    return taught_by(ctx.weights.find(STUDENT), ctx.weights.find(wish.video))


def _of_student(generator: Generator) -> str:
    return (
        "The few-step student stands for the video model; it was distilled with guidance "
        f"{generator.student_guidance:g}, which cannot be changed."
    )


def _parents(wish: Wish) -> tuple[str, ...]:
    return (wish.reference,) if wish.reference else ()


def _differences(clips: list[Made], ctx: JobContext) -> list[Made]:
    """The clips with their root mean square difference, in grey levels, to the one of the most steps."""
    most = max(range(len(clips)), key=lambda index: clips[index].steps)
    from backend.media.limits import Limits
    from backend.media.stored_clip import read_stored_clip

    arrays = [read_stored_clip(ctx.open(clip.clip), Limits()).frames.astype(np.float32) for clip in clips]
    told = [float(np.sqrt(np.mean((array - arrays[most]) ** 2))) for array in arrays]
    return [replace(clip, difference=round(value, 4)) for clip, value in zip(clips, told, strict=True)]


def table_of(clips: list[Made], keeper: EchoKeeper) -> str:
    """Id of the CSV with one row a clip."""
    columns = ("clip", "model", "schedule", "steps", "EF asked for [%]", "EF measured [%]", "heart rate [/min]",
               "difference to most steps [grey levels, RMS]", "seconds")  # fmt: skip
    rows = [
        (clip.title, MODELS[clip.model][0], clip.schedule, clip.steps, clip.ef, clip.measured.ef,
         clip.measured.heart_rate, clip.difference, clip.seconds)
        for clip in clips
    ]  # fmt: skip
    return keeper.rows("comparison.csv", columns, rows)
