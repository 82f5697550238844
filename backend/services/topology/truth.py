"""The true masks of the samples that have one: for measuring only, never seen by the refiner."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from backend.settings import Settings


def sample_truth(sample_id: str, shape: tuple[int, ...], settings: Settings) -> np.ndarray | None:
    """Truth of a mask sample, bool [H, W] or [X, Y, Z] of ``shape``, or ``None`` where none is known.

    A phantom is drawn again from the seed in its id; a prediction of the data folder lies beside its truth.
    """
    import numpy as np

    from backend.errors import UserError
    from backend.samples import sample

    try:
        found = sample(sample_id, settings)
    except UserError:
        return None
    truth = None
    if found.phantom and found.kind == "mask":
        from models.phantoms import curvilinear

        _, family, seed = sample_id.split("-")
        truth = np.asarray(curvilinear.sample(family, (shape[0],) * len(shape), int(seed))) > 0
    elif found.path is not None and found.path.parent.name == "prediction":
        path = found.path.parent.parent / "truth" / found.path.name
        if path.is_file():
            from backend.media.images import read_image
            from backend.media.limits import Limits

            truth = read_image(path, Limits.from_settings(settings)) > 127
    return truth if truth is not None and truth.shape == shape else None
