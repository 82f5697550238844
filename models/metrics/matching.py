"""Betti matching of two binary masks: which pieces and loops correspond, not only how many there are.

Equal Betti numbers can hide errors that cancel: a lost vessel here, a false one there. Betti matching (Stucki et al.,
"Topologically Faithful Image Segmentation via Induced Matching of Persistence Barcodes", ICML 2023) maps both masks
into their union and pairs the classes that have the same image there. For two binary masks that needs no barcodes:

- *Pieces.* A component of the union that holds pieces of both masks pairs one of each. The number of pairs is the
  dimension of the intersection of the two images in H₀ of the union.
- *Loops (2D).* By Alexander duality a loop is a bounded background component ("hole"). Every hole of the union lies in
  one background component of each mask. A class of H₁ of the union comes from both masks when it is constant over
  their holes and vanishes on holes of the union that lie in the unbounded background of either; the number of pairs is
  the number of groups of linked holes without such a leak.

The error is what stays unpaired. :func:`unmatched_regions` is a stricter, more local measure beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from models.metrics.betti import Connectivity, _checked, _same_shape, dual, label


@dataclass(frozen=True)
class Matching:
    """Counts of pieces and holes in both masks, and of those that correspond."""

    predicted_pieces: int
    true_pieces: int
    matched_pieces: int
    predicted_holes: int
    true_holes: int
    matched_holes: int

    @property
    def b0(self) -> int:
        """Unpaired pieces of both masks."""
        return self.predicted_pieces + self.true_pieces - 2 * self.matched_pieces

    @property
    def b1(self) -> int:
        """Unpaired holes of both masks: loops in 2D, cavities in 3D."""
        return self.predicted_holes + self.true_holes - 2 * self.matched_holes

    @property
    def error(self) -> int:
        """All unpaired classes."""
        return self.b0 + self.b1


def betti_matching(predicted: np.ndarray, truth: np.ndarray, connectivity: Connectivity = "full") -> Matching:
    """Match two masks of one shape, (H, W) or (D, H, W), bool.

    In 3D holes are cavities (H₂, dual to bounded background components); loops (H₁) have no such dual and are only
    counted, by :func:`models.metrics.betti.betti_numbers`. Raises ``ValueError`` on unequal shapes.
    """
    predicted, truth = _checked(predicted), _checked(truth)
    _same_shape(predicted, truth)
    union = predicted | truth
    count_a, count_b = label(predicted, connectivity)[1], label(truth, connectivity)[1]
    u, count_u = label(union, connectivity)
    in_a = np.zeros(count_u + 1, bool)
    in_b = np.zeros(count_u + 1, bool)
    in_a[u[predicted]] = True
    in_b[u[truth]] = True
    in_a[0] = in_b[0] = False
    holes = _match_holes(predicted, truth, union, connectivity)
    return Matching(count_a, count_b, int(np.count_nonzero(in_a & in_b)), *holes)


def betti_matching_error(predicted: np.ndarray, truth: np.ndarray, connectivity: Connectivity = "full") -> int:
    """Unpaired pieces and holes of two masks; 0 when every one has its counterpart."""
    return betti_matching(predicted, truth, connectivity).error


def unmatched_regions(
    predicted: np.ndarray, truth: np.ndarray, *, threshold: float = 0.5, connectivity: Connectivity = "full"
) -> int:
    """Background components of either mask without a partner of intersection over union > ``threshold`` (≥ .5).

    Above one half a partner is unique, so no assignment problem arises. Measures whether the cells that membranes,
    mortar or vessels enclose are the right ones. Source: our choice, after the 0.5 rule of panoptic quality.
    """
    if threshold < 0.5:
        raise ValueError("below an overlap of one half partners are not unique")
    predicted, truth = _checked(predicted), _checked(truth)
    _same_shape(predicted, truth)
    (a, count_a), (b, count_b) = (label(~mask, dual(connectivity)) for mask in (predicted, truth))
    joint = np.bincount((a.astype(np.int64) * (count_b + 1) + b).ravel(), minlength=(count_a + 1) * (count_b + 1))
    joint = joint.reshape(count_a + 1, count_b + 1)
    size_a, size_b = joint.sum(1)[1:, None], joint.sum(0)[None, 1:]
    both = joint[1:, 1:]
    paired = int(np.count_nonzero(both > threshold * (size_a + size_b - both)))
    return count_a + count_b - 2 * paired


def _background(mask: np.ndarray, connectivity: Connectivity) -> tuple[np.ndarray, int]:
    """Background labels on the padded grid with 0 for foreground, 1 for the unbounded component, 2… for holes."""
    labels, count = label(~np.pad(mask, 1), dual(connectivity))
    outside = labels[(0,) * labels.ndim]
    if outside != 1:  # labels are handed out in scan order, which starts in the padding
        raise AssertionError("the padding must be the first component")
    return labels, count


def _match_holes(
    predicted: np.ndarray, truth: np.ndarray, union: np.ndarray, connectivity: Connectivity
) -> tuple[int, int, int]:
    a, count_a = _background(predicted, connectivity)
    b, count_b = _background(truth, connectivity)
    u, count_u = _background(union, connectivity)
    # One voxel of each hole of the union is enough: the whole hole lies in one background component of each mask.
    first = np.zeros(count_u + 1, np.int64)
    flat = u.ravel()
    positions = np.flatnonzero(flat)
    first[flat[positions[::-1]]] = positions[::-1]
    seeds = first[2:]
    holes_a, holes_b = a.ravel()[seeds], b.ravel()[seeds]
    size = (count_a + 1) + (count_b + 1)
    links = coo_array((np.ones(len(seeds)), (holes_a, holes_b + count_a + 1)), shape=(size, size))
    group = connected_components(links, directed=False)[1]
    touched = np.zeros(size, bool)
    touched[group[holes_a]] = True
    leaking = np.zeros(size, bool)
    leaking[group[[1, count_a + 2]]] = True
    return count_a - 1, count_b - 1, int(np.count_nonzero(touched & ~leaking))
