"""The generator as the jobs use it: its networks, found by their weights, behind three calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from backend.errors import UserError
from backend.jobs.contract import JobContext
from backend.services.echo.making import JVID_SCHEDULE, ModelName, Wish
from backend.services.echo.needs import check_together

if TYPE_CHECKING:
    from torch import Tensor

    from backend.services.echo.batch import BatchRequest
    from models.echo.generate import Models

Follow = Callable[[int, int, Any], None]
"""Steps done, their number, latents as seen in that step."""


@dataclass(frozen=True)
class Generator:
    """``weights`` maps the names of the networks to their SHA-256."""

    models: Models
    weights: dict[str, str]

    def make(self, wish: Wish, model: ModelName, reference: np.ndarray | None, follow: Follow) -> np.ndarray:
        """uint8 [T, 112, 112]; ``reference`` float32 [112, 112] in 0…1 or ``None``. ``follow`` may raise to stop."""
        from models.echo.generate import GenerateConfig, generate

        config = GenerateConfig(
            ef=wish.ef,
            heart_rate=wish.heart_rate,
            frames=wish.frames,
            fps=wish.fps,
            guidance=wish.guidance,
            steps=wish.steps,
            sampler=wish.sampler,
            schedule=self.schedule(wish, model),
            seed=wish.seed,
        )
        return generate(self.models, config, reference, callback=follow)

    def preview(self, latents: Tensor) -> np.ndarray:
        """uint8 [T, 112, 112]: latents roughly decoded."""
        from models.echo.generate import decode_preview

        return decode_preview(self.models.autoencoder, latents)

    def schedule(self, wish: Wish, model: ModelName) -> str:
        """Which model denoises each step, one letter V or I a step. Raises ``UserError`` for what is no schedule."""
        from models.diffusion.edm import sigmas
        from models.echo.jvid import NAMES, parse_schedule

        text = {"lidm": "image", "lvdm": "video"}.get(model, wish.schedule or JVID_SCHEDULE)
        try:
            return parse_schedule(text, sigmas(wish.steps)[:-1].tolist())
        except ValueError:
            raise UserError(
                "This schedule cannot be used.",
                f"A schedule is a row of letters V and I, or one of {', '.join(NAMES)}.",
                "Leave it empty to take the default.",
            ) from None


def load_generator(ctx: JobContext, wish: Wish | BatchRequest) -> Generator:
    """Load the networks. Raises ``UserError`` where one is not installed, or they do not belong together."""
    from models.echo.autoencoder import Autoencoder
    from models.echo.denoiser import Denoiser
    from models.echo.generate import Models

    found = check_together(ctx.weights, {"autoencoder": wish.autoencoder, "image": wish.image, "video": wish.video})

    def load(name: str, kind: type) -> Any:
        return ctx.weights.load(name, lambda config: kind(**config["arguments"]), ctx.device)

    models = Models(load(wish.autoencoder, Autoencoder), load(wish.image, Denoiser), load(wish.video, Denoiser))
    return Generator(models, {weight.name: weight.sha256 for weight in found.values()})
