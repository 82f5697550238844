"""What a phantom clip was drawn with. Nobody knows that of a real one."""

from __future__ import annotations

from backend.services.echo.requests import KnownTruth


def sample_truth(sample_id: str) -> KnownTruth | None:
    """EF and volumes of a phantom clip among the samples; ``None`` for every other sample and for ''."""
    from backend.drawn_samples import BEATING, BEATING_FPS, BEATING_FRAMES, BEATING_RATE
    from models.phantoms.echo import clip

    for seed, ef in BEATING:
        if sample_id == f"phantom-echo-{seed}-ef{ef}":
            drawn = clip(seed, ef=ef, heart_rate=BEATING_RATE, frames=BEATING_FRAMES, fps=BEATING_FPS)
            return KnownTruth(drawn.ef, tuple(float(volume) for volume in drawn.volumes_ml))
    return None
