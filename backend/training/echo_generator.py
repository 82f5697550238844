"""The recipes of the two generators of echo clips: single frames (LIDM) and windows of a clip (LVDM)."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from backend.errors import UserError
from backend.training.echo_generator_sheet import sheet
from backend.training.echo_latents import LENGTH, Latents, draw_latents, held_out_count, read_latents
from backend.training.recipe import SAMPLES, Progress, TrainReport, Watch, finish, fit_resumably

if TYPE_CHECKING:
    from torch import Tensor, nn

    from backend.weights import WeightFile
    from models.echo.autoencoder import Autoencoder
    from models.echo.denoiser import Denoiser
    from models.fitting import FitState

AUTOENCODER, METER = "echo/autoencoder", "echo/meter2d"
NO_EF, NO_PHASE = 0.1, {"image": 0.2, "video": 0.05}
"""Shares of the items that learn without an ejection fraction and without phases."""
STILLS = 0.3
"""Share of the frames of the image model that are end-diastolic references."""
SIGMA_MEAN = {"image": -0.4, "video": 0.2}
"""Mean of ln σ in training. What a clip does as a whole, its ejection fraction first of all, is decided at high σ."""
HELD_OUT = 0.04
"""Share of the clips, whole patients at the end of the list, that measure the loss."""
SIZES: dict[str, dict[str, tuple[int, int, int]]] = {
    "small": {"image": (192, 6, 4), "video": (192, 8, 4)},
    "large": {"image": (384, 12, 6), "video": (512, 16, 8)},
}
"""Width, depth and heads: ``small`` for two cores, which ships, and ``large`` for a GPU."""


@dataclass(frozen=True)
class GeneratorRequest:
    """What to train. ``minutes`` counts all runs of a resumed training together, without drawing the clips.

    ``part``: ``"image"`` or ``"video"``; ``data``: folder of real clips with their ejection fractions, ``None`` for
    ``clips`` phantom clips; ``latents``: file that keeps their codes, shared by both parts ('' for one in ``out``);
    ``autoencoder``: weights of the code to work in, which the generator then belongs to; ``size``: a name in
    :data:`SIZES`; ``batch``: windows a step, or four times as many frames; ``begin``: name of weights of the same part
    and size, or their folder, to go on from, '' to begin with nothing.
    """

    out: Path
    part: Literal["image", "video"] = "video"
    minutes: float = 60.0
    data: Path | None = None
    clips: int = 6000
    latents: str = ""
    autoencoder: str = AUTOENCODER
    size: str = "small"
    begin: str = ""
    batch: int = 8
    device: str = "cpu"
    seed: int = 0
    resume: bool = True
    command: str = ""


def train_generator(
    request: GeneratorRequest, *, progress: Progress | None = None, watch: Watch | None = None
) -> TrainReport:
    """Train one generator and write ``model.safetensors``, ``config.json``, ``CARD.md`` and a sample sheet.

    The autoencoder's weights must be there (and the meter's, for a folder of clips). ``progress`` and ``watch`` as of
    :func:`backend.training.recipe.fit_resumably`. Raises ``UserError`` when the request cannot be met.
    """
    import torch

    from models.fitting import Optimisation

    if request.minutes <= 0 or request.batch < 1 or request.clips < 50 or request.size not in SIZES:
        raise UserError(
            "This training cannot be.",
            "It needs time, a batch, at least 50 clips and a size.",
            f"Give numbers above zero, and one of the sizes {', '.join(SIZES)}.",
        )
    kept, autoencoder_sha256 = load_latents(request, progress)
    cut = held_out_count(kept, HELD_OUT)
    whole, difference = kept.spread()
    torch.manual_seed(request.seed)
    model, earlier = _new_model(request, whole if request.part == "image" else difference, autoencoder_sha256)
    model.to(request.device)

    def batch_of(step: int, rng: np.random.Generator) -> tuple[Tensor, ...]:
        return draw_batch(kept, request, rng, len(kept) - cut)

    state = fit_resumably(
        model,
        batch_of,
        denoising_loss,
        out=request.out,
        minutes=request.minutes,
        seed=request.seed,
        resume=request.resume,
        described={
            "kind": request.part,
            "seed": request.seed,
            "batch": request.batch,
            "arguments": model.arguments,
            **_given(request, kept, autoencoder_sha256),
            **({"begin": earlier.sha256} if earlier else {}),
        },
        config=Optimisation(learning_rate=1e-3, muon=2e-3, ema=0.999, weight_decay=0.0),
        progress=progress,
        watch=watch,
    )
    each = held_out_loss(model, kept, request, cut)
    config = {
        "class": "models.echo.denoiser:Denoiser",
        "arguments": model.arguments,
        "autoencoder_sha256": autoencoder_sha256,
        **({"begin_sha256": earlier.sha256} if earlier else {}),
    }
    text = _card(request, state, len(kept) - cut, each, model, kept.left_out, earlier)
    sheet(request.out / SAMPLES, model, load_autoencoder(request)[0], kept.reference[-cut:])
    return finish(
        request.out,
        model,
        config,
        text,
        state,
        learnt_from=len(kept) - cut,
        each=each,
        held_out=cut,
        notes=kept.left_out,
    )


def draw_batch(
    kept: Latents, request: GeneratorRequest, rng: np.random.Generator, count: int, first: int = 0
) -> tuple[Tensor, ...]:
    """Codes, noise, σ, ef, phase, fps and references of a step, from ``count`` clips from ``first`` on."""
    import torch

    from models.diffusion.edm import draw_sigma

    image = request.part == "image"
    size, window = (4 * request.batch, 1) if image else (request.batch, 16)
    which = first + rng.integers(count, size=size)
    begin = rng.integers(LENGTH - window + 1, size=size)
    codes = np.stack([kept.codes[i, a : a + window] for i, a in zip(which, begin, strict=True)]).astype(np.float32)
    phase = np.stack([kept.phase[i, a : a + window] for i, a in zip(which, begin, strict=True)])
    if image:
        # References are what it is asked for most; they are rare among frames of any phase.
        still = rng.random(size) < STILLS
        codes[still], phase[still] = kept.reference[which[still], None], 0
    phase[rng.random(size) < NO_PHASE[request.part]] = np.nan
    ef = kept.ef[which].copy()
    ef[rng.random(size) < NO_EF] = np.nan
    source = torch.Generator().manual_seed(int(rng.integers(2**31)))
    return (
        torch.from_numpy(codes),
        torch.randn(codes.shape, generator=source),
        draw_sigma(size, source, mean=SIGMA_MEAN[request.part], deviation=1.6),
        torch.from_numpy(ef),
        torch.from_numpy(phase),
        torch.from_numpy(kept.fps[which]),
        torch.from_numpy(kept.reference[which].astype(np.float32)),
    )


def denoising_loss(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """The mean of :func:`weighted_error`."""
    return weighted_error(model, batch).mean()


def weighted_error(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Squared error (N,) of the denoised codes; 1 is what knowing nothing but the spread gives at any σ."""
    codes, noise, sigma, ef, phase, fps, reference = batch
    by_item = sigma.view(-1, 1, 1, 1, 1)
    still = {"reference": reference} if model.reference else {}
    found = model(codes + by_item * noise, sigma, ef=ef, phase=phase, fps=fps, **still)
    spread = float(model.spread)  # type: ignore[arg-type]
    weight = (sigma**2 + spread**2) / (sigma * spread) ** 2
    error: Tensor = weight * (found.float() - codes).square().flatten(1).mean(1)
    return error


