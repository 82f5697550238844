"""Phantom masks to try a training with: drawn by a program, called phantoms everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backend.identity import Actor
from backend.provenance import Provenance

if TYPE_CHECKING:
    from backend.runtime import Runtime

SIDE, SIDE_3D = 256, 64  # pixels, voxels
FIRST_SEED = 40  # identities that no sample shows


def phantom_masks(runtime: Runtime, kind: str, count: int, *, actor: Actor) -> list[str]:
    """Store clean phantom masks, ``kind`` ``"phantom"`` (mortar) or ``"phantom3d"`` (vessels); returns their ids."""
    import numpy as np

    from backend.media.write_nifti import write_nifti
    from backend.media.write_png import write_png
    from models.phantoms import curvilinear

    stored = []
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        flat = kind == "phantom"
        family = "mortar" if flat else "vessels"
        mask = curvilinear.sample(family, SIDE if flat else (SIDE_3D,) * 3, seed)
        made = Provenance.now(
            system="topology", action="phantom", synthetic=True, seed=seed, request={"family": family, "seed": seed}
        )

        def write(path: Path, mask: np.ndarray = mask, made: Provenance = made) -> None:
            if mask.ndim == 2:
                write_png(path, mask, made)
            else:
                write_nifti(path, mask.astype(np.uint8), np.eye(4), made)

        stored.append(
            runtime.artifacts.add(
                write,
                name=f"phantom-{family}-{seed}{'.png' if flat else '.nii.gz'}",
                media_type="image/png" if flat else "application/x-nifti",
                kind="sample",
                synthetic=True,
                provenance=made,
                actor=actor,
                properties={"label": "phantom", "kind": "mask"},
            ).id
        )
    return stored
