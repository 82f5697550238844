"""Curvilinear phantoms: binary masks of vessel trees, membranes, mortar and road nets with exactly known topology.

A phantom is made, not measured: it has the shape of such structures and none of any patient's anatomy. One ``seed`` is
one patient (wall, cell sheet, town): widths, density and bending are fixed by it, and each ``view`` lays them out anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, cKDTree

from models.metrics.betti import dual, label
from models.phantoms.fields import coordinates, draw_tubes, smooth_field
from models.phantoms.vessels import draw_tree, vessel_tree

Mask = NDArray[np.bool_]
Field = NDArray[np.float32]


@dataclass(frozen=True)
class Patient:
    """What stays the same in all views of one patient. Lengths are in elements, the angle in radians."""

    width: float
    """Typical diameter or thickness of the structure."""
    spacing: float
    """Typical distance between neighbouring structures."""
    roughness: float
    """Standard deviation of the edge's position."""
    grain: float
    """Size of the edge's bumps."""
    bend: float
    """Standard deviation of the smooth displacement of everything."""
    angle: float
    irregular: float
    """0 regular … 1 as random as the kind allows."""


def patient(seed: int, size: int, ndim: int = 2) -> Patient:
    """The patient behind ``seed``, for pictures about ``size`` elements wide."""
    rng = np.random.default_rng([seed, 1])
    # Widths and spacings are log-uniform: what matters to a repair is their ratio, not their value.
    width = float(np.exp(rng.uniform(np.log(2.2), np.log(11.0)))) if ndim == 2 else float(rng.uniform(2.5, 5.0))
    ratio = float(np.exp(rng.uniform(np.log(2.5), np.log(8.0))))
    spacing = float(np.clip(width * ratio, 11.0, size / 3))
    return Patient(
        width=min(width, spacing / 2.2),
        spacing=spacing,
        roughness=float(rng.uniform(0.0, 0.16)) * width,
        grain=float(rng.uniform(1.5, 6.0)),
        bend=float(rng.uniform(0.0, 0.12)) * spacing,
        angle=float(rng.uniform(-np.pi, np.pi)),
        irregular=float(rng.random()),
    )


def sample(kind: str, size: int | tuple[int, ...], seed: int, *, view: int = 0) -> Mask:
    """One phantom mask: bool, [size, size] for an int, else of that 2D or 3D shape.

    ``kind``: a key of :data:`KINDS`; ``seed``: the patient; ``view``: which of the patient's samples. The same
    arguments give the same mask. Raises ``ValueError`` on an unknown kind.
    """
    if kind not in KINDS:
        raise ValueError(f"there is no phantom called {kind!r}; there are {', '.join(KINDS)}")
    shape = (size, size) if isinstance(size, int) else tuple(size)
    if len(shape) not in (2, 3) or min(shape) < 16:
        raise ValueError("a phantom has 2 or 3 axes of at least 16 elements")
    who = patient(seed, min(shape), len(shape))
    rng = np.random.default_rng([seed, 2, view, list(KINDS).index(kind)])
    signed = KINDS[kind](shape, who, rng)
    if who.roughness > 0.1:
        signed = signed + who.roughness * smooth_field(shape, who.grain, rng)
    mask = tidy(signed < 0, smallest=max(4.0, (0.6 * who.width) ** len(shape)))
    return largest(mask) if kind == "vessels" else mask


def vessels(shape: tuple[int, ...], who: Patient, rng: np.random.Generator) -> Field:
    """Signed distance to a vessel tree (negative inside); the tips are as wide as the patient's width is at least."""
    spacing = float(np.clip(0.8 * who.spacing, min(shape) / 15, min(shape) / 5))
    tree = vessel_tree(shape, rng, width=float(np.clip(0.18 * spacing, 1.8, who.width)), density=min(shape) / spacing)
    return draw_tree(shape, tree)


