"""Curvilinear phantoms: vessel trees, membranes, mortar and road nets, in two and three dimensions.

A phantom is a mask with known topology, not an image of a patient. The same seed is the same "patient": ``variant``
gives further samples of it that differ by a smooth deformation and calibre, as repeated scans would.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import Delaunay, Voronoi, cKDTree
from skimage.morphology import skeletonize

from models.metrics.betti import label
from models.phantoms.fields import draw_segments, smooth_field, warp

MURRAY_EXPONENT = 3.0  # Murray's law: r_parent³ = Σ r_child³
PINHOLE = 4  # pixels: the largest hole that is put down to drawing on a grid

Segments = tuple[np.ndarray, np.ndarray, np.ndarray]  # starts (N, d), ends (N, d), radii (N,)


def sample(kind: str, size: int | Sequence[int], seed: int, *, variant: int = 0) -> np.ndarray:
    """One phantom mask, bool, of shape ``size`` (one number: a square).

    ``kind``: a name in :data:`KINDS` for two dimensions or :data:`KINDS_3D` for three. ``seed`` ≥ 0 is the identity,
    ``variant`` ≥ 0 the repeat. Holes are larger than :data:`PINHOLE`. Raises ``ValueError`` on an unknown kind or a
    side under 16 pixels.
    """
    shape = (size, size) if isinstance(size, int) else tuple(size)
    table = KINDS if len(shape) == 2 else KINDS_3D
    if kind not in table or len(shape) not in (2, 3):
        raise ValueError(f"no {len(shape)}D phantom is called {kind!r}; there are {', '.join(table)}")
    if min(shape) < 16:
        raise ValueError("a phantom needs at least 16 pixels a side")
    rng = np.random.default_rng([seed, len(kind), sum(kind.encode())])
    starts, ends, radii = table[kind](shape, rng)
    if variant:
        again = np.random.default_rng([seed, variant])
        points = warp(np.concatenate([starts, ends]), shape, 0.01 * min(shape), 0.15 * min(shape), again)
        starts, ends = points[: len(starts)], points[len(starts) :]
        radii = radii * again.uniform(0.9, 1.1)
    return _without_pinholes(draw_segments(shape, starts, ends, radii))


def _without_pinholes(mask: np.ndarray, largest: float = PINHOLE) -> np.ndarray:
    """Fill holes (4-connected; in 3D cavities, 6-connected) of a few pixels.

    Lines that part at an acute angle leave some free when drawn on a grid: a quarter of the holes of a road net. A
    truth with them would teach that the very errors to be mended are right.
    """
    labels, count = label(~np.pad(mask, 1), "face")
    small = np.bincount(labels.ravel(), minlength=count + 1) <= largest
    small[0] = False
    return mask | small[labels[(slice(1, -1),) * mask.ndim]]


def weathered(mask: np.ndarray, seed: int) -> np.ndarray:
    """A phantom mask of another calibre with an uneven edge, bool of its shape: real edges are never drawn curves.

    The edge moves by up to .6 half-widths of the structure outwards (at most a quarter of the gaps') or .35 inwards, by
    slow noise that makes some places stout and others slender (deviation up to half a half-width), and by fine noise
    (up to a fifth, in bumps of 1.5 to 6 pixels). The middle of the structure stays, so that nothing breaks; small
    pieces and holes that come off go; a narrow gap may close.
    """
    if not mask.any() or mask.all():
        return mask.copy()
    rng = np.random.default_rng([seed, 9])
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    # Twice the mean distance to the edge: exact for a strip, where it is uniform from 0 to the half-width.
    half_width, half_gap = 2 * float(inside[mask].mean()), 2 * float(outside[~mask].mean())
    calibre = rng.uniform(-0.35 * half_width, min(0.6 * half_width, half_gap / 4))
    slow = smooth_field(mask.shape, max(2.0, half_width * rng.uniform(1.0, 4.0)), rng)
    fine = smooth_field(mask.shape, rng.uniform(1.5, 6.0), rng)
    shift = calibre + half_width * (rng.uniform(0, 0.5) * slow + rng.uniform(0, 0.2) * fine)
    # The edge lies half way between two pixels, so that no shift changes nothing.
    moved = np.where(mask, inside - 0.5, 0.5 - outside) + shift > 0
    moved |= mask & ndimage.binary_dilation(skeletonize(mask), np.ones((3,) * mask.ndim))
    smallest = max(float(PINHOLE), half_width**2)
    labels, count = label(moved, "full")
    moved &= (np.bincount(labels.ravel(), minlength=count + 1) > smallest)[labels]
    return _without_pinholes(moved, smallest)


def vessels(shape: Sequence[int], rng: np.random.Generator) -> Segments:
    """A vessel tree by space colonisation (Runions et al. 2007) with radii by Murray's law.

    Nodes grow towards free attraction points; every branch point fulfils r³ = Σ rₖ³.
    """
    nodes, parents, radii = vessel_tree(shape, rng)
    child = np.flatnonzero(parents >= 0)
    return nodes[parents[child]], nodes[child], radii[child]


def vessel_tree(shape: Sequence[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes (N, d) in pixels, parent index (N,) with −1 at the root, radius (N,) in pixels of the branch to it."""
    size = np.array(shape, float)
    side = float(size.min())
    step = max(2.0, side * rng.uniform(0.012, 0.02))
    count = int(rng.integers(60, 160))
    free = rng.uniform(0.03, 0.97, (count, len(shape))) * size
    root = rng.uniform(0.1, 0.9, len(shape)) * size
    root[int(rng.integers(len(shape)))] = 0.0
    nodes, parents = [root], [-1]
    for _ in range(int(6 * side / step)):
        if not len(free):
            break
        tree = cKDTree(np.array(nodes))
        distance, nearest = tree.query(free)
        keep = distance > 1.5 * step
        free, nearest = free[keep], nearest[keep]
        grown = False
        for index in np.unique(nearest):
            towards = free[nearest == index] - nodes[index]
            towards /= np.linalg.norm(towards, axis=1, keepdims=True)
            direction = towards.mean(0) + 0.15 * rng.standard_normal(len(shape))
            new = nodes[index] + step * direction / max(float(np.linalg.norm(direction)), 1e-6)
            if tree.query(new)[0] > 0.6 * step:
                nodes.append(new)
                parents.append(int(index))
                grown = True
        if not grown:
            # The attractors' pulls cancel: send one node straight to its own attractor.
            index = int(nearest[0]) if len(nearest) else 0
            if not len(free):
                break
            towards = free[0] - nodes[index]
            nodes.append(nodes[index] + step * towards / np.linalg.norm(towards))
            parents.append(index)
    parent = np.array(parents)
    cubed = np.zeros(len(parent))
    leaf = np.ones(len(parent), bool)
    leaf[parent[1:]] = False
    cubed[leaf] = 1.0
    for index in range(len(parent) - 1, 0, -1):  # children come after their parents
        cubed[parent[index]] += cubed[index]
    radii = cubed ** (1.0 / MURRAY_EXPONENT)
    # A volume has an order of magnitude fewer elements a side: the same share would be thinner than one of them.
    finest = side * (rng.uniform(0.003, 0.008) if len(shape) == 2 else rng.uniform(0.018, 0.032))
    return np.array(nodes), parent, np.maximum(finest, 1.0) * radii


def crossing_vessels(shape: Sequence[int], rng: np.random.Generator) -> Segments:
    """Two trees seen in projection, as arteries and veins of a fundus: crossings close loops."""
    return _joined(vessels(shape, rng), vessels(shape, rng))


def membranes(shape: Sequence[int], rng: np.random.Generator) -> Segments:
    """Walls between Voronoi cells of jittered points, as cell membranes in electron microscopy."""
    side = min(shape)
    cell = max(12.0, side * np.exp(rng.uniform(np.log(0.06), np.log(0.3))))
    points = _jittered(shape, cell, rng, jitter=0.35)
    radius = cell * np.exp(rng.uniform(np.log(0.03), np.log(0.14)))
    return _ridges(shape, points, radius, rng, wobble=0.1 * cell, scale=0.5 * cell)


def mortar(shape: Sequence[int], rng: np.random.Generator) -> Segments:
    """The joints of a brick wall: rows of bricks with shifted seams, turned, bent and uneven."""
    side = min(shape)
    height = max(12.0, side * np.exp(rng.uniform(np.log(0.04), np.log(0.18))))
    length = height * rng.uniform(1.2, 4.5)
    reach = 1.6 * max(shape)
    radius = height * np.exp(rng.uniform(np.log(0.05), np.log(0.18)))
    shift = rng.uniform(0.3, 0.7)
    starts, ends = [], []
    y, row = -reach / 2, 0
    while y < reach / 2:
        tall = height * rng.uniform(0.9, 1.1)
        x = -reach / 2 + (row % 2) * shift * length
        while x < reach / 2:
            wide = length * rng.uniform(0.75, 1.25)
            starts += [(y, x), (y, x)]
            ends += [(y, x + wide), (y + tall, x)]
            x += wide
        y += tall
        row += 1
    # Photographs of walls are mostly level; the rest are turned by any angle.
    angle = rng.normal(0.0, 0.1) if rng.random() < 0.6 else rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array(shape) / 2
    starts, ends = np.array(starts) @ turn.T + centre, np.array(ends) @ turn.T + centre
    return _bent(shape, starts, ends, radius, rng, wobble=rng.uniform(0.02, 0.12) * height, scale=height)


def roads(shape: Sequence[int], rng: np.random.Generator) -> Segments:
    """A net of roads: a random subset of Delaunay edges that keeps most junctions, with dead ends and few widths."""
    side = min(shape)
    spacing = max(12.0, side * np.exp(rng.uniform(np.log(0.07), np.log(0.3))))
    points = _jittered(shape, spacing, rng, jitter=0.45)
    edges = _delaunay_edges(points)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    keep = (length < 1.6 * spacing) & (rng.random(len(edges)) < rng.uniform(0.4, 0.7))
    edges = edges[keep]
    radius = spacing * np.exp(rng.uniform(np.log(0.03), np.log(0.15)))
    starts, ends = points[edges[:, 0]], points[edges[:, 1]]
    return _bent(shape, starts, ends, radius, rng, wobble=0.1 * spacing, scale=0.6 * spacing, spread=0.4)


def capillaries(shape: Sequence[int], rng: np.random.Generator) -> Segments:
    """A three-dimensional mesh of thin vessels: short Delaunay edges between jittered points."""
    side = min(shape)
    spacing = side * rng.uniform(0.2, 0.35)
    points = _jittered(shape, spacing, rng, jitter=0.4)
    edges = _delaunay_edges(points)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    keep = (length < 1.3 * spacing) & (rng.random(len(edges)) < rng.uniform(0.25, 0.5))
    edges = edges[keep]
    radius = max(1.2, side * rng.uniform(0.02, 0.04))
    starts, ends = points[edges[:, 0]], points[edges[:, 1]]
    return _bent(shape, starts, ends, radius, rng, wobble=0.1 * spacing, scale=0.6 * spacing, spread=0.3)


def _joined(*parts: Segments) -> Segments:
    starts, ends, radii = zip(*parts, strict=True)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(radii)


def _jittered(shape: Sequence[int], spacing: float, rng: np.random.Generator, *, jitter: float) -> np.ndarray:
    axes = [np.arange(-1.5 * spacing, n + 1.5 * spacing, spacing) for n in shape]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(shape))
    return grid + jitter * spacing * rng.uniform(-1, 1, grid.shape)