def held_out_loss(model: Denoiser, kept: Latents, request: GeneratorRequest, cut: int) -> dict[str, list[float]]:
    """``sigma=<σ>.loss`` → weighted errors on windows of held-out clips at four noise levels."""
    import torch

    rng = np.random.default_rng(0)
    found = {}
    with torch.inference_mode():
        for level in (0.1, 0.5, 2.0, 10.0):
            errors = []
            for _ in range(4):
                batch = draw_batch(kept, request, rng, cut, len(kept) - cut)
                again = (batch[0], batch[1], torch.full_like(batch[2], level), *batch[3:])
                errors += weighted_error(model, again).tolist()
            found[f"sigma={level:g}.loss"] = errors
    return found


def _given(request: GeneratorRequest, kept: Latents, autoencoder_sha256: str) -> dict[str, str]:
    """What else must be equal to go on from a checkpoint: the clips of a folder, and a code of one's own."""
    found = {} if request.data is None else {"data": hashlib.sha256(kept.codes.tobytes()).hexdigest()}
    return found if request.autoencoder == AUTOENCODER else {**found, "autoencoder": autoencoder_sha256}


def _new_model(request: GeneratorRequest, spread: float, autoencoder_sha256: str) -> tuple[Denoiser, WeightFile | None]:
    """A network to train, and what it begins with. Raises ``UserError`` when that is of another kind or code."""
    from safetensors.torch import load

    from backend.settings import get_settings
    from backend.weights import MODEL, Weights
    from models.echo.denoiser import Denoiser

    image = request.part == "image"
    width, depth, heads = SIZES[request.size][request.part]
    model = Denoiser(1 if image else 16, 1 if image else 4, not image, width, depth, heads, round(spread, 3))
    if not request.begin:
        return model, None
    place = Path(request.begin)
    earlier = Weights(get_settings()).find(place if (place / MODEL).is_file() else request.begin)
    arguments = earlier.config.get("arguments", {})
    if {**model.arguments, "spread": arguments.get("spread")} != arguments:
        raise UserError(
            f"The training cannot go on from the weights {earlier.name!r}.",
            f"They are no {request.part} model of the size {request.size!r}.",
            "Name weights of the same part and size, or leave them out.",
        )
    if earlier.config.get("autoencoder_sha256") != autoencoder_sha256:
        raise UserError(
            f"The training cannot go on from the weights {earlier.name!r}.",
            f"They belong to another autoencoder than {request.autoencoder!r}.",
            "Name the autoencoder they belong to.",
        )
    # The spread is part of what was learnt, so it stays.
    model = Denoiser(**arguments)
    model.load_state_dict(load(earlier.read()))
    return model, earlier


