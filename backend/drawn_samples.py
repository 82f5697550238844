"""Samples that a program draws when they are first asked for: phantom masks, volumes and clips with a known truth."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backend.provenance import Provenance

if TYPE_CHECKING:
    import numpy as np

FLAT_SIZE = 384
FLAT = (("vessels", 3), ("membranes", 5), ("mortar", 7), ("roads", 11))
SOLID_SIZE = 96
SOLID_SPACING_MM = 0.5
SOLID = (("vessels", 1, "mask"), ("capillaries", 2, "probability"))
BEATING = ((47, 25), (34, 45), (6, 65))  # patient, ejection fraction in percent
BRAINS = ((41, "flair", "multiple_sclerosis", False), (42, "t1", "tumour", True))
"""Patient, sequence, family of lesions, and whether the head is around the brain."""
BEATING_FRAMES, BEATING_FPS, BEATING_RATE = 64, 32, 68


def suffix_of(sample_id: str) -> str:
    """What kind of file :func:`draw` writes for the phantom of that id."""
    if sample_id.startswith(("phantom3d-", "phantom-brain-")):
        return ".nii.gz"
    return ".mp4" if sample_id.startswith("phantom-echo-") else ".png"


def draw(sample_id: str, target: Path) -> None:
    """Draw the phantom of that id to ``target``, whole or not at all."""
    suffix = suffix_of(sample_id)
    if sample_id.startswith("phantom-brain-"):
        drawn, _, affine = draw_brain(sample_id)
        _write_nifti(target, drawn, affine)
    elif suffix == ".nii.gz":
        _write_nifti(target, _draw_solid(sample_id), None)
    elif suffix == ".mp4":
        _write_beating(target, sample_id)
    else:
        write_png(target, _draw_phantom(sample_id))


def _draw_phantom(sample_id: str) -> np.ndarray:
    """Damaged phantom mask, uint8 [H, W], 0 or 255; its truth is the phantom of the same family and seed."""
    import numpy as np

    from models.phantoms import curvilinear, segmenter

    _, family, seed = sample_id.split("-")
    truth = curvilinear.sample(family, FLAT_SIZE, int(seed))
    damaged = segmenter.simulate(truth, int(seed), difficulty=0.8)
    return np.where(damaged > 0.5, 255, 0).astype(np.uint8)


def _draw_solid(sample_id: str) -> np.ndarray:
    """Damaged phantom volume [X, Y, Z]: uint8 mask of 0 and 1, or float32 probability in steps of 1/255."""
    import numpy as np

    from models.phantoms import curvilinear, segmenter

    _, family, seed = sample_id.split("-")
    truth = curvilinear.sample(family, (SOLID_SIZE,) * 3, int(seed))
    damaged = segmenter.simulate(truth, int(seed), difficulty=0.8)
    if (family, int(seed), "mask") in SOLID:
        return (damaged > 0.5).astype(np.uint8)
    return np.rint(damaged * 255).astype(np.float32) / np.float32(255)


def write_png(target: Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels [H, W] or [H, W, 3], whole or not at all."""
    from PIL import Image

    with _complete(target, ".png") as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")


def draw_brain(sample_id: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phantom brain int16 [X, Y, Z], its lesions bool [X, Y, Z], and the affine, voxel to mm of the atlas.

    Raises ``UserError`` when the pack with the atlas is not installed.
    """
    import numpy as np

    from backend.brain_atlas import brain_atlas
    from models.phantoms.brain import lesions, stripped, subject, volume

    found = next(brain for brain in BRAINS if sample_id == brain_id(brain[0], brain[1]))
    seed, sequence, family, head = found
    who = subject(brain_atlas(), seed)
    made = volume(who, sequence=sequence, lesions=lesions(who, family, seed), head=head)
    image = made.image if head else np.where(stripped(made.tissues), made.image, 0)
    scale = 1000 / max(float(np.percentile(image[made.mask], 99)), 1e-6)
    return np.rint(image * scale).astype(np.int16), made.lesions, made.affine


def brain_id(seed: int, sequence: str) -> str:
    """The id of a phantom brain."""
    return f"phantom-brain-{seed}-{sequence}"


def _write_nifti(target: Path, voxels: np.ndarray, affine: np.ndarray | None) -> None:
    import gzip

    import nibabel
    import numpy as np

    image = nibabel.Nifti1Image(voxels, np.diag([SOLID_SPACING_MM] * 3 + [1.0]) if affine is None else affine)
    image.header.set_xyzt_units("mm")
    with _complete(target, ".nii.gz") as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def _write_beating(target: Path, sample_id: str) -> None:
    from backend.media.write_mp4 import write_mp4
    from models.phantoms.echo import clip

    seed, ef = next(pair for pair in BEATING if sample_id == f"phantom-echo-{pair[0]}-ef{pair[1]}")
    drawn = clip(seed, ef=ef, heart_rate=BEATING_RATE, frames=BEATING_FRAMES, fps=BEATING_FPS)
    request = {"sample": sample_id, "ef": ef, "heart_rate": BEATING_RATE}
    provenance = Provenance.now(system="samples", action="draw", synthetic=True, seed=seed, request=request)
    with _complete(target, ".mp4") as temporary:
        write_mp4(temporary, drawn.frames, BEATING_FPS, provenance)


@contextmanager
def _complete(target: Path, suffix: str) -> Iterator[Path]:
    """A temporary file beside ``target`` that takes its place once the block is done, and is gone if it fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=suffix)
    os.close(handle)
    try:
        yield Path(name)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