def membranes(shape: tuple[int, ...], who: Patient, rng: np.random.Generator) -> Field:
    """Signed distance to the walls between Voronoi cells of jittered seeds."""
    margin = 2 * who.spacing
    jitter = 0.25 + 0.35 * who.irregular
    lines = [np.arange(-margin, n + margin, who.spacing) for n in shape]
    seeds = np.stack(np.meshgrid(*lines, indexing="ij"), -1)
    # Every other row moves half a step, or regular sheets would be chessboards instead of honeycombs.
    seeds[1::2, ..., 1] += who.spacing / 2
    seeds = seeds.reshape(-1, len(shape))
    seeds = seeds + rng.standard_normal(seeds.shape) * jitter * who.spacing * 0.5
    where = np.stack(np.broadcast_arrays(*_bent(shape, who, rng)), -1)
    distance, nearest = cKDTree(seeds).query(where, k=2)
    apart = np.linalg.norm(seeds[nearest[..., 0]] - seeds[nearest[..., 1]], axis=-1)
    to_wall = (distance[..., 1] ** 2 - distance[..., 0] ** 2) / (2 * np.maximum(apart, 1e-6))
    return (to_wall - _varied(shape, who, rng) / 2).astype(np.float32)


def mortar(shape: tuple[int, ...], who: Patient, rng: np.random.Generator) -> Field:
    """Signed distance to the joints of a wall of bricks in courses; in 3D a wall several bricks thick."""
    ndim = len(shape)
    course = who.spacing + who.width
    aspect = float(rng.uniform(1.0, 4.5))
    where = _bent(shape, who, rng, wobble=0.35)
    centre = [n / 2 for n in shape]
    turn = who.angle if rng.random() < 0.3 else float(rng.normal(0, 0.06))
    y, x = where[-2] - centre[-2], where[-1] - centre[-1]
    v, u = np.cos(turn) * y - np.sin(turn) * x, np.sin(turn) * y + np.cos(turn) * x
    if rng.random() < 0.3:
        # A wall seen at an angle: courses get narrower towards one side.
        tilt = 1 + float(rng.uniform(-0.35, 0.35)) * u / max(shape)
        v, u = v * tilt, u * tilt
    reach = int(2 * sum(shape) / course) + 12
    heights = _joints(reach, course, 0.25 * who.irregular, rng)
    row, low, high = _between(heights, v)
    depth = np.full_like(v, np.inf)
    np.minimum(v - low, high - v, out=depth)
    bond = float(rng.choice([0.5, 0.5, 1 / 3, 0.0])) if who.irregular < 0.8 else None
    length = course * aspect
    columns = int(2 * sum(shape) / length) + 12
    if ndim == 3:
        layers = _joints(reach, course * float(rng.uniform(1.0, 2.0)), 0.2 * who.irregular, rng)
        w = where[0] - centre[0]
        layer, near, far = _between(layers, w)
        depth = np.minimum(depth, np.minimum(w - near, far - w))
        row = row + layer
    across = np.empty_like(depth)
    row = np.broadcast_to(row, depth.shape)
    u = np.broadcast_to(u, depth.shape)
    for number in np.unique(row):
        shift = rng.random() if bond is None else (bond * number) % 1.0
        joints = _joints(columns, length, 0.2 * who.irregular, rng) + shift * length
        inside = row == number
        _, left, right = _between(joints, u[inside])
        across[inside] = np.minimum(u[inside] - left, right - u[inside])
    half = _varied(shape, who, rng) / 2
    # Rounded corners: bricks are not razors, and a rough edge then keeps its distance at a corner too.
    corner = float(rng.uniform(0.0, 0.35)) * who.spacing / 2
    a, b = half + corner - depth, half + corner - across
    outside = np.where((a > 0) & (b > 0), np.hypot(a, b), np.maximum(a, b))
    return (corner - outside).astype(np.float32)


