"""The generator as the jobs use it: its networks, found by their weights, behind three calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.services.echo.making import JVID_SCHEDULE, ModelName, Wish
from backend.services.echo.needs import STUDENT, check_together

if TYPE_CHECKING:
    from torch import Tensor

    from backend.services.echo.batch import BatchRequest
    from backend.weights import WeightFile
    from models.echo.generate import GenerateConfig, Models

Follow = Callable[[int, int, Any], None]
"""Steps done, their number, latents as seen in that step."""


@dataclass(frozen=True)
class Generator:
    """``weights`` maps the names of the networks to their SHA-256; ``student_guidance`` is in the student, if any."""

    models: Models
    weights: dict[str, str]
    student_guidance: float = 1.0

    def make(self, wish: Wish, model: ModelName, reference: np.ndarray | None, follow: Follow) -> np.ndarray:
        """uint8 [T, 112, 112]; ``reference`` float32 [112, 112] in 0…1 or ``None``. ``follow`` may raise to stop."""
        from models.echo.generate import generate

        config = self._config(wish, self.schedule(wish, model))
        return generate(self.models, config, reference, callback=follow)

    def _config(self, wish: Wish, schedule: str = "video") -> GenerateConfig:
        from models.echo.generate import GenerateConfig

        return GenerateConfig(
            ef=wish.ef,
            heart_rate=wish.heart_rate,
            frames=wish.frames,
            fps=wish.fps,
            guidance=wish.guidance,
            steps=wish.steps,
            sampler=wish.sampler,
            schedule=schedule,
            seed=wish.seed,
        )

    def preview(self, latents: Tensor) -> np.ndarray:
        """uint8 [T, 112, 112]: latents roughly decoded."""
        from models.echo.generate import decode_preview

        return decode_preview(self.models.autoencoder, latents)

    def levels(self, wish: Wish) -> list[float]:
        """The noise level of each step."""
        from models.echo.generate import noise_levels

        return [float(level) for level in noise_levels(self._config(wish), self.models.student_steps)[:-1]]

    def schedule(self, wish: Wish, model: ModelName) -> str:
        """Which model denoises each step, one letter V or I a step. Raises ``UserError`` for what is no schedule."""
        from models.echo.jvid import NAMES, parse_schedule

        text = {"lidm": "image", "lvdm": "video"}.get(model, wish.schedule or JVID_SCHEDULE)
        try:
            return parse_schedule(text, self.levels(wish))
        except ValueError:
            raise UserError(
                "This schedule cannot be used.",
                f"A schedule is a row of letters V and I, or one of {', '.join(NAMES)}.",
                "Leave it empty to take the default.",
            ) from None


def load_generator(ctx: JobContext, wish: Wish | BatchRequest, *, student: bool = False) -> Generator:
    """Load the networks; the student too where it is the sampler, or with ``student``.

    Raises ``UserError`` where one is not installed, or they do not belong together.
    """
    from models.echo.autoencoder import Autoencoder
    from models.echo.denoiser import Denoiser
    from models.echo.generate import Models

    student = student or wish.sampler == "student"
    chosen = {"autoencoder": wish.autoencoder, "image": wish.image, "video": wish.video}
    found = check_together(ctx.weights, {**chosen, "student": STUDENT} if student else chosen)
    if student and not taught_by(found["student"], found["video"]):
        raise UserError(
            f"The student {STUDENT!r} does not belong to the video model {wish.video!r}.",
            "It was distilled from other weights, for which it stands.",
            "Choose another sampler, or distil a student of these weights.",
        )

    def load(name: str, kind: type) -> Any:
        return ctx.weights.load(name, lambda config: kind(**config["arguments"]), ctx.device)

    models = Models(load(wish.autoencoder, Autoencoder), load(wish.image, Denoiser), load(wish.video, Denoiser))
    hashes = {weight.name: weight.sha256 for weight in found.values()}
    if not student:
        return Generator(models, hashes)
    config = found["student"].config
    models = replace(models, student=load(STUDENT, Denoiser), student_steps=int(config["steps"]))
    return Generator(models, hashes, float(config["guidance"]))


def taught_by(student: WeightFile, video: WeightFile) -> bool:
    """Whether a student was distilled from these weights of a video model."""
    return student.config.get("teacher_sha256") == video.sha256