def _delaunay_edges(points: np.ndarray) -> np.ndarray:
    corners = Delaunay(points).simplices
    pairs = [corners[:, [i, j]] for i in range(corners.shape[1]) for j in range(i)]
    return np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)


def _ridges(
    shape: Sequence[int], points: np.ndarray, radius: float, rng: np.random.Generator, *, wobble: float, scale: float
) -> Segments:
    diagram = Voronoi(points)
    pairs = np.array([ridge for ridge in diagram.ridge_vertices if min(ridge) >= 0])
    return _bent(shape, diagram.vertices[pairs[:, 0]], diagram.vertices[pairs[:, 1]], radius, rng, wobble, scale)


def _bent(
    shape: Sequence[int],
    starts: np.ndarray,
    ends: np.ndarray,
    radius: float,
    rng: np.random.Generator,
    wobble: float,
    scale: float,
    spread: float = 0.0,
) -> Segments:
    """Cut straight segments into short pieces, move them by a smooth field and vary their calibre smoothly."""
    shape = tuple(shape)
    near = np.all((np.maximum(starts, ends) > -0.2 * np.array(shape)), 1)
    near &= np.all(np.minimum(starts, ends) < 1.2 * np.array(shape), 1)
    starts, ends = starts[near], ends[near]
    pieces = np.maximum(1, np.ceil(np.linalg.norm(ends - starts, axis=1) / max(4.0, scale / 3)).astype(int))
    owner = np.repeat(np.arange(len(starts)), pieces)
    first = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    along = (ends - starts)[owner] / pieces[owner, None]
    a = starts[owner] + along * first[:, None]
    points = warp(np.concatenate([a, a + along]), shape, wobble, max(scale, 4.0), rng)
    calibre = np.exp(spread * rng.standard_normal(len(starts)))[owner]
    field = smooth_field(shape, max(scale, 4.0), rng)
    middle = np.clip((points[: len(a)] + points[len(a) :]) / 2, 0, np.array(shape) - 1).astype(int)
    local = 1.0 + 0.15 * np.clip(field[tuple(middle.T)], -2, 2)
    return points[: len(a)], points[len(a) :], np.maximum(radius * calibre * local, 0.8)


KINDS: dict[str, Callable[[Sequence[int], np.random.Generator], Segments]] = {
    "vessels": vessels,
    "crossing_vessels": crossing_vessels,
    "membranes": membranes,
    "mortar": mortar,
    "roads": roads,
}

KINDS_3D: dict[str, Callable[[Sequence[int], np.random.Generator], Segments]] = {
    "vessels": vessels,
    "capillaries": capillaries,
}
