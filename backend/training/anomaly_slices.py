"""Healthy axial slices, drawn once from brain phantoms on all cores and kept: what the anomaly networks learn from.

Slices are [H, W] with rows from left to right and columns from back to front, 1 mm, cut to the brain. As 8-bit grey: 0
outside the brain, 1…255 for 0…1 inside, which keeps image and mask in one array.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from models.phantoms.brain import Atlas, Subject

SIDES = (160, 192)
"""Rows and columns: no brain of a phantom or of MNI152 is larger."""
SEQUENCES = ("t1", "t2", "flair", "random")
"""Contrasts that are drawn; the network is told of the last that it is unknown."""
PATIENTS, HELD_OUT = 4_000_000, 5_000_000
"""First seeds of the persons to learn from and of those that are only measured on."""
THICK, THICKNESS_MM = 0.3, (2.0, 5.0)
"""Share of scans with thick slices, and how thick."""
TIGHT = 0.85
"""Share of scans with the tight mask that skull-stripping leaves."""
SHAPE_FAMILIES = ("multiple_sclerosis", "tumour", "infarct")
"""Lesions whose outlines (nothing else of them) corruptions may take."""
SHAPES_EVERY, SHAPE_SIDE, SMALLEST = 3, 64, 12
"""Every which person gives shapes; the sides of a kept one; the fewest pixels of one."""
LEAST_BRAIN = 600
"""Pixels of brain below which a slice is left out."""

Progress = Callable[[float, str], None]
T = TypeVar("T")
Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Plan:
    """What to draw: ``patients``, ``positions`` of each in all ``sequences``, with ``neighbours`` on both sides."""

    patients: int = 300
    positions: int = 15
    sequences: tuple[str, ...] = SEQUENCES
    neighbours: int = 0
    sides: tuple[int, int] = SIDES


@dataclass(frozen=True)
class Slices:
    """``images`` uint8 [N, 1 + 2·neighbours, H, W] (see above); ``sequence`` uint8 [N]: index as the network takes it.

    ``patient`` int32 [N], ascending; ``shapes`` bool [K, S, S]: outlines of lesions, each tight in a corner.
    """

    images: np.ndarray
    sequence: np.ndarray
    patient: np.ndarray
    shapes: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


Drawn = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Images and sequences of one person, and shapes."""


