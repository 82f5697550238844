"""Vessel trees: space colonisation for the course (Runions et al. 2005), Murray's law for the radii. 2D and 3D."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from models.phantoms.fields import draw_tubes

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class VesselTree:
    """A rooted tree. ``points``: [n, ndim] in elements; ``parent``: [n] int, -1 at roots, always smaller than the
    node's own index; ``radius``: [n] in elements, of the segment that ends in the node."""

    points: Floats
    parent: NDArray[np.int64]
    radius: Floats

    def children(self) -> list[list[int]]:
        """Indices of every node's children."""
        found: list[list[int]] = [[] for _ in self.parent]
        for node, parent in enumerate(self.parent):
            if parent >= 0:
                found[parent].append(node)
        return found


def grow_tree(
    shape: tuple[int, ...],
    rng: np.random.Generator,
    *,
    attractors: int,
    step: float,
    influence: float,
    kill: float,
    roots: int = 1,
    inertia: float = 0.5,
    max_steps: int = 400,
) -> tuple[Floats, NDArray[np.int64]]:
    """Points [n, ndim] and parents [n] of trees that grow from the border towards randomly placed attractors.

    Every attractor pulls the nearest node within ``influence`` elements; a pulled node grows a child one ``step``
    towards the mean direction (plus ``inertia`` times its own); an attractor within ``kill`` of a node is used up.
    """
    ndim = len(shape)
    size = np.array(shape, dtype=float)
    food = rng.random((attractors, ndim)) * (size + 2 * step) - step
    points, parents, directions = [], [], []
    for _ in range(roots):
        axis, side = int(rng.integers(ndim)), int(rng.integers(2))
        root = (rng.random(ndim) * 0.8 + 0.1) * size
        root[axis] = -step if side == 0 else size[axis] + step
        heading = size / 2 - root
        points.append(root)
        parents.append(-1)
        directions.append(heading / np.linalg.norm(heading))
    barren: set[int] = set()
    for _ in range(max_steps):
        if not len(food):
            break
        known = np.array(points)
        distance, nearest = cKDTree(known).query(food)
        wanted = (distance > kill) & ~np.isin(nearest, list(barren))
        food, distance, nearest = food[wanted], distance[wanted], nearest[wanted]
        if not len(food):
            break
        # With nothing in reach the node closest to food walks on, so that a root far from everything still arrives.
        near = distance < max(influence, float(distance.min()) + 1e-9)
        pull = (food[near] - known[nearest[near]]) / distance[near][:, None]
        for node in np.unique(nearest[near]):
            mean = pull[nearest[near] == node].mean(0) + inertia * directions[node]
            mean += rng.standard_normal(ndim) * 0.15
            norm = np.linalg.norm(mean)
            if norm < 1e-6:
                barren.add(int(node))
                continue
            child = points[node] + mean / norm * step
            if np.min(np.sum((known - child) ** 2, 1)) < (0.3 * step) ** 2:
                # Two attractors on opposite sides would otherwise grow the same twig for ever.
                barren.add(int(node))
                continue
            points.append(child)
            parents.append(int(node))
            directions.append(mean / norm)
    return np.array(points), np.array(parents, dtype=np.int64)


def murray_radii(parent: NDArray[np.int64], tip_radius: float, exponent: float = 3.0) -> Floats:
    """Radii [n] in elements by Murray's law: a parent's radius to the ``exponent`` is the sum of its children's.

    Tips have ``tip_radius``. Murray 1926 gives 3 for laminar flow at least work.
    """
    power = np.zeros(len(parent))
    for node in range(len(parent) - 1, -1, -1):
        if power[node] == 0:
            power[node] = tip_radius**exponent
        if parent[node] >= 0:
            power[parent[node]] += power[node]
    return power ** (1 / exponent)


def vessel_tree(shape: tuple[int, ...], rng: np.random.Generator, *, width: float, density: float) -> VesselTree:
    """A random vessel tree that fills ``shape``; ``width`` is the tips' diameter and ``density`` the twigs a side."""
    spacing = float(np.mean(shape)) / density
    ndim = len(shape)
    points, parent = grow_tree(
        shape,
        rng,
        attractors=int(3 * density**ndim) + 8,
        step=max(2.5, spacing / 5),
        influence=3.0 * spacing,
        kill=0.55 * spacing,
    )
    return VesselTree(points, parent, murray_radii(parent, width / 2))


def draw_tree(shape: tuple[int, ...], tree: VesselTree) -> NDArray[np.float32]:
    """Signed distance to the tree's vessels, float32 of ``shape``, negative inside, in elements."""
    nodes = np.flatnonzero(tree.parent >= 0)
    parents = tree.parent[nodes]
    # A segment tapers from its own radius at its start: the parent's would bulge at the foot of every side branch.
    return draw_tubes(shape, tree.points[parents], tree.points[nodes], tree.radius[nodes], tree.radius[nodes])
