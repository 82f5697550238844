"""Disentangled anomaly generation (DAG): a shape, a foreign texture and an intensity bias, each with its own strength.

A network that undoes such corruptions restores what does not look healthy. Shape, texture and bias are drawn apart, so
that no strength tells of another; the severity is the larger of what texture and bias did. Source: arXiv 2407.06635.
Departures: small bright blobs of a few pixels join the shapes, as small lesions are otherwise never seen, and every
component can be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

SHAPES = ("box", "ball", "library", "blob")
LEVELS = 5
"""Grey levels that the bias tells apart."""


@dataclass(frozen=True)
class DagConfig:
    """What may be drawn. Lengths are in pixels, here of 1 mm.

    ``shapes``: which of :data:`SHAPES`, with equal odds (``library`` needs masks); ``sides``: of boxes and diameters of
    balls; ``blob``: diameters of small blobs; ``blur``: largest σ of the softened edge, ``blurred`` how often it is
    softened; ``texture`` and ``bias``: whether they are applied; ``strongest``: largest strength of either.
    """

    shapes: tuple[str, ...] = SHAPES
    sides: tuple[float, float] = (10.0, 44.0)
    blob: tuple[float, float] = (2.0, 6.0)
    blur: float = 5.0
    blurred: float = 0.7
    texture: bool = True
    bias: bool = True
    strongest: float = 1.0

    def __post_init__(self) -> None:
        if not self.shapes or not set(self.shapes) <= set(SHAPES):
            raise ValueError(f"shapes are some of {', '.join(SHAPES)}, not {self.shapes}")
        if not (0 < self.sides[0] <= self.sides[1] and 0 < self.blob[0] <= self.blob[1]):
            raise ValueError("sides and blobs go from a size above zero to one that is not smaller")
        if self.blur < 0 or not 0 <= self.blurred <= 1 or not 0 < self.strongest <= 1:
            raise ValueError("blur is not below zero, shares and strengths lie between 0 and 1")


@dataclass(frozen=True)
class Corrupted:
    """A corrupted slice. ``image`` and ``mask`` (soft, 0…1) float32 [H, W]; ``severity`` in 0…1, 0 for unchanged.

    ``texture`` and ``bias`` are the strengths behind it; the bias is signed, and is the change that it really made.
    """

    image: np.ndarray
    mask: np.ndarray
    severity: float
    texture: float
    bias: float
    shape: str


def corrupt(
    image: np.ndarray,
    foreground: np.ndarray,
    foreign: np.ndarray,
    rng: np.random.Generator,
    config: DagConfig | None = None,
    *,
    library: Sequence[np.ndarray] = (),
) -> Corrupted:
    """Corrupt ``image``, float [H, W] in 0…1, at a random place of its ``foreground``, bool [H, W].

    ``foreign``: another slice, float [H, W] in 0…1, from which texture is taken; ``library``: binary slices, bool, of
    any size, for the shape of that name. Nothing outside the foreground changes. Raises ``ValueError`` for unequal
    shapes, an empty foreground, or when nothing but an empty library could give a shape.
    """
    config = config or DagConfig()
    image, foreign = np.asarray(image, np.float32), np.asarray(foreign, np.float32)
    foreground = np.asarray(foreground, bool)
    if image.ndim != 2 or image.shape != foreground.shape or image.shape != foreign.shape:
        raise ValueError("image, foreground and foreign slice are two-dimensional and of one size")
    if not foreground.any():
        raise ValueError("there is no foreground to corrupt")
    shape, mask = draw_shape(foreground, rng, config, library)
    mask = soften(mask, rng, config) * foreground
    made, texture, bias = image, 0.0, 0.0
    if config.texture:
        texture = float(rng.uniform(0, config.strongest))
        made = blend_texture(made, foreign, mask, texture)
    if config.bias:
        made, bias = shift_intensity(made, mask, rng, config)
    return Corrupted(
        made, mask.astype(np.float32), max(texture if mask.any() else 0.0, abs(bias)), texture, bias, shape
    )


def draw_shape(
    foreground: np.ndarray, rng: np.random.Generator, config: DagConfig, library: Sequence[np.ndarray] = ()
) -> tuple[str, np.ndarray]:
    """One of the shapes around a random pixel of ``foreground``, bool [H, W]: its name, and itself as bool [H, W]."""
    names = [name for name in config.shapes if name != "library" or len(library)]
    if not names:
        raise ValueError("a library of shapes is asked for, and none is given")
    name = str(rng.choice(names))
    places = np.argwhere(foreground)
    centre = places[rng.integers(len(places))].astype(float)
    rows, columns = np.mgrid[: foreground.shape[0], : foreground.shape[1]]
    rows, columns = rows - centre[0], columns - centre[1]
    if name == "library":
        return name, _placed(library[int(rng.integers(len(library)))], foreground.shape, centre, rng, config)
    if name == "box":
        turn = rng.uniform(0, np.pi)
        along, across = rng.uniform(*config.sides, size=2) / 2
        u, v = np.cos(turn) * rows + np.sin(turn) * columns, np.cos(turn) * columns - np.sin(turn) * rows
        return name, (np.abs(u) <= along) & (np.abs(v) <= across)
    diameter = rng.uniform(*(config.sides if name == "ball" else config.blob))
    return name, np.hypot(rows, columns) <= max(diameter / 2, 0.5)


def soften(mask: np.ndarray, rng: np.random.Generator, config: DagConfig) -> np.ndarray:
    """``mask`` with a blurred edge most of the time, float32 [H, W] in 0…1; a small one is blurred by less."""
    soft = mask.astype(np.float32)
    if rng.random() >= config.blurred or config.blur == 0:
        return soft
    # A blob of three pixels blurred by five would be gone.
    largest = min(config.blur, 0.25 * np.sqrt(mask.sum()))
    return np.asarray(ndimage.gaussian_filter(soft, rng.uniform(0, largest)))


def blend_texture(image: np.ndarray, foreign: np.ndarray, mask: np.ndarray, strength: float) -> np.ndarray:
    """Foreign patch interpolation: ``image`` gives way to ``foreign`` where ``mask`` says, by ``strength`` in 0…1.

    The foreign patch is brought to the range that the host has inside the mask. All float [H, W].
    """
    inside = mask > 0
    if not inside.any():
        return image
    low, high = image[inside].min(), image[inside].max()
    patch = foreign[inside]
    spread = patch.max() - patch.min()
    matched = (foreign - patch.min()) / spread * (high - low) + low if spread > 0 else np.full_like(foreign, low)
    share = mask * strength
    return np.asarray(image * (1 - share) + np.clip(matched, low, high) * share, np.float32)


def shift_intensity(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator, config: DagConfig
) -> tuple[np.ndarray, float]:
    """Some of the grey levels inside ``mask`` become brighter or darker: the image, float32 [H, W], and by how much.

    A level is kept with a probability equal to its share in the mask, so that large tissues mostly change and small
    ones sometimes. The second value is the largest change that was made, signed, after clipping to 0…1.
    """
    inside = mask > 0.5 * mask.max() if mask.any() else mask > 0
    if not inside.any():
        return image, 0.0
    level = np.minimum((image * LEVELS).astype(int), LEVELS - 1)
    shares = np.bincount(level[inside], minlength=LEVELS) / inside.sum()
    kept = rng.random(LEVELS) < shares
    chosen = ndimage.gaussian_filter(kept[level].astype(np.float32), 1.0)
    strength = rng.uniform(0, config.strongest) * rng.choice([-1.0, 1.0])
    by_pixel = mask * chosen
    made = np.clip(image + strength * by_pixel, 0, 1).astype(np.float32)
    change = made - image
    return made, float(change.flat[np.abs(change).argmax()])


def _placed(
    part: np.ndarray, size: tuple[int, ...], centre: np.ndarray, rng: np.random.Generator, config: DagConfig
) -> np.ndarray:
    """A shape of the library, turned, brought to a random extent and put at ``centre``, bool [H, W]."""
    part = np.asarray(part, bool)
    extent = max(part.shape)
    scale = rng.uniform(*config.sides) / extent
    turn = rng.uniform(0, 2 * np.pi)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) / scale
    middle = (np.array(part.shape) - 1) / 2
    placed = ndimage.affine_transform(
        part.astype(np.float32), matrix, offset=middle - matrix @ centre, output_shape=size, order=1
    )
    return np.asarray(placed > 0.5)