def load_autoencoder(request: GeneratorRequest) -> tuple[Autoencoder, str]:
    """The autoencoder whose code is worked in, on the CPU, and its SHA-256. Raises ``UserError`` for other weights."""
    from backend.settings import get_settings
    from backend.weights import Weights
    from models.echo.autoencoder import Autoencoder

    weights = Weights(get_settings())
    weight = weights.find(request.autoencoder)
    if "fine" not in weight.config.get("arguments", {}):
        raise UserError(
            f"The weights {request.autoencoder!r} are no echo autoencoder.", "", "Name one, such as echo/autoencoder."
        )
    made = weights.load(request.autoencoder, lambda config: Autoencoder(**config["arguments"]), device="cpu")
    return cast("Autoencoder", made), weight.sha256


def load_latents(request: GeneratorRequest, progress: Progress | None) -> tuple[Latents, str]:
    """What to learn from, and the SHA-256 of the autoencoder that coded it."""
    at = Path(request.latents) if request.latents else request.out / "latents.npz"
    autoencoder, sha256 = load_autoencoder(request)

    def before(fraction: float, note: str) -> None:
        if progress:
            progress(0.0, note)

    if request.data is None:
        return draw_latents(at, autoencoder, sha256, request.clips, progress=before), sha256
    from backend.settings import get_settings
    from backend.weights import Weights
    from models.echo.meter import Meter

    weights = Weights(get_settings())
    meter = cast("Meter", weights.load(METER, lambda config: Meter(**config["arguments"]), device="cpu"))
    return read_latents(at, request.data, autoencoder, sha256, meter, progress=before), sha256


def _card(
    request: GeneratorRequest,
    state: FitState,
    clips: int,
    each: dict[str, list[float]],
    model: Denoiser,
    left_out: tuple[str, ...],
    earlier: WeightFile | None,
) -> str:
    from backend.training.topology_measure import interval
    from backend.weights import section

    weights = sum(parameter.numel() for parameter in model.parameters())
    rows = "\n".join(
        "| {} | {:.3f} [{:.3f}, {:.3f}] |".format(key[len("sigma=") : -len(".loss")], *interval(values))
        for key, values in each.items()
    )
    what = (
        "Makes single latent frames of any phase of the heartbeat, end-diastolic reference frames among them (LIDM)"
        if request.part == "image"
        else "Makes windows of 16 latent frames of a beating heart from an end-diastolic frame (LVDM)"
    )
    origin = (
        f"{clips} clips of {LENGTH} frames of echo phantoms (`models/phantoms/echo`), two of each patient, ejection\n"
        "fraction 5 to 85 %, 12 to 36 frames a second. No image of any patient but what the autoencoder saw"
        if request.data is None
        else f"{clips} stretches of clips that were given, with the ejection fractions of their table"
    )
    before = (
        f"It went on from weights with the SHA-256 {earlier.sha256[:16]}…, of whose training their card says:\n\n"
        f"{section(earlier.card, 'Training')}\n\nThen:\n\n"
        if earlier
        else ""
    )
    return f"""# Echo generator: {"frames" if request.part == "image" else "clips"}

{what}, in the code of `{request.autoencoder}`, for an ejection fraction, a heart rate and a frame rate that are asked
for. Research use only. Not for diagnosis.

## Trained on

{" ".join([f"{origin}.", *left_out])}

## Training

{before}`{request.command or "backend.training.echo_generator.train_generator"}`

{state.seconds / 60:.1f} minutes, {state.step} steps, device {request.device} ({os.cpu_count()} cores seen), size
{request.size}, {weights:,} weights, seed {request.seed}; loss of the last 200 steps {np.mean(state.losses[-200:]):.4f}.

## Measured results

Weighted squared error on held-out clips by noise level σ; 1 is what the best guess without a network gives. Mean and
95 % bootstrap interval. What the clips are worth is measured by `python -m tests.benchmarks echo`.

| σ | error |
|---|---|
{rows}

## Limits

Hearts of phantoms: no pathology but a weak ventricle. A clip shows what was asked for, which is no evidence that a real
heart of that ejection fraction looks so.

## Licence

Same as the code; phantoms carry no other licence.
"""
