"""Scans that the anomaly benchmark looks at: patients of a folder, and slabs of phantoms with lesions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np

from backend.brain_atlas import brain_atlas
from backend.training.anomaly_slices import in_processes
from models.anomaly.preprocess import Grid, as_slices, resample, scaled, working_grid
from models.anomaly.register import register
from models.phantoms.brain import Atlas, Subject, lesions, slices, stripped, subject
from models.phantoms.brain.deformation import NODE_MM

SEQUENCES = {"flair": "FLAIR", "t2": "T2", "t1": "T1"}
"""Sequences and the names of their files."""
LESIONS = "lesions.nii.gz"
SLAB = 8
"""Neighbouring slices of a phantom that are looked at, about the middle of its lesions."""
SPREAD = 8
"""More slices of it that its greys are scaled by, as those of a whole scan are."""
TEMPLATE_MM = 2.0
POPULATION = 4_500_000
"""First seed of the healthy persons that the template is the mean of."""
FLOOR = 0.05
"""Added to the standard deviation of the template: noise of a scan, in grey values of 0…1."""


@dataclass(frozen=True, eq=False)
class Case:
    """One scan on its working grid, as axial slices [Z, X, Y].

    ``image`` float32 in 0…1; ``inside`` and ``lesions`` bool; ``grid``: of the volume [X, Y, Z]; ``to_atlas`` float64
    [4, 4]: mm of the scan → mm of the atlas, ``None`` without one.
    """

    image: np.ndarray
    inside: np.ndarray
    lesions: np.ndarray
    sequence: str
    grid: Grid
    to_atlas: np.ndarray | None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Edges of a voxel of the arrays."""
        x, y, z = self.grid.spacing_mm
        return z, x, y


@dataclass(frozen=True, eq=False)
class Template:
    """Mean and standard deviation of healthy phantoms, float32 [X, Y, Z] by sequence, in the space of the atlas."""

    mean: dict[str, np.ndarray]
    deviation: dict[str, np.ndarray]
    grid: Grid

    def deviations(self, case: Case, image: np.ndarray) -> np.ndarray:
        """How many standard deviations ``image``, float [Z, X, Y] of ``case``, lies from the mean, absolute."""
        if case.to_atlas is None:
            raise ValueError("the case does not lie in the atlas")
        placed = Grid(self.grid.shape, np.linalg.inv(case.to_atlas) @ self.grid.affine)
        mean, deviation = (
            as_slices(resample(maps[case.sequence], placed, case.grid)) for maps in (self.mean, self.deviation)
        )
        return np.where(case.inside, np.abs(image - mean) / (deviation + FLOOR), 0).astype(np.float32)


def patients(folder: Path) -> list[Path]:
    """Folders with a lesion mask below ``folder``, which is ``mri/<set>``."""
    return sorted(path.parent for path in folder.glob(f"*/{LESIONS}"))


def read_case(patient: Path, sequence: str, atlas: Atlas | None) -> Case:
    """A stripped scan of a patient, with all voxels above 0 as its brain, registered where an ``atlas`` is given."""
    scan = nib.Nifti1Image.from_filename(patient / f"{SEQUENCES[sequence]}.nii.gz")
    sought = nib.Nifti1Image.from_filename(patient / LESIONS)
    values, mask = np.asarray(scan.dataobj, np.float32), np.asarray(sought.dataobj) > 0
    x, y, z = values.shape
    source = Grid((x, y, z), np.asarray(scan.affine))
    grid = working_grid(source)
    image = np.maximum(resample(values, source, grid), 0)
    inside = resample(values > 0, source, grid) >= 0.5
    found = Grid((x, y, z), np.asarray(sought.affine))
    lesion = resample(mask, found, grid, nearest=True) > 0.5
    to_atlas = None
    if atlas is not None:
        to_atlas = register(image * inside, grid, atlas.t1, atlas.mask, Grid(atlas.shape, atlas.affine)).to_atlas
    return Case(as_slices(scaled(image, inside)), as_slices(inside), as_slices(lesion), sequence, grid, to_atlas)