def draw_slices(
    path: Path,
    plan: Plan,
    *,
    atlas: Atlas | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Slices:
    """Slices of healthy phantoms, from ``path`` if the same were kept there, else drawn and kept.

    ``atlas``: another than that of the pack; then all is drawn in this process. ``workers``: processes that draw, one
    for each core without it; what they draw does not depend on their number. Raises ``UserError`` when the pack of the
    atlas is not installed.
    """
    key = key_of("healthy", plan, atlas)
    if (kept := load_kept(path, Slices, key)) is not None:
        return kept
    seeds = range(PATIENTS, PATIENTS + plan.patients)
    drawn: list[Drawn] = []
    for one in in_processes(partial(draw_person, plan=plan), seeds, atlas, workers):
        drawn.append(one)
        if progress:
            progress(len(drawn) / plan.patients, f"drew person {len(drawn)} of {plan.patients}")
    return save(path, key, gather(drawn))


def gather(drawn: Sequence[Drawn]) -> Slices:
    """Persons one by one as arrays of all."""
    images, sequence, shapes = zip(*drawn, strict=True)
    patient = np.repeat(np.arange(len(drawn), dtype=np.int32), [len(found) for found in images])
    return Slices(np.concatenate(images), np.concatenate(sequence), patient, np.concatenate(shapes))


def draw_person(seed: int, plan: Plan, atlas: Atlas | None = None) -> Drawn:
    """All slices of the person ``seed``, and the shapes of what might ail it."""
    from models.phantoms.brain import lesions, subject

    who = subject(atlas or _atlas(), seed)
    rng = np.random.default_rng([41, seed])
    images, numbers = [], []
    for sequence in plan.sequences:
        stacks = draw_scan(who, sequence, _positions(who, plan.positions, rng), plan, rng)
        images.append(stacks)
        numbers.append(np.full(len(stacks), number_of(sequence), np.uint8))
    shapes = []
    if seed % SHAPES_EVERY == 0:
        for family in SHAPE_FAMILIES:
            shapes += [outline(lesion.truth, rng) for lesion in lesions(who, family, 1)]
    return np.concatenate(images), np.concatenate(numbers), _stacked([shape for shape in shapes if shape is not None])


def draw_scan(
    who: Subject, sequence: str, positions: Sequence[int], plan: Plan, rng: np.random.Generator
) -> np.ndarray:
    """Slices of one scan about ``positions``, uint8 [N, 1 + 2·neighbours, H, W]; those with too little brain are left
    out."""  # fmt: skip
    from models.phantoms.brain import slices, stripped

    thickness = float(rng.uniform(*THICKNESS_MM)) if rng.random() < THICK else 1.0
    around = with_neighbours(positions, plan.neighbours, who.shape[2])
    made = slices(who, sequence=sequence, positions=around.ravel().tolist(), thickness_mm=thickness)
    mask = made.mask
    if rng.random() < TIGHT:
        mask = np.moveaxis(stripped(np.moveaxis(made.tissues, 0, -1), float(rng.uniform(2, 5))), -1, 0)
    return cut(made.image, mask, around.shape, plan.sides)[0]


def cut(
    image: np.ndarray, mask: np.ndarray, shape: tuple[int, ...], sides: tuple[int, int], *more: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Slices ``image`` float and ``mask`` bool [N·D, X, Y] as uint8 [N, D, *sides] about the brain, ``shape`` (N, D).

    Slices with little brain in the middle of their stack are left out. ``more`` arrays [N·D, X, Y] are cut alike.
    """
    from models.anomaly.preprocess import scaled

    if not mask.any():
        return tuple(np.zeros((0, shape[1], *sides), values.dtype) for values in (np.zeros(0, np.uint8), *more))
    values = np.where(mask, 1 + np.rint(254 * scaled(image, mask)), 0).astype(np.uint8)
    box = np.asarray(mask.any(0))
    whole = [centred(array, box, sides).reshape(*shape, *sides) for array in (values, *more)]
    enough = (whole[0][:, shape[1] // 2] > 0).sum((1, 2)) >= min(LEAST_BRAIN, sides[0] * sides[1] // 8)
    return tuple(array[enough] for array in whole)


def centred(array: np.ndarray, where: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """``array`` [..., X, Y] cut or filled with 0 to ``sides`` about the box of ``where`` bool [X, Y]."""
    made = np.zeros((*array.shape[:-2], *sides), array.dtype)
    source: list[slice] = []
    target: list[slice] = []
    for axis, side in enumerate(sides):
        inside = np.flatnonzero(where.any(1 - axis))
        start = (int(inside[0]) + int(inside[-1]) + 1 - side) // 2
        low, high = max(start, 0), min(start + side, where.shape[axis])
        source.append(slice(low, high))
        target.append(slice(low - start, high - start))
    made[..., target[0], target[1]] = array[..., source[0], source[1]]
    return made


def with_neighbours(positions: Sequence[int], neighbours: int, count: int) -> np.ndarray:
    """``positions`` and those around each, int [N, 1 + 2·neighbours], kept within 0…``count`` − 1."""
    return np.clip(np.asarray(positions, int)[:, None] + np.arange(-neighbours, neighbours + 1), 0, count - 1)


def outline(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """The largest slice of a lesion bool [x, y, z] across a random axis, bool [S, S]; ``None`` for a speck."""
    turned = np.moveaxis(truth, int(rng.integers(3)), 0)
    area = turned.sum((1, 2))
    flat = turned[int(area.argmax())]
    if area.max() < SMALLEST:
        return None
    rows, columns = np.flatnonzero(flat.any(1)), np.flatnonzero(flat.any(0))
    tight = flat[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    tight = tight[:: -(-tight.shape[0] // SHAPE_SIDE), :: -(-tight.shape[1] // SHAPE_SIDE)]
    made = np.zeros((SHAPE_SIDE, SHAPE_SIDE), bool)
    made[: tight.shape[0], : tight.shape[1]] = tight
    return made


def library_of(shapes: np.ndarray) -> list[np.ndarray]:
    """The kept shapes without what is empty around them."""
    return [
        shape[: int(shape.any(1).nonzero()[0][-1]) + 1, : int(shape.any(0).nonzero()[0][-1]) + 1] for shape in shapes
    ]


def number_of(sequence: str) -> int:
    """What the network is told of a sequence; one that it does not know is unknown."""
    from models.anomaly.network import SEQUENCES as KNOWN
    from models.anomaly.network import UNKNOWN

    return KNOWN.index(sequence) if sequence in KNOWN else UNKNOWN


def in_processes(draw: Callable[..., T], seeds: Iterable[int], atlas: Atlas | None, workers: int | None) -> Iterable[T]:
    """``draw(seed)`` of every seed, in order, on all cores; in this process with an ``atlas`` or one worker."""
    workers = workers or os.cpu_count() or 1
    if workers == 1 or atlas is not None:
        for seed in seeds:
            yield draw(seed, atlas=atlas)
        return
    _atlas()  # says that it is absent here, not in a process that dies of it
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        try:
            yield from pool.map(draw, seeds, chunksize=2)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def key_of(what: str, plan: object, atlas: Atlas | None) -> str:
    """What a kept file stands for."""
    from models.anomaly import preprocess

    scale = (preprocess.LOW, preprocess.HIGH, preprocess.TOP)
    return repr((what, asdict(plan), scale, None if atlas is None else atlas.shape))  # type: ignore[call-overload]


def load_kept(path: Path, kind: type[Kept], key: str) -> Kept | None:
    """What was kept at ``path``; ``None`` where there is nothing, or what another ``key`` stands for."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as kept:
        if str(kept["key"]) != key:
            return None
        return kind(**{field.name: kept[field.name] for field in fields(kind)})  # type: ignore[arg-type]


def save(path: Path, key: str, made: Kept) -> Kept:
    """Keep ``made``, a dataclass of arrays, at ``path``; nothing half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, key=key, **vars(made))
    part.replace(path)
    return made


def _positions(who: Subject, count: int, rng: np.random.Generator) -> list[int]:
    """One random voxel along z of each of ``count`` equal stretches of the brain."""
    z = who.window[2]
    edges = np.linspace(z.start, z.stop - 1, count + 1)
    return sorted({int(value) for value in rng.uniform(edges[:-1], edges[1:])})


def _stacked(shapes: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(shapes) if shapes else np.zeros((0, SHAPE_SIDE, SHAPE_SIDE), bool)


def _atlas() -> Atlas:
    from backend.brain_atlas import brain_atlas

    return brain_atlas()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
