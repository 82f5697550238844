"""The perturbation laboratory: one clean mask, damaged as training would damage it, drawn and measured at once.

Not a job: a crop of at most 256 × 256 pixels, or 48 voxels a side, takes a fraction of a second. Nothing is stored. The
same mask, settings and seed give the same pictures. Foreground is 8-connected (26 in volumes) throughout.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from backend.errors import UserError
from backend.training.topology_errors import SETTINGS, perturbation_config

if TYPE_CHECKING:
    import numpy as np

    from backend.runtime import Runtime
    from models.topology.perturb import Perturbation

SIDE, SIDE_3D = 256, 48  # pixels and voxels of a crop or phantom
AT_ONCE = threading.BoundedSemaphore(2)  # previews computed at the same time; more would slow the jobs
MOST_SEED = 2**31
RECIPES = {
    "clustered": (
        "Clustered errors (ours)",
        "Edges moved by clustered noise, with cracks, specks, blots and patches.",
    ),
    "polynomial": ("Polynomial field (published)", "A field of orthogonal functions fades the mask; blobs are added."),
}
FAMILY_TITLES = {
    "legendre": "Legendre",
    "chebyshev": "Chebyshev",
    "hermite": "Hermite",
    "laguerre": "Laguerre",
    "fourier": "Fourier",
    "mixture": "Mixture, by chance an axis",
}


@dataclass(frozen=True)
class ErrorStyle:
    """How a kind of error is shown. ``change`` is its kind in ``models.topology.changes``, from clean to damaged."""

    kind: str
    change: str
    title: str
    colour: str
    meaning: str
    topological: bool = True


# Okabe and Ito's palette, the colours of the repairs that undo each error (see ``render``).
ERRORS: tuple[ErrorStyle, ...] = (
    ErrorStyle("break", "opened_bridge", "break", "#009E73", "A piece fell apart, or a loop was opened."),
    ErrorStyle("bridge", "closed_break", "bridge", "#CC79A7", "Two pieces were joined, or a false loop was closed."),
    ErrorStyle("hole", "opened_hole", "hole", "#56B4E9", "A false hole inside the structure."),
    ErrorStyle("island", "added_island", "island", "#D55E00", "A false piece on the background."),
    ErrorStyle("lost", "removed_island", "lost piece", "#E69F00", "A whole piece is missing."),
    ErrorStyle("filled", "filled_hole", "filled hole", "#F0E442", "A true hole was filled."),
    ErrorStyle("thicker", "thickened", "thicker", "#DDE1E6", "An edge moved outwards; same topology.", False),
    ErrorStyle("thinner", "thinned", "thinner", "#4A5560", "An edge moved inwards; same topology.", False),
)


def choices(runtime: Runtime) -> dict[str, Any]:
    """What the laboratory offers, as plain JSON values: recipes, families, settings with ends and defaults, masks."""
    from backend.samples import samples
    from models.phantoms import curvilinear
    from models.topology.perturb import PerturbationConfig

    defaults = {entry.name: entry.default for entry in fields(PerturbationConfig)}
    masks = [{"id": f"phantom:{kind}", "title": f"Phantom: {_words(kind)}"} for kind in curvilinear.KINDS]
    masks += [{"id": f"phantom3d:{kind}", "title": f"Phantom volume: {_words(kind)}"} for kind in curvilinear.KINDS_3D]
    # Only predictions that lie beside their truth have a clean mask to damage.
    real = [item for item in samples("mask", runtime.settings) if item.path and item.path.parent.name == "prediction"]
    masks += [{"id": f"sample:{sample.id}", "title": f"{sample.title} (its true mask)"} for sample in real]
    return {
        "recipes": [{"id": name, "title": title, "meaning": text} for name, (title, text) in RECIPES.items()],
        "families": [{"id": name, "title": title} for name, title in FAMILY_TITLES.items()],
        "family": defaults["family"],
        "settings": [{"name": name, **asdict(entry), "default": defaults[name]} for name, entry in SETTINGS.items()],
        "masks": masks,
    }


def preview(runtime: Runtime, mask: str, recipe: str, errors: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """One draw, as plain JSON values with the pictures as PNG data addresses.

    ``mask``: ``phantom:KIND[:SEED]``, ``phantom3d:KIND[:SEED]``, ``sample:ID`` or ``artifact:ID``. ``recipe`` and
    ``errors`` as in a training. Raises ``UserError`` for a mask or setting that cannot be used.
    """
    config = perturbation_config(recipe, errors)
    if not 0 <= seed < MOST_SEED:
        raise UserError("This seed cannot be used.", what_to_do=f"Choose a whole number from 0 to {MOST_SEED - 1:,}.")
    clean, title = _clean(runtime, mask)
    with AT_ONCE:
        return {"title": title, "seed": seed, **_damaged(clean, config, seed)}


@lru_cache(maxsize=64)
def basis(family: str, order: int) -> dict[str, Any]:
    """Functions of a family over its window, and the mean spectrum of its fields, as plain JSON values.

    ``functions`` are scaled to a largest absolute value of 1; ``power`` is the share of a field's power at
    ``0, 1, 2 …`` cycles a side, without the mean, averaged over 24 fields. Raises ``UserError``.
    """
    import numpy as np

    from models.topology.families import FAMILIES, random_field

    perturbation_config("polynomial", {"family": family, "order": order})
    functions: list[list[float]] = []
    window: tuple[float, float] = (0.0, 1.0)
    if family in FAMILIES:
        window = FAMILIES[family].window
        values = FAMILIES[family].basis(order, np.linspace(*window, 121))
        functions = np.round(values / np.maximum(np.abs(values).max(1, keepdims=True), 1e-12), 4).tolist()
    side = 64
    rng = np.random.default_rng(0)
    taper = np.outer(np.hanning(side), np.hanning(side))
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side, 1 / side)] * 2, indexing="ij"))
    rings = np.rint(frequency).astype(int)
    power = np.zeros(rings.max() + 1)
    for _ in range(24):
        field = random_field(family, (side, side), order, rng)
        power += np.bincount(rings.ravel(), (np.abs(np.fft.fft2((field - field.mean()) * taper)) ** 2).ravel())
    total = float(power.sum())
    shares = power[:21] / total if total else power[:21]
    mean = float((power * np.arange(len(power))).sum() / total) if total else 0.0
    return {
        "family": family,
        "order": order,
        "window": list(window),
        "functions": functions,
        "power": np.round(shares, 5).tolist(),
        "mean_frequency": round(mean, 2),
    }


def _clean(runtime: Runtime, mask: str) -> tuple[np.ndarray, str]:
    """The clean mask to damage, bool, cropped, and what it is."""
    kind, _, name = mask.partition(":")
    name, _, number = name.partition(":")
    if kind in ("phantom", "phantom3d"):
        if number and not (number.isdigit() and int(number) < MOST_SEED):
            raise _no_mask()
        return _phantom(kind, name, int(number or 3)), f"phantom, {_words(name)}"
    if kind == "sample":
        return _sample(name, str(runtime.settings.home)), "true mask of a sample"
    if kind == "artifact":
        return _uploaded(str(runtime.artifacts.path(name))), "a mask of yours"
    raise _no_mask()


@lru_cache(maxsize=64)
def _phantom(kind: str, name: str, number: int) -> np.ndarray:
    from models.phantoms import curvilinear

    shape = (SIDE, SIDE) if kind == "phantom" else (SIDE_3D,) * 3
    try:
        return curvilinear.sample(name, shape, number)
    except ValueError:
        raise _no_mask() from None


@lru_cache(maxsize=8)
def _sample(sample_id: str, home: str) -> np.ndarray:
    import numpy as np

    from backend.media.images import read_image
    from backend.media.limits import Limits
    from backend.samples import sample_file
    from backend.services.topology.truth import sample_truth
    from backend.settings import get_settings

    del home  # another installation is another cache
    settings = get_settings()
    shape = read_image(sample_file(sample_id, settings), Limits.from_settings(settings)).shape[:2]
    truth = sample_truth(sample_id, shape, settings)
    if truth is None:
        raise _no_mask()
    return _crop(np.asarray(truth, bool))


@lru_cache(maxsize=16)
def _uploaded(path: str) -> np.ndarray:
    from pathlib import Path

    from backend.services.topology.training_masks import read_mask

    return _crop(read_mask(Path(path)))


def _crop(mask: np.ndarray) -> np.ndarray:
    """The window with the most foreground among half-overlapping ones, nearest to the middle where equal."""
    import numpy as np

    limit = SIDE if mask.ndim == 2 else SIDE_3D
    sides = [min(limit, side) for side in mask.shape]
    starts = [
        sorted({*range(0, full - side + 1, max(1, side // 2)), full - side}, key=lambda at: abs(at - (full - side) / 2))
        for full, side in zip(mask.shape, sides, strict=True)
    ]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, mask.ndim)
    windows = [tuple(slice(a, a + side) for a, side in zip(corner, sides, strict=True)) for corner in corners]
    counts = [int(np.count_nonzero(mask[window])) for window in windows]
    return np.ascontiguousarray(mask[windows[int(np.argmax(counts))]])


def _damaged(clean: np.ndarray, config: Any, seed: int) -> dict[str, Any]:
    import numpy as np

    from backend.services.topology.laboratory_draw import draw
    from models.metrics.betti import betti_numbers
    from models.metrics.matching import betti_matching_error
    from models.topology.changes import find_changes
    from models.topology.perturb import perturb

    began = time.perf_counter()
    found = perturb(clean, np.random.default_rng(seed), config)
    damaged = found.soft >= 0.5
    changes, labels = find_changes(clean, damaged)
    code_of = {style.change: number for number, style in enumerate(ERRORS, 1)}
    codes = np.zeros(int(labels.max()) + 1, np.uint8)
    counts = dict.fromkeys(code_of, 0)
    for change in changes:
        codes[change.label] = code_of[change.kind]
        counts[change.kind] += 1
    pictures, scale = draw(clean, found, codes[labels], config.recipe)
    ways = "8-connected, background 4-connected" if clean.ndim == 2 else "26-connected, background 6-connected"
    return {
        "shape": list(clean.shape),
        "pictures": [
            {"name": name, "title": title, "png": "data:image/png;base64," + base64.b64encode(png).decode()}
            for name, title, png in pictures
        ],
        "scale": scale,
        "deleted": round(found.deleted, 4),
        "added": round(found.added, 4),
        "window": _in_window(clean, found) if config.recipe == "polynomial" else None,
        "before": list(betti_numbers(clean)),
        "after": list(betti_numbers(damaged)),
        "matching": betti_matching_error(damaged, clean),
        "soft": bool(((found.soft > 0) & (found.soft < 1)).any()),
        "errors": [
            {**asdict(style), "count": counts[style.change]}
            for style in ERRORS
            if style.topological or counts[style.change]
        ],
        "connectivity": f"foreground {ways}",
        "seconds": round(time.perf_counter() - began, 3),
    }


def _in_window(clean: np.ndarray, found: Perturbation) -> float | None:
    """Share of the foreground deleted inside the window of the field, ``None`` where the field acted nowhere."""
    import numpy as np

    acted = np.argwhere(found.field < 1)
    if not len(acted):
        return None
    window = tuple(slice(low, high + 1) for low, high in zip(acted.min(0), acted.max(0), strict=True))
    inside = clean[window]
    return round(float(np.mean(found.soft[window][inside] < 0.5)), 4) if inside.any() else None


def _words(kind: str) -> str:
    return kind.replace("_", " ")


def _no_mask() -> UserError:
    return UserError("There is no such mask.", "", "Choose one from the list.")
