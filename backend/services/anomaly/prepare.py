"""What has to be known of a scan before it is looked at: its place in the atlas, its brain, its sequence."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from backend.errors import UserError
from backend.media.limits import Limits
from backend.services.anomaly.read import Scan, read_mask
from backend.services.anomaly.requests import DetectRequest
from models.anomaly import brain_mask
from models.anomaly.preprocess import Grid, limits_of, resample, scaled, working_grid

if TYPE_CHECKING:
    from models.anomaly.register import Registration
    from models.phantoms.brain import Atlas

log = logging.getLogger(__name__)

LEAST_SIDE_MM = 60.0
"""Scans thinner than this along an axis are not registered: there is too little to hold on to."""
FLAT_AREA_CM2 = (30.0, 260.0)
"""Area of brain in a single axial slice that is worth looking at. Our choice."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan on the working grid. ``image`` float32 [X, Y, Z] in 0…1, 0 outside of ``mask``, bool; ``grid``: theirs.

    ``unit``: grey values of the scan for 1 of the image, ``black`` its grey value at 0. ``registration``: into the
    atlas, ``None`` without one. ``sequence``: as the network is told, ``guessed`` if nobody said so. ``unlike``: why
    this is no brain as the networks know them, '' if it is one.
    """

    scan: Scan
    image: np.ndarray
    mask: np.ndarray
    grid: Grid
    unit: float
    black: float
    registration: Registration | None
    mask_from: str
    sequence: str
    guessed: bool
    unlike: str
    notes: tuple[str, ...]


def prepare(
    scan: Scan, request: DetectRequest, mask_path: Path | None, limits: Limits, *, key: str, cache: Path
) -> Prepared:
    """Bring a scan onto the working grid, find its brain and scale its greys.

    ``key`` names the stored scan, so that its registration is kept under the folder ``cache``. Raises ``UserError``
    for a mask that does not fit or is empty.
    """
    notes = list(scan.notes)
    grid = working_grid(scan.grid)
    image = resample(scan.array, scan.grid, grid)
    given = None if mask_path is None else read_mask(mask_path, scan, limits)
    stripped = brain_mask.stripped_mask(image, grid) if given is None else None
    raw = image - float(image.min())
    if stripped is not None:
        raw = np.where(stripped, raw, 0)
    wanted = request.names or request.sequence == "auto" or (given is None and stripped is None)
    registration, atlas = None, None
    if wanted and min(np.array(grid.shape) * grid.spacing_mm) >= LEAST_SIDE_MM:
        atlas = _atlas(notes)
        if atlas is not None:
            inside = raw if given is None else raw * (resample(given, scan.grid, grid) >= 0.5)
            head = given is None and stripped is None
            kept = key + ("" if given is None else request.mask)
            registration = _registered(inside, grid, atlas, kept, cache, notes, head=head)
    if given is not None:
        mask, source = resample(given, scan.grid, grid) >= 0.5, "given"
    elif stripped is not None:
        mask, source = stripped, "stripped"
    elif registration is not None and atlas is not None:
        placed = Grid(atlas.shape, atlas.affine)
        mask = brain_mask.head_mask(raw, grid, atlas.mask, placed, registration.to_atlas)
        source = "atlas"
        notes.append("The brain mask is ours. Where it is wrong, the heat-map is too: give one of your own if you can.")
    else:
        mask, source = _by_threshold(raw), "threshold"
        notes.append("The brain mask is all that is bright: no atlas helped to tell the brain from the rest of a head.")
    if not mask.any():
        raise UserError("No brain was found.", "The brain mask is empty.", "Give a mask of your own, or another scan.")
    sequence: str = request.sequence
    guessed = sequence == "auto"
    if guessed:
        sequence = _guess(scan, image, grid, mask, atlas, registration)
        if sequence == "unknown":
            notes.append("The sequence could not be told from the picture; say which it is if you know.")
    low, high = limits_of(image, mask)
    return Prepared(
        scan,
        scaled(image, mask),
        mask,
        grid,
        high - low,
        low,
        registration,
        source,
        sequence,
        guessed,
        unlike(mask, grid, scan),
        tuple(notes),
    )


def unlike(mask: np.ndarray, grid: Grid, scan: Scan) -> str:
    """Why this is no brain as the networks know them, in a sentence; '' for one that may be."""
    start = "This is unlike any brain that the networks know"
    if scan.modality and scan.modality not in ("MR", "OT", "SC"):
        return f"{start}: the file says that it is {scan.modality}, and they know MR only."
    if grid.shape[2] == 1:
        area = float(mask.sum()) * grid.spacing_mm[0] * grid.spacing_mm[1] / 100
        low, high = FLAT_AREA_CM2
        if not low <= area <= high:
            return (
                f"{start}: what is bright in the slice measures {area:,.1f} cm², a brain {low:.0f} to {high:.0f} cm²."
            )
        return ""
    tall = grid.shape[2] * grid.spacing_mm[2]
    volume = float(mask.sum()) * grid.voxel_ml
    low, high = brain_mask.PLAUSIBLE_ML
    if volume > high or (volume < low and tall >= LEAST_SIDE_MM):
        return f"{start}: the brain mask holds {volume:,.0f} ml, brains of grown people {low:,.0f} to {high:,.0f} ml."
    return ""


def sequence_of(fluid: float, grey: float, white: float) -> str:
    """Which sequence has such median greys in fluid, grey and white matter: t1, t2, flair, or unknown.

    T1: white brightest, fluid darkest. T2: fluid brightest. FLAIR: fluid darkest, grey at least as bright as white.
    """
    if fluid > grey > white:
        return "t2"
    if fluid < min(grey, white):
        return "t1" if white > 1.05 * grey else "flair"
    return "unknown"


def _guess(
    scan: Scan,
    image: np.ndarray,
    grid: Grid,
    mask: np.ndarray,
    atlas: Atlas | None,
    registration: Registration | None,
) -> str:
    """By the greys of tissues where the atlas has them; without an atlas nothing is guessed."""
    if atlas is None or registration is None:
        return "unknown"
    placed = Grid(atlas.shape, np.linalg.inv(registration.to_atlas) @ atlas.affine)
    found = []
    for tissue in (atlas.csf, atlas.grey, atlas.white):
        sure = (resample(tissue, placed, grid) > 0.8) & mask
        if sure.sum() < 200:
            return "unknown"
        found.append(float(np.median(image[sure])))
    return sequence_of(*found)


def _atlas(notes: list[str]) -> Atlas | None:
    from backend.brain_atlas import brain_atlas

    try:
        return brain_atlas()
    except UserError as error:
        notes.append(f"{error.what} {error.what_to_do}")
        return None


def _registered(
    image: np.ndarray, grid: Grid, atlas: Atlas, key: str, cache: Path, notes: list[str], *, head: bool
) -> Registration | None:
    """Place in the atlas, from the cache or found anew; ``None`` where it cannot be found, which is noted.

    ``head``: whether there may be more than brain in the image.
    """
    from models.anomaly.register import Registration, register

    name = hashlib.sha256(f"{key} {grid.shape} {grid.affine.round(6).tolist()}".encode()).hexdigest()
    kept = cache / f"{name}.json"
    try:
        told = json.loads(kept.read_text(encoding="utf-8"))
        return Registration(np.array(told["to_atlas"], np.float64).reshape(4, 4), float(told["similarity"]))
    except (OSError, ValueError, KeyError):
        pass
    try:
        placed = Grid(atlas.shape, atlas.affine)
        if head:
            _, found = brain_mask.extract(image, grid, atlas.t1, atlas.mask, placed)
        else:
            found = register(image, grid, atlas.t1, atlas.mask, placed)
    except (ValueError, RuntimeError) as error:
        log.info("a scan was not registered: %s", type(error).__name__)
        notes.append("The scan could not be laid over the atlas: there are no MNI coordinates and names of regions.")
        return None
    cache.mkdir(parents=True, exist_ok=True)
    temporary = kept.with_suffix(".part")
    temporary.write_text(json.dumps({"to_atlas": found.to_atlas.tolist(), "similarity": found.similarity}))
    temporary.replace(kept)
    return found


def _by_threshold(image: np.ndarray) -> np.ndarray:
    """What is bright (Otsu), opened a little, its largest piece, with holes filled slice by slice."""
    from skimage.filters import threshold_otsu

    bright = image > threshold_otsu(image)
    flat = image.shape[2] == 1
    disc = ndimage.generate_binary_structure(3, 1)
    if flat:
        disc = disc[:, :, 1:2]
    opened = ndimage.binary_opening(bright, disc)
    found = brain_mask.largest(opened if opened.any() else bright)
    if found is None:
        return bright
    return np.stack([ndimage.binary_fill_holes(found[:, :, index]) for index in range(found.shape[2])], axis=2)
