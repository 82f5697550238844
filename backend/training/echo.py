"""The recipes of the echo system behind one door: ``python -m backend train echo part=autoencoder --minutes 30``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from backend.errors import UserError
from backend.training.recipe import Progress, TrainReport, Watch

Part = Literal["autoencoder", "image", "video", "student", "meter", "regressor"]
PARTS: tuple[Part, ...] = ("autoencoder", "image", "video", "student", "meter", "regressor")


@dataclass(frozen=True)
class TrainRequest:
    """What to train. ``minutes`` counts all runs of a resumed training together.

    ``part``: which of :data:`PARTS`; ``data``: folder of real clips, for autoencoder and generators (the meters learn
    from phantoms, whose outlines are known); ``out``: folder that gets the weights and the checkpoint. ``clips``,
    ``latents``, ``autoencoder``, ``size`` and ``begin`` are for the generators, see
    :class:`backend.training.echo_generator.GeneratorRequest`; ``teacher``, ``steps`` and ``guidance`` are for the
    student, see :class:`backend.training.echo_student.StudentRequest`, whose size is its teacher's; ``validation``:
    held-out patients that measure a meter at the end.
    """

    out: Path
    part: Part = "autoencoder"
    minutes: float = 30.0
    data: Path | None = None
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    clips: int = 6000
    latents: str = ""
    autoencoder: str = "echo/autoencoder"
    size: str = "small"
    begin: str = ""
    teacher: str = "echo/video"
    steps: int = 4
    guidance: float = 1.5
    validation: int = 60
    command: str = ""


def default_name(request: TrainRequest) -> str:
    """Name of the folder among one's own weights where nobody chooses one.

    That of the part where such weights are absent, so that the command that is advised for them brings them; else
    another, so that what is there is not put in the shade.
    """
    from backend.settings import get_settings
    from backend.weights import Weights

    name = "meter2d" if request.part == "meter" else request.part
    try:
        Weights(get_settings()).find(f"echo/{name}")
    except UserError:
        return name
    return f"trained-{request.part}"


def train(request: TrainRequest, *, progress: Progress | None = None, watch: Watch | None = None) -> TrainReport:
    """Train one part. Raises ``UserError`` when the request cannot be met."""
    if request.part not in PARTS:
        raise UserError(f"The echo system has no part {request.part!r}.", what_to_do=f"Choose {', '.join(PARTS)}.")
    shared: dict[str, Any] = {
        "out": request.out,
        "minutes": request.minutes,
        "device": request.device,
        "seed": request.seed,
        "resume": request.resume,
        "command": request.command,
    }
    if request.part == "autoencoder":
        from backend.training.echo_autoencoder import AutoencoderRequest, train_autoencoder

        return train_autoencoder(AutoencoderRequest(**shared, data=request.data), progress=progress, watch=watch)
    if request.part in ("image", "video"):
        from backend.training.echo_generator import GeneratorRequest, train_generator

        return train_generator(
            GeneratorRequest(
                **shared,
                part=request.part,
                data=request.data,
                clips=request.clips,
                latents=request.latents,
                autoencoder=request.autoencoder,
                size=request.size,
                begin=request.begin,
            ),
            progress=progress,
            watch=watch,
        )
    if request.part == "student":
        from backend.training.echo_student import StudentRequest, train_student

        return train_student(
            StudentRequest(
                **shared,
                teacher=request.teacher,
                steps=request.steps,
                guidance=request.guidance,
                data=request.data,
                clips=request.clips,
                latents=request.latents,
                autoencoder=request.autoencoder,
            ),
            progress=progress,
            watch=watch,
        )
    if request.data is not None:
        raise UserError(
            f"The {request.part} cannot learn from a folder of clips.",
            "It needs the outlines of the chambers in every frame, which clips do not come with.",
            "Train it on phantoms, without a folder.",
        )
    from backend.training.echo_meter import MeterRequest, train_meter, train_regressor

    call = train_meter if request.part == "meter" else train_regressor
    return call(MeterRequest(**shared, validation=request.validation), progress=progress, watch=watch)
