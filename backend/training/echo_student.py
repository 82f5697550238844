"""The recipe of the few-step student of echo clips: the video model, distilled with its guidance in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from backend.errors import UserError
from backend.training.echo_generator import HELD_OUT, GeneratorRequest, draw_batch, load_latents
from backend.training.echo_latents import held_out_count
from backend.training.recipe import Progress, TrainReport, Watch, finish, fit_resumably

if TYPE_CHECKING:
    from torch import Tensor, nn

    from backend.training.echo_latents import Latents
    from backend.weights import WeightFile
    from models.diffusion.distill import Teacher
    from models.echo.denoiser import Denoiser
    from models.fitting import FitState

TEACHER = "echo/video"
MOST_STEPS = 32
WHOLE_STEPS, WHOLE_WINDOWS = 64, 16
"""Steps of the teacher's run that whole runs are measured against, and how many of them there are."""


@dataclass(frozen=True)
class StudentRequest:
    """What to train. ``minutes`` counts all runs of a resumed training together, without drawing the clips.

    ``teacher``: name of the weights of a video model, or their folder; ``steps``: how many the student takes;
    ``sub_steps``: how many the teacher takes for each of them; ``guidance``: what the teacher does with the ejection
    fraction, which the student learns with it. ``data``, ``clips``, ``latents``, ``autoencoder`` and ``batch`` as of
    :class:`backend.training.echo_generator.GeneratorRequest`.
    """

    out: Path
    minutes: float = 60.0
    teacher: str = TEACHER
    steps: int = 4
    sub_steps: int = 4
    guidance: float = 1.5
    data: Path | None = None
    clips: int = 6000
    latents: str = ""
    autoencoder: str = "echo/autoencoder"
    batch: int = 8
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    command: str = ""