def roads(shape: tuple[int, ...], who: Patient, rng: np.random.Generator) -> Field:
    """Signed distance to a net of roads (in 3D, struts): a Gabriel graph with some edges closed, in three widths."""
    spacing = 1.6 * who.spacing
    margin = 1.5 * spacing
    lines = [np.arange(-margin, n + margin, spacing) for n in shape]
    nodes = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, len(shape))
    nodes = nodes + rng.standard_normal(nodes.shape) * spacing * (0.12 + 0.3 * who.irregular)
    edges = _gabriel(nodes)
    edges = edges[rng.random(len(edges)) > rng.uniform(0.05, 0.3)]
    rank = rng.choice([0.6, 0.8, 1.15], size=len(edges), p=[0.45, 0.4, 0.15])
    starts, ends, radii = [], [], []
    for (i, j), scale in zip(edges, rank, strict=True):
        a, b = nodes[i], nodes[j]
        middle = (a + b) / 2 + rng.standard_normal(len(shape)) * 0.1 * np.linalg.norm(b - a) * who.irregular
        radius = max(1.0, scale * who.width / 2)
        starts += [a, middle]
        ends += [middle, b]
        radii += [radius, radius]
    return draw_tubes(shape, np.array(starts), np.array(ends), np.array(radii), np.array(radii))


KINDS: dict[str, Callable[[tuple[int, ...], Patient, np.random.Generator], Field]] = {
    "vessels": vessels,
    "membranes": membranes,
    "mortar": mortar,
    "roads": roads,
}


def tidy(mask: Mask, smallest: float) -> Mask:
    """``mask`` (full connectivity) without holes and islands of fewer than ``smallest`` elements.

    A truth with single-pixel holes would teach and reward the wrong thing.
    """
    labels, count = label(mask, "full")
    mask = (np.bincount(labels.ravel(), minlength=count + 1) >= smallest)[labels] & mask
    labels, count = label(~mask, dual("full"))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    small = sizes < smallest
    small[0] = False
    return mask | small[labels]


def largest(mask: Mask) -> Mask:
    """The largest component of ``mask`` (full connectivity), or ``mask`` itself when it is empty."""
    labels, count = label(mask, "full")
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return labels == int(sizes.argmax())


def _bent(shape: tuple[int, ...], who: Patient, rng: np.random.Generator, wobble: float = 1.0) -> list[Field]:
    """Coordinates with a smooth displacement, one full array an axis."""
    scale = 1.5 * who.spacing
    bend = wobble * who.bend
    return [np.broadcast_to(c, shape) + bend * smooth_field(shape, scale, rng) for c in coordinates(shape)]


def _varied(shape: tuple[int, ...], who: Patient, rng: np.random.Generator) -> Field:
    """Local thickness: the patient's width, slowly varying by up to about a third."""
    return who.width * np.exp(0.18 * smooth_field(shape, 1.2 * who.spacing, rng)).astype(np.float32)


def _joints(count: int, pitch: float, jitter: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """``count`` increasing positions about ``pitch`` apart, centred on 0."""
    gaps = pitch * np.clip(1 + jitter * rng.standard_normal(count), 0.5, 1.8)
    positions = np.cumsum(gaps)
    return positions - positions.mean()


def _between(joints: NDArray[np.float64], x: Field) -> tuple[NDArray[np.int64], Field, Field]:
    """Index of the interval every ``x`` lies in, and the interval's two ends."""
    index = np.clip(np.searchsorted(joints, x), 1, len(joints) - 1)
    ends = joints.astype(np.float32)
    return index, ends[index - 1], ends[index]


def _gabriel(nodes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Edges [m, 2] of the Gabriel graph: pairs whose diametral ball holds no third node."""
    triangles = Delaunay(nodes).simplices
    corners = range(triangles.shape[1])
    pairs = np.concatenate([triangles[:, [i, j]] for i in corners for j in corners if i < j])
    pairs = np.unique(np.sort(pairs, 1), axis=0)
    middle = (nodes[pairs[:, 0]] + nodes[pairs[:, 1]]) / 2
    radius = np.linalg.norm(nodes[pairs[:, 0]] - nodes[pairs[:, 1]], axis=1) / 2
    nearest = cKDTree(nodes).query(middle)[0]
    return pairs[nearest > radius * (1 - 1e-6)]
