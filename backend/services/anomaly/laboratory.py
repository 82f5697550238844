"""The corruptions that the network learns to undo, one at a time, on a slice of a healthy phantom brain.

Not a job: once the phantom is drawn (seconds, then kept in the home folder) a corruption takes milliseconds. The same
choices and seed give the same pictures. Nothing of it is stored.
"""

from __future__ import annotations

import base64
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import UserError
from backend.provenance import code_version

if TYPE_CHECKING:
    import numpy as np

    from backend.runtime import Runtime
    from backend.training.anomaly_slices import Slices

PERSON = 4_000_002
"""One of the phantoms that training draws; its slices are what is corrupted here."""
POSITIONS = 6
SEQUENCES = ("flair", "t1", "t2")
SHAPES = ("box", "ball", "library", "blob")
MOST_SEED = 2**31
_drawing = threading.Lock()
_kept: dict[str, Slices] = {}


def corruption(
    runtime: Runtime,
    *,
    sequence: str = "flair",
    position: int = 0,
    shapes: tuple[str, ...] = SHAPES,
    texture: bool = True,
    bias: bool = True,
    blur: bool = True,
    strongest: float = 1.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Pictures (PNG as data addresses) and numbers of one corruption, plain JSON values.

    ``shapes``, ``texture``, ``bias``, ``blur`` and ``strongest``: see :class:`models.anomaly.corruption.DagConfig`.
    Raises ``UserError`` for choices that cannot be used, or where the pack of the template is not installed.
    """
    import numpy as np

    from backend.services.anomaly import draw
    from models.anomaly.corruption import DagConfig, corrupt
    from models.anomaly.degree import severity_of, step_of

    if sequence not in SEQUENCES or not 0 <= seed < MOST_SEED or not 0 < strongest <= 1:
        raise UserError(
            "This corruption cannot be drawn.",
            "The sequence is FLAIR, T1 or T2, the strength above 0 and at most 1, the seed not negative.",
            "Choose others.",
        )
    if not shapes or not set(shapes) <= set(SHAPES):
        raise UserError("No shape is chosen.", "A corruption needs a shape to lie in.", "Choose at least one.")
    if not texture and not bias:
        raise UserError("Nothing would be changed.", "Texture and intensity are both off.", "Switch one of them on.")
    slices = _slices(runtime, sequence)
    index = min(max(position, 0), len(slices) - 1)
    pixels = slices.images[:, 0]
    greys = np.where(pixels > 0, (pixels.astype(np.float32) - 1) / 254, 0)
    from backend.training.anomaly_slices import library_of

    config = DagConfig(shapes=shapes, texture=texture, bias=bias, blurred=0.7 if blur else 0.0, strongest=strongest)
    made = corrupt(
        greys[index],
        pixels[index] > 0,
        greys[(index + len(slices) // 2) % len(slices)],
        np.random.default_rng([47, seed]),
        config,
        library=library_of(slices.shapes),
    )
    step = int(step_of(min(made.severity, 1.0)))
    change = np.abs(made.image - greys[index])
    pictures = [
        ("clean", "Healthy slice of a phantom: the answer", draw.grey(greys[index])),
        ("corrupted", "Corrupted: what the network is given", draw.grey(made.image)),
        ("mask", "Where: the soft mask", draw.grey(made.mask)),
        ("change", "What changed: |corrupted − healthy|", draw.heated(change, max(float(change.max()), 0.05))),
    ]
    return {
        "pictures": [{"name": name, "title": title, "png": _address(picture)} for name, title, picture in pictures],
        "positions": len(slices),
        "shape": made.shape,
        "texture": round(made.texture, 4),
        "bias": round(made.bias, 4),
        "severity": round(made.severity, 4),
        "step": step,
        "told": round(float(severity_of(step)), 4),
        "largest_change": round(float(change.max()), 4),
        "pixels": int((made.mask > 0.5).sum()),
        "seed": seed,
    }


def kept_at(home: Path, sequence: str) -> Path:
    """Where the slices of the phantom are kept: by version, as a newer program may draw them otherwise."""
    return home / "cache" / "anomaly" / f"corruption-{sequence}-{code_version()}.npz"


def _slices(runtime: Runtime, sequence: str) -> Slices:
    """The slices of the phantom in one sequence, drawn when first asked for."""
    from backend.training.anomaly_slices import Plan, Slices, draw_person, gather, key_of, load_kept, save

    with _drawing:
        name = f"{runtime.settings.home} {sequence}"
        if name not in _kept:
            plan, path = Plan(1, POSITIONS, (sequence,)), kept_at(runtime.settings.home, sequence)
            key = key_of("corruption", plan, None)
            found = load_kept(path, Slices, key)
            _kept[name] = found or save(path, key, gather([draw_person(PERSON, plan)]))
        return _kept[name]


def _address(picture: np.ndarray) -> str:
    from backend.services.anomaly.draw import png_bytes

    return f"data:image/png;base64,{base64.b64encode(png_bytes(picture)).decode()}"
