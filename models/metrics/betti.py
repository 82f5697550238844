"""Betti numbers of binary images and volumes, exactly and fast, and how far two masks differ in them.

Connectivity is always stated: ``"full"`` joins foreground elements that touch at a corner (8 in 2D, 26 in 3D) and the
background only across faces (4, 6); ``"face"`` is the reverse. The two belong together: with the same connectivity for
both, a diagonal line would neither separate nor be connected (Kong and Rosenfeld 1989).

Elements outside the image count as background, so a hole that is open to the border is no hole.
"""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Connectivity = Literal["full", "face"]


def label(mask: NDArray[np.bool_], connectivity: Connectivity = "full") -> tuple[NDArray[np.int32], int]:
    """Connected components of ``mask`` (2D or 3D bool): labels int32 with 0 for background, and their number."""
    mask = _checked(mask)
    dual(connectivity)
    if mask.ndim == 2:
        ways = 8 if connectivity == "full" else 4
        count, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=ways, ltype=cv2.CV_32S)
        return np.asarray(labels, np.int32), count - 1
    structure = ndimage.generate_binary_structure(mask.ndim, mask.ndim if connectivity == "full" else 1)
    labels, count = ndimage.label(mask, structure, output=np.int32)
    return labels, int(count)


def dual(connectivity: Connectivity) -> Connectivity:
    """The connectivity the background has when the foreground has ``connectivity``."""
    if connectivity not in ("full", "face"):
        raise ValueError(f"connectivity is 'full' or 'face', not {connectivity!r}")
    return "face" if connectivity == "full" else "full"


def euler_number(mask: NDArray[np.bool_], connectivity: Connectivity = "full") -> int:
    """Euler characteristic of the mask (2D or 3D bool) as a cubical complex: an alternating count of its cells.

    ``"full"``: every element is a closed cube and brings all its faces. ``"face"``: every element is a vertex, and a
    cell exists where all its corners are foreground.
    """
    mask = _checked(mask)
    dual(connectivity)
    axes = range(mask.ndim)
    total = 0
    padded = np.pad(mask, 1) if connectivity == "full" else mask
    for size in range(mask.ndim + 1):
        for chosen in combinations(axes, size):
            cells = padded
            for axis in chosen:
                low = cells[tuple(slice(None, -1) if a == axis else slice(None) for a in axes)]
                high = cells[tuple(slice(1, None) if a == axis else slice(None) for a in axes)]
                cells = low | high if connectivity == "full" else low & high
            # A closed cube seen from its complement: joining along k axes leaves cells of dimension (ndim - k).
            dimension = mask.ndim - size if connectivity == "full" else size
            total += (-1) ** dimension * int(np.count_nonzero(cells))
    return total


def betti_numbers(mask: NDArray[np.bool_], connectivity: Connectivity = "full") -> tuple[int, ...]:
    """Betti numbers of ``mask`` (2D or 3D bool): (components, holes) or (components, tunnels, cavities).

    Components by labelling; cavities by labelling the background with the dual connectivity; the middle number from
    the Euler number, b0 - b1 (+ b2) = chi. Equal to persistent homology of the cubical complex, without building it.
    """
    mask = _checked(mask)
    components = label(mask, connectivity)[1]
    chi = euler_number(mask, connectivity)
    if mask.ndim == 2:
        return components, components - chi
    cavities = label(~np.pad(mask, 1), dual(connectivity))[1] - 1
    return components, components + cavities - chi, cavities


def betti_errors(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], connectivity: Connectivity = "full"
) -> tuple[int, ...]:
    """|difference| of each Betti number. Opposite errors cancel in a count: read it beside a matching error.

    See :mod:`models.metrics.matching`.
    """
    _same_shape(predicted, truth)
    pairs = zip(betti_numbers(predicted, connectivity), betti_numbers(truth, connectivity), strict=True)
    return tuple(abs(a - b) for a, b in pairs)


def _checked(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    mask = np.asarray(mask)
    if mask.dtype != np.bool_:
        raise TypeError(f"a mask is an array of bool, not of {mask.dtype}")
    if mask.ndim not in (2, 3):
        raise ValueError(f"a mask has 2 or 3 axes, not {mask.ndim}")
    if not mask.size:  # OpenCV would crash the process
        raise ValueError(f"a mask holds at least one element, not {mask.shape}")
    return np.ascontiguousarray(mask)


def _same_shape(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> None:
    if np.shape(a) != np.shape(b):
        raise ValueError(f"masks differ in shape: {np.shape(a)} and {np.shape(b)}")