def slabs(seed: int, families: Sequence[str], sequences: Sequence[str], atlas: Atlas) -> Iterator[tuple[str, Case]]:
    """Families of lesions in the phantom ``seed``, each with a slab through it in every sequence."""
    who = subject(atlas, seed)
    z = who.window[2]
    spread = np.linspace(z.start + 0.2 * (z.stop - z.start), z.stop - 0.1 * (z.stop - z.start), SPREAD).astype(int)
    for family in families:
        some = lesions(who, family, 1)
        area = np.zeros(who.shape[2])
        for lesion in some:
            area[lesion.origin[2] : lesion.origin[2] + lesion.truth.shape[2]] += lesion.truth.sum((0, 1))
        if not area.any():
            continue
        middle = int(np.searchsorted(np.cumsum(area), area.sum() / 2))
        first = int(np.clip(middle - SLAB // 2, z.start, z.stop - SLAB))
        positions = [*range(first, first + SLAB), *spread.tolist()]
        for sequence in sequences:
            made = slices(who, sequence=sequence, positions=positions, lesions=some)
            mask = np.moveaxis(stripped(np.moveaxis(made.tissues, 0, -1)), -1, 0)
            image = scaled(made.image, mask)[:SLAB]
            lift = np.eye(4)
            lift[2, 3] = first
            grid = Grid((*who.shape[:2], SLAB), atlas.affine @ lift)
            truth = (made.lesions & mask)[:SLAB]
            if truth.any():
                yield family, Case(image, mask[:SLAB], truth, sequence, grid, into_atlas(who))


def template(persons: int, *, workers: int | None = None) -> Template:
    """The template of so many healthy phantoms, each laid into the atlas by the affine map nearest to its own."""
    atlas = brain_atlas()
    grid = working_grid(Grid(atlas.shape, atlas.affine), TEMPLATE_MM)
    seeds = range(POPULATION, POPULATION + persons)
    drawn = list(in_processes(partial(laid, grid=grid), seeds, None, workers))
    stacks = {name: np.stack([one[index] for one in drawn]) for index, name in enumerate(SEQUENCES)}
    return Template(
        {name: stack.mean(0) for name, stack in stacks.items()},
        {name: stack.std(0) for name, stack in stacks.items()},
        grid,
    )


def laid(seed: int, grid: Grid, atlas: Atlas | None = None) -> list[np.ndarray]:
    """A healthy phantom in all :data:`SEQUENCES`, float32 [X, Y, Z] in 0…1 on ``grid`` in the space of the atlas."""
    atlas = atlas or brain_atlas()
    who = subject(atlas, seed)
    z = who.window[2]
    positions = list(range(z.start, z.stop, int(TEMPLATE_MM)))
    rise = np.diag([1, 1, TEMPLATE_MM, 1])
    rise[2, 3] = z.start
    source = Grid((*who.shape[:2], len(positions)), into_atlas(who) @ atlas.affine @ rise)
    found = []
    for sequence in SEQUENCES:
        made = slices(who, sequence=sequence, positions=positions)
        mask = np.moveaxis(stripped(np.moveaxis(made.tissues, 0, -1)), -1, 0)
        found.append(resample(np.moveaxis(scaled(made.image, mask), 0, -1), source, grid))
    return found


def into_atlas(who: Subject) -> np.ndarray:
    """The affine map, float64 [4, 4] from mm of a phantom to mm of its atlas, that is nearest to how it was bent."""
    target = who.mapped[0].numpy().reshape(3, -1).T.astype(np.float64)
    nodes = np.indices(who.mapped.shape[2:]).reshape(3, -1).T * float(NODE_MM)
    inside = np.all([(nodes[:, k] >= at.start) & (nodes[:, k] < at.stop) for k, at in enumerate(who.window)], axis=0)
    voxels = np.c_[nodes[inside], np.ones(int(inside.sum()))]
    fitted = np.eye(4)
    fitted[:3] = np.linalg.lstsq(voxels, target[inside], rcond=None)[0].T
    return np.asarray(who.atlas.affine @ fitted @ np.linalg.inv(who.atlas.affine))