def train_student(
    request: StudentRequest, *, progress: Progress | None = None, watch: Watch | None = None
) -> TrainReport:
    """Distil a video model and write ``model.safetensors``, ``config.json`` and ``CARD.md``.

    The weights of the teacher and of its autoencoder must be there. ``progress`` and ``watch`` as of
    :func:`backend.training.recipe.fit_resumably`. Raises ``UserError`` when the request cannot be met.
    """
    import torch

    from models.echo.denoiser import Denoiser
    from models.fitting import Optimisation

    _check(request)
    weight, teacher = _load_teacher(request)
    asked = GeneratorRequest(
        request.out,
        "video",
        data=request.data,
        clips=request.clips,
        latents=request.latents,
        autoencoder=request.autoencoder,
        batch=request.batch,
    )
    kept, autoencoder_sha256 = load_latents(asked, progress)
    if weight.config.get("autoencoder_sha256", autoencoder_sha256) != autoencoder_sha256:
        raise UserError(
            f"The teacher {weight.name!r} does not fit the autoencoder {request.autoencoder!r}.",
            "It was trained in the code of another one.",
            "Name the autoencoder it belongs to.",
        )
    cut = held_out_count(kept, HELD_OUT)
    torch.manual_seed(request.seed)
    student = Denoiser(**weight.config["arguments"]).to(request.device)
    student.load_state_dict(teacher.state_dict())
    teacher.to(request.device)

    def batch_of(step: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return draw_jumps(kept, asked, request.steps, rng, len(kept) - cut)

    def loss_of(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return student_error(cast("Denoiser", model), teacher, batch, request).mean()

    state = fit_resumably(
        student,
        batch_of,
        loss_of,
        out=request.out,
        minutes=request.minutes,
        seed=request.seed,
        resume=request.resume,
        described={
            "kind": "student",
            "seed": request.seed,
            "batch": request.batch,
            "steps": request.steps,
            "sub_steps": request.sub_steps,
            "guidance": request.guidance,
            "teacher": weight.sha256,
            "clips": len(kept),
        },
        # It begins where the teacher is and has little way to go.
        config=Optimisation(learning_rate=3e-4, ema=0.999, weight_decay=0.0),
        progress=progress,
        watch=watch,
    )
    teacher.to("cpu")
    each = held_out_errors(student, teacher, kept, asked, request, cut)
    config = {
        "class": "models.echo.denoiser:Denoiser",
        "arguments": student.arguments,
        "steps": request.steps,
        "guidance": request.guidance,
        "teacher_sha256": weight.sha256,
        "autoencoder_sha256": autoencoder_sha256,
    }
    text = _card(request, state, len(kept) - cut, each, weight)
    return finish(
        request.out,
        student,
        config,
        text,
        state,
        learnt_from=len(kept) - cut,
        each=each,
        held_out=cut,
        notes=kept.left_out,
    )


def draw_jumps(
    kept: Latents, request: GeneratorRequest, steps: int, rng: np.random.Generator, count: int, first: int = 0
) -> tuple[Tensor, ...]:
    """As :func:`backend.training.echo_generator.draw_batch`, with which of the student's steps (N,) in place of σ."""
    import torch

    codes, noise, _, *conditions = draw_batch(kept, request, rng, count, first)
    return codes, noise, torch.from_numpy(rng.integers(steps, size=len(codes))), *conditions


def jump_errors(
    student: Denoiser, teacher: Denoiser, batch: tuple[Tensor, ...], request: StudentRequest
) -> tuple[Tensor, Tensor]:
    """Weighted squared errors (N,) of the student's and of the teacher's own answer to the student's target."""
    state, sigma, wanted = _jump(teacher, batch, request)
    _, _, _, *conditions = batch
    answers = (guided_by(student, 1, *conditions), guided_by(teacher, request.guidance, *conditions))
    mine, own = (_weighted(answer(state, sigma) - wanted, sigma, teacher.spread) for answer in answers)
    return mine, own


def student_error(student: Denoiser, teacher: Denoiser, batch: tuple[Tensor, ...], request: StudentRequest) -> Tensor:
    """The student's alone, as :func:`jump_errors` has it."""
    state, sigma, wanted = _jump(teacher, batch, request)
    _, _, _, *conditions = batch
    return _weighted(guided_by(student, 1, *conditions)(state, sigma) - wanted, sigma, teacher.spread)


def _jump(teacher: Denoiser, batch: tuple[Tensor, ...], request: StudentRequest) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy states, their σ (N,), and the target of the student's step from there."""
    from models.diffusion.distill import distilled, sub_levels

    codes, noise, which, *conditions = batch
    levels = sub_levels(request.steps, request.sub_steps, which).to(codes)
    sigma = levels[:, 0]
    state = codes + sigma.view(-1, 1, 1, 1, 1) * noise
    return state, sigma, distilled(guided_by(teacher, request.guidance, *conditions), state, levels)


def _weighted(difference: Tensor, sigma: Tensor, spread: float) -> Tensor:
    """Squared error (N,) with the weight of the teacher's training: at every σ as it counts at the network's output."""
    weight = (sigma**2 + spread**2) / (sigma * spread) ** 2
    error: Tensor = weight * difference.square().flatten(1).mean(1)
    return error


def guided_by(model: Denoiser, guidance: float, ef: Tensor, phase: Tensor, fps: Tensor, reference: Tensor) -> Teacher:
    """A video model with its conditions and its guidance in it: state and σ (N,) → x₀."""
    import torch

    from models.diffusion.distill import guided

    def answer(state: Tensor, sigma: Tensor) -> Tensor:
        shared = {"phase": phase, "fps": fps, "reference": reference}
        asked: Tensor = model(state, sigma, ef=ef, **shared).float()
        if guidance == 1:
            return asked
        return guided(asked, model(state, sigma, ef=torch.full_like(ef, float("nan")), **shared).float(), guidance)

    return answer


def held_out_errors(
    student: Denoiser, teacher: Denoiser, kept: Latents, asked: GeneratorRequest, request: StudentRequest, cut: int
) -> dict[str, list[float]]:
    """The values behind :func:`train_student`, one for each window of the last ``cut`` clips."""
    import torch

    from models.diffusion.distill import student_levels

    rng = np.random.default_rng(0)
    first = len(kept) - cut
    found: dict[str, list[float]] = {}
    with torch.inference_mode():
        for step, level in enumerate(student_levels(request.steps)[:-1].tolist()):
            for _ in range(4):
                batch = draw_jumps(kept, asked, request.steps, rng, cut, first)
                again = (*batch[:2], torch.full_like(batch[2], step), *batch[3:])
                for name, errors in zip(
                    ("student", "teacher"), jump_errors(student, teacher, again, request), strict=True
                ):
                    found.setdefault(f"sigma={level:.3g}.{name}", []).extend(errors.tolist())
        for _ in range(max(1, WHOLE_WINDOWS // request.batch)):
            batch = draw_jumps(kept, asked, request.steps, rng, cut, first)
            for name, values in whole_runs(student, teacher, batch, request).items():
                found.setdefault(f"run.{name}", []).extend(values)
    return found


def whole_runs(
    student: Denoiser, teacher: Denoiser, batch: tuple[Tensor, ...], request: StudentRequest
) -> dict[str, list[float]]:
    """From equal noise to the end: difference of the student, and of the teacher in as many steps, to the teacher."""
    from models.diffusion.distill import student_levels
    from models.diffusion.edm import sample_ddim, sample_dpm, sigmas

    codes, noise, _, *conditions = batch
    taught, learnt = guided_by(teacher, request.guidance, *conditions), guided_by(student, 1, *conditions)

    def at(model: Teacher, state: Tensor, sigma: float) -> Tensor:
        return model(state, codes.new_full((len(codes),), sigma))

    own = student_levels(request.steps)
    wanted = sample_dpm(lambda state, sigma, step: at(taught, state, sigma), noise, sigmas(WHOLE_STEPS))
    made = {
        "student": sample_ddim(lambda state, sigma, step: at(learnt, state, sigma), noise, own),
        "ddim": sample_ddim(lambda state, sigma, step: at(taught, state, sigma), noise, own),
        "dpm": sample_dpm(lambda state, sigma, step: at(taught, state, sigma), noise, sigmas(request.steps)),
    }
    return {name: (end - wanted).square().flatten(1).mean(1).sqrt().tolist() for name, end in made.items()}


def _check(request: StudentRequest) -> None:
    if request.minutes <= 0 or request.batch < 1 or request.clips < 50:
        raise UserError(
            "This training cannot be.", "It needs time, a batch and at least 50 clips.", "Give numbers above zero."
        )
    if not (2 <= request.steps <= MOST_STEPS and 2 <= request.sub_steps <= MOST_STEPS and 0 <= request.guidance <= 10):
        raise UserError(
            "This student cannot be taught.",
            f"It takes 2 to {MOST_STEPS} steps with 2 to {MOST_STEPS} of the teacher in each, guidance from 0 to 10.",
            "Choose numbers in between.",
        )


def _load_teacher(request: StudentRequest) -> tuple[WeightFile, Denoiser]:
    """The weights of the teacher and its network on the CPU. Raises ``UserError`` when they are no video model."""
    from backend.settings import get_settings
    from backend.weights import MODEL, Weights
    from models.echo.denoiser import Denoiser

    # Uncompiled: its parameters are copied by name.
    weights = Weights(get_settings().model_copy(update={"compile_models": False}))
    place = Path(request.teacher)
    name: str | Path = place if (place / MODEL).is_file() else request.teacher
    weight = weights.find(name)
    if not weight.config.get("arguments", {}).get("reference") or "teacher_sha256" in weight.config:
        raise UserError(
            f"The weights {weight.name!r} cannot teach.", "They are no video model.", f"Name one, such as {TEACHER}."
        )
    return weight, cast("Denoiser", weights.load(name, lambda config: Denoiser(**config["arguments"]), device="cpu"))


def _card(
    request: StudentRequest, state: FitState, clips: int, each: dict[str, list[float]], teacher: WeightFile
) -> str:
    from backend.training.topology_measure import interval

    def cell(key: str) -> str:
        return "{:.3f} [{:.3f}, {:.3f}]".format(*interval(each[key]))

    levels = [key[: -len(".student")] for key in each if key.startswith("sigma=") and key.endswith(".student")]
    rows = "\n".join(
        f"| {level.removeprefix('sigma=')} | {cell(f'{level}.student')} | {cell(f'{level}.teacher')} |"
        for level in levels
    )
    origin = (
        f"{clips} clips of echo phantoms (`models/phantoms/echo`)"
        if request.data is None
        else f"{clips} stretches of clips that were given, with the ejection fractions of their table"
    )
    return f"""# Echo generator: clips in {request.steps} steps

Makes windows of latent frames of a beating heart in {request.steps} steps, with guidance {request.guidance:g} in it.
Distilled from `{teacher.name}` (SHA-256 {teacher.sha256[:16]}…). Research use only. Not for diagnosis.

## Trained on

{origin}; what it imitates is the teacher's answers on them.

## Training

`{request.command or "backend.training.echo_student.train_student"}`

{state.seconds / 60:.1f} minutes, {state.step} steps of training, device {request.device} ({os.cpu_count()} cores seen),
{request.sub_steps} sub-steps of the teacher for each step of the student, batches of {request.batch} windows, seed
{request.seed}; loss of the last 200 steps {np.mean(state.losses[-200:]):.4f}.

## Measured results

On windows of held-out clips: mean and 95 % bootstrap interval. What the clips are worth is measured by
`python -m tests.benchmarks echo`.

One step from noise level σ: weighted squared error to where the teacher lands in {request.sub_steps} sub-steps.

| σ | student | teacher, one step |
|---|---|---|
{rows}

All {request.steps} steps from noise to the end: root mean square difference of latents, whose variance is 1, to the
teacher in {WHOLE_STEPS} steps of DPM-Solver++ from the same noise.

| student | teacher, {request.steps} steps of DDIM | teacher, {request.steps} steps of DPM-Solver++ |
|---|---|---|
| {cell("run.student")} | {cell("run.ddim")} | {cell("run.dpm")} |

## Limits

All those of its teacher. Its guidance cannot be changed, and more steps do not make it better.

## Licence

Same as the code; phantoms carry no other licence.
"""
