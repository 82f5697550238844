"""Pictures and volumes of a finished detection for the viewer: the input as NIfTI, and single slices as PNG."""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from backend.errors import UserError
from backend.media.limits import Limits
from backend.services.anomaly import draw
from backend.services.anomaly.verdicts import finished
from backend.services.anomaly.view import affine_of, request_of

if TYPE_CHECKING:
    from backend.runtime import Runtime
    from backend.services.anomaly.requests import DetectResult

AXES = "xyz"
LAYERS = ("input", "restored", "heat")
LEAST_SIDE = 400
"""Pixels of the longer side, at least: small slices are enlarged by a whole number."""


def input_volume(runtime: Runtime, job_id: str) -> bytes:
    """The scan that was looked at, as NIfTI packed by gzip, float32 on its own voxels, whatever format it came in.

    Raises ``UserError`` for a job that is no finished detection.
    """
    import nibabel

    made, request = finished(runtime, job_id), request_of(runtime, job_id)
    array = _scan(runtime.artifacts.path(request.source), Limits.from_settings(runtime.settings))
    image = nibabel.Nifti1Image(array, affine_of(runtime, made))
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)


def slice_png(
    runtime: Runtime,
    job_id: str,
    layer: str,
    axis: str,
    index: int,
    *,
    threshold: float | None = None,
    opacity: float = 0.0,
    at: tuple[int, int, int] | None = None,
) -> bytes:
    """PNG of one slice of ``input``, ``restored`` or ``heat``, perpendicular to ``axis`` of the file ('x', 'y', 'z').

    The heat-map lies over it where it is above ``threshold`` (that of the job if ``None``), as opaque as ``opacity``
    says (0…1); ``at`` is a voxel to mark. Shown from the feet or from the front where the file says how it lies.
    Raises ``UserError`` for other layers and jobs.
    """
    made, request = finished(runtime, job_id), request_of(runtime, job_id)
    if layer not in LAYERS or axis not in AXES:
        raise UserError("There is no such slice.", "A slice is input, restored or heat, along x, y or z.")
    along = AXES.index(axis)
    index = min(max(index, 0), made.shape[along] - 1)
    heat = np.take(_volume(runtime.artifacts.path(made.heat)), index, along)
    if layer == "heat":
        picture = _coloured(heat, made)
    else:
        path = runtime.artifacts.path(request.source if layer == "input" else made.restored)
        limits = Limits.from_settings(runtime.settings)
        values = np.take(_scan(path, limits) if layer == "input" else _volume(path), index, along)
        low, high = made.window
        grey = np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255 + 0.5
        picture = np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    if opacity > 0 and layer != "heat":
        above = heat > (made.threshold if threshold is None else threshold)
        mixed = picture * (1 - opacity) + _coloured(heat, made) * opacity
        picture = np.where(above[..., None], mixed.astype(np.uint8), picture)
    return draw.png_bytes(_seen(picture, affine_of(runtime, made), along, made, at))


def _coloured(heat: np.ndarray, made: DetectResult) -> np.ndarray:
    """uint8 [A, B, 3] of a slice of the heat-map, float [A, B]; axes as they are."""
    return np.flip(draw.heated(heat, made.top), (0, 1)).swapaxes(0, 1)


def _seen(
    picture: np.ndarray, affine: np.ndarray, along: int, made: DetectResult, at: tuple[int, int, int] | None
) -> np.ndarray:
    """The slice uint8 [A, B, 3] as pictures are looked at: rows down, the body upright, its right on the left.

    Voxels that are no squares are stretched to their true proportions, small pictures enlarged, ``at`` is marked.
    """
    import cv2
    from nibabel import orientations

    across = [axis for axis in range(3) if axis != along]
    turned = orientations.io_orientation(affine)
    # The axis that runs along x of the body (or y, when x is not in the plane) goes across the picture.
    if turned[across[0], 0] > turned[across[1], 0]:
        across = across[::-1]
        picture = picture.swapaxes(0, 1)
    edges = np.sqrt((affine[:3, :3] ** 2).sum(0))[across]
    spot = None if at is None else [float(at[axis]) for axis in across]
    for place, axis in enumerate(across):
        # Pictures begin at the right, the front and the top of the body, against the axes of RAS.
        if turned[axis, 1] > 0:
            picture = np.flip(picture, place)
            if spot is not None:
                spot[place] = made.shape[axis] - 1 - spot[place]
    picture = np.ascontiguousarray(picture.swapaxes(0, 1))
    height, width = picture.shape[:2]
    true = np.array([width, height]) * edges
    scale = max(1, int(np.ceil(LEAST_SIDE * min(edges) / true.max()))) / min(edges)
    size = max(1, round(true[0] * scale)), max(1, round(true[1] * scale))
    large = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
    if spot is not None:
        centre = (round((spot[0] + 0.5) * size[0] / width), round((spot[1] + 0.5) * size[1] / height))
        for colour, thick in (((0, 0, 0), 4), ((86, 180, 233), 2)):
            cv2.circle(large, centre, max(12, round(0.05 * max(size))), colour, thick, cv2.LINE_AA)
    return np.asarray(large)


@lru_cache(maxsize=3)
def _volume(path: Path) -> np.ndarray:
    """float32 [X, Y, Z] of a NIfTI that we wrote."""
    import nibabel

    image: Any = nibabel.load(path)
    return np.asarray(image.dataobj, np.float32)


@lru_cache(maxsize=1)
def _scan(path: Path, limits: Limits) -> np.ndarray:
    """float32 [X, Y, Z] of a scan in any format."""
    from backend.services.anomaly.read import read_scan

    return cast(np.ndarray, read_scan(path, limits).array)
