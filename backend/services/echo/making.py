"""Echo: make clips. What the jobs that generate take and give; nothing heavy is imported on top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backend.jobs.contract import Action, JobContext
from backend.services.echo.needs import AUTOENCODER, IMAGE_MODEL, VIDEO_MODEL
from backend.services.echo.requests import Measured

ModelName = Literal["lidm", "lvdm", "jvid"]
Sampler = Literal["ddim", "heun", "dpm", "student"]
ReferenceFrame = Literal["ed", "first"]

EF_RANGE = (5.0, 85.0)  # %
RATE_RANGE = (40.0, 140.0)  # beats per minute
FRAME_RANGE = (16, 192)
FPS_RANGE = (12.0, 36.0)  # what the models are trained for
STEP_RANGE = (2, 64)
STEPS = 16
"""Steps where no number is asked for, but of the student, who has a number of its own."""
SEED_RANGE = (0, 2**31 - 1)
GUIDANCE_RANGE = (0.0, 10.0)
JVID_SCHEDULE = "image_last(1)"
"""Which model works when, where nobody says; stretched over the steps."""
MOST_CLIPS = 500
"""Clips of one batch."""

MODELS: dict[ModelName, tuple[str, str]] = {
    "lidm": ("LIDM", "The image model alone: every frame by itself, sharp but not connected in time"),
    "lvdm": ("LVDM", "The video model alone: connected in time"),
    "jvid": ("JVID", "Both in turns, one at each step: the video model connects, the image model sharpens"),
}
"""Name → title and meaning."""
COMPARED_STEPS = (2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Wish:
    """A beating heart to be made.

    ``ef`` in % (5–85), ``heart_rate`` in beats per minute (40–140), ``frames`` (16–192) at ``fps`` frames a second
    (12–36). ``reference`` is the artifact id of a clip whose patient is to beat, '' to make a patient up by ``seed``;
    ``reference_frame`` takes its end-diastolic frame, found by the meter, or its first. ``guidance`` is how strongly
    the wish is enforced, 1 takes it as learnt; ``steps`` and ``sampler`` say how it is denoised: ``None`` takes
    :data:`STEPS`, or as many as the student was trained for where the sampler is ``"student"``, the video model
    distilled with its guidance in it. ``schedule`` names the model of each step of JVID (see :mod:`models.echo.jvid`),
    '' takes :data:`JVID_SCHEDULE`.
    ``autoencoder``, ``image`` and ``video`` name the weights, which must belong together.
    """

    ef: float = 55.0
    heart_rate: float = 70.0
    frames: int = 64
    fps: float = 32.0
    seed: int = 0
    reference: str = ""
    reference_frame: ReferenceFrame = "ed"
    guidance: float = 1.5
    steps: int | None = None
    sampler: Sampler = "dpm"
    schedule: str = ""
    autoencoder: str = AUTOENCODER
    image: str = IMAGE_MODEL
    video: str = VIDEO_MODEL


@dataclass(frozen=True)
class GenerateRequest(Wish):
    """One clip by one of the models; see :class:`Wish`."""

    model: ModelName = "jvid"


@dataclass(frozen=True)
class CompareRequest(Wish):
    """The same wish and seed by all three models, or by one of them with different numbers of steps.

    Where a student of the video model is installed it is one more clip beside the numbers of steps, which are then
    taken by DPM-Solver++ if the sampler asked for is the student itself.
    """

    over: Literal["models", "steps"] = "models"
    model: ModelName = "jvid"


@dataclass(frozen=True)
class Made:
    """One clip that was made. ``clip`` (NPZ), ``video`` (MP4), ``dicom`` and ``table`` (CSV) are artifact ids.

    ``title`` tells it from those beside it; ``measured`` is what the meter, which the generator never saw, finds.
    ``seconds`` is the time of the generator, decoding included. ``difference`` is the root mean square difference to
    the clip of the most steps in grey levels, where several numbers of steps are compared.
    """

    title: str
    model: ModelName
    ef: float
    seed: int
    steps: int
    schedule: str
    clip: str
    video: str
    dicom: str
    table: str
    measured: Measured
    seconds: float
    difference: float | None = None


@dataclass(frozen=True)
class GenerateResult:
    """The clip that was made, notes on how, and the artifact id of the reference frame's clip ('' if made up)."""

    made: Made
    notes: tuple[str, ...]
    weights: dict[str, str]


@dataclass(frozen=True)
class CompareResult:
    """Several clips of one wish, in the order to be shown, and a table of their numbers (artifact id)."""

    made: tuple[Made, ...]
    notes: tuple[str, ...]
    weights: dict[str, str]
    table: str


def generate(request: GenerateRequest, ctx: JobContext) -> GenerateResult:
    """Make one clip, measure it, store it as NPZ, MP4 and DICOM."""
    from backend.services.echo.generate import run_generate

    return run_generate(request, ctx)


def compare(request: CompareRequest, ctx: JobContext) -> CompareResult:
    """Make the same clip by three models, or with several numbers of steps."""
    from backend.services.echo.generate import run_compare

    return run_compare(request, ctx)


ACTIONS: tuple[Action, ...] = (
    Action(
        system="echo",
        name="generate",
        run=generate,
        request=GenerateRequest,
        result=GenerateResult,
        summary="Make a beating heart with the ejection fraction you ask for.",
    ),
    Action(
        system="echo",
        name="compare",
        run=compare,
        request=CompareRequest,
        result=CompareResult,
        summary="Make the same beating heart by three models, or with several numbers of steps.",
    ),
)
