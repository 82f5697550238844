"""Brain volumes of persons who do not exist, with everything about them known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.phantoms.brain.acquisition import BIAS_NODE_MM, Scanner, bias_field, blurred, rician, scanner, through_plane
from models.phantoms.brain.atlas import sample
from models.phantoms.brain.contrast import SEQUENCES, Contrast, contrast
from models.phantoms.brain.lesion import Lesion
from models.phantoms.brain.subject import Anatomy, Subject

TISSUES = ("background", "cerebrospinal fluid", "grey matter", "white matter")
BATCH = 16
"""Planes worked out at a time, which bounds memory."""
MAX_THICKNESS_MM = 10.0
# Signals of skull and scalp by depth outside the brain, white matter is 1: bone, marrow, bone, fat, skin.
_SHELLS_MM = (0.0, 1.0, 2.5, 3.0, 5.0, 5.5, 7.0, 7.5, 11.0, 12.0, 13.0, 14.0)
_SHELLS = {
    "t1": (0.3, 0.15, 0.1, 0.5, 0.5, 0.1, 0.1, 1.25, 1.25, 0.7, 0.5, 0.0),
    "t2": (2.4, 0.5, 0.1, 0.8, 0.8, 0.1, 0.1, 1.1, 1.1, 0.8, 0.6, 0.0),
    "flair": (0.2, 0.15, 0.1, 0.6, 0.6, 0.1, 0.1, 0.9, 0.9, 0.6, 0.5, 0.0),
    "random": (0.3, 0.15, 0.1, 0.6, 0.6, 0.1, 0.1, 1.0, 1.0, 0.7, 0.5, 0.0),
}


@dataclass(frozen=True, eq=False)
class BrainVolume:
    """One acquisition and its truth, all [X, Y, Z] on the atlas's grid.

    ``image`` float32 ≥ 0 in scanner units; ``mask`` bool: brain and the fluid around it; ``tissues`` uint8, indices
    into :data:`TISSUES`, after mass effects and atrophy; ``lesions`` bool; ``affine`` float64 [4, 4]: voxel → mm, RAS;
    ``facts``: seed, traits, contrast and scanner, by name.
    """

    image: np.ndarray
    mask: np.ndarray
    tissues: np.ndarray
    lesions: np.ndarray
    affine: np.ndarray
    facts: dict[str, Any]


@dataclass(frozen=True, eq=False)
class BrainSlices:
    """Slices [N, H, W] of a volume, in the order asked: arrays of :class:`BrainVolume` cut across ``axis``."""

    image: np.ndarray
    mask: np.ndarray
    tissues: np.ndarray
    lesions: np.ndarray
    axis: int
    positions: tuple[int, ...]
    facts: dict[str, Any]


def volume(
    subject: Subject,
    *,
    sequence: str,
    variant: int = 0,
    thickness_mm: float = 1.0,
    lesions: Sequence[Lesion] = (),
    head: bool = False,
    bias: float | None = None,
    noise: float | None = None,
    blur_mm: float | None = None,
    ghost: float | None = None,
) -> BrainVolume:
    """Scan ``subject``. ``variant`` (≥ 0) is another acquisition: contrast, gain, noise and blur of its own.

    ``sequence``: ``t1``, ``t2``, ``flair`` or ``random``. ``thickness_mm`` 1…10: slices along z, put back on 1 mm.
    ``head`` draws skull and scalp as plain shells. ``bias``, ``noise``, ``blur_mm``, ``ghost``: as in
    :class:`~models.phantoms.brain.acquisition.Scanner`, drawn when ``None``. Raises ``ValueError`` for another sequence
    or a value out of range.
    """
    chosen = {"bias": bias, "noise": noise, "blur_mm": blur_mm, "ghost": ghost, "head": head}
    scan = _Scan(subject, sequence, variant, thickness_mm, tuple(lesions), chosen)
    image, mask, tissues, lesion = scan.rows(np.arange(subject.shape[2]))
    return BrainVolume(image, mask, tissues, lesion, subject.atlas.affine.copy(), scan.facts)


def slices(
    subject: Subject,
    *,
    sequence: str,
    positions: Sequence[int],
    axis: int = 2,
    variant: int = 0,
    thickness_mm: float = 1.0,
    lesions: Sequence[Lesion] = (),
    head: bool = False,
    bias: float | None = None,
    noise: float | None = None,
    blur_mm: float | None = None,
    ghost: float | None = None,
) -> BrainSlices:
    """Slices of :func:`volume` with the same arguments, equal to rounding, at ``positions`` (voxels) across ``axis``.

    Only planes that are needed are worked out across axis 2, along which slices are acquired; the others cost a whole
    volume. Raises ``ValueError`` as :func:`volume` does, and for a position or axis outside the grid.
    """
    wanted = np.asarray(positions, int)
    if axis not in (0, 1, 2) or np.any(wanted < 0) or np.any(wanted >= subject.shape[axis]):
        raise ValueError(f"positions {tuple(positions)} do not lie on axis {axis} of the grid")
    chosen = {"bias": bias, "noise": noise, "blur_mm": blur_mm, "ghost": ghost, "head": head}
    scan = _Scan(subject, sequence, variant, thickness_mm, tuple(lesions), chosen)
    rows, inverse = np.unique(wanted, return_inverse=True)
    found = scan.rows(rows if axis == 2 else np.arange(subject.shape[2]))
    cut = [np.moveaxis(np.take(values, inverse if axis == 2 else wanted, axis), axis, 0) for values in found]
    image, mask, tissues, lesion = (np.ascontiguousarray(values) for values in cut)
    return BrainSlices(image, mask, tissues, lesion, axis, tuple(int(k) for k in wanted), scan.facts)


class _Scan:
    """One acquisition, worked out plane by plane."""

    def __init__(
        self,
        subject: Subject,
        sequence: str,
        variant: int,
        thickness: float,
        lesions: tuple[Lesion, ...],
        chosen: dict[str, float | bool | None],
    ) -> None:
        if variant < 0 or not 1 <= thickness <= MAX_THICKNESS_MM:
            raise ValueError(f"variant {variant} or slices of {thickness} mm are out of range")
        if sequence not in SEQUENCES:
            raise ValueError(f"sequence {sequence!r} is none of {', '.join(SEQUENCES)}")
        rng = np.random.default_rng([subject.seed, 3, SEQUENCES.index(sequence), variant])
        self.subject, self.sequence, self.lesions = subject, sequence, lesions
        self.contrast: Contrast = contrast(sequence, rng)
        self.scanner: Scanner = scanner(sequence, rng).with_chosen(**chosen)
        self.bias = bias_field(subject, rng)
        self.measure, self.resample = through_plane(subject.shape[2], thickness, float(rng.random()))
        self.noise_seed = (subject.seed, 4, SEQUENCES.index(sequence), variant)
        self.facts: dict[str, Any] = {
            "phantom": True,
            "seed": subject.seed,
            "variant": variant,
            "sequence": sequence,
            "thickness_mm": float(thickness),
            "traits": asdict(subject.traits),
            "contrast": asdict(self.contrast),
            "scanner": asdict(self.scanner),
            "lesions": [{"family": lesion.family, "volume_mm3": lesion.volume_mm3} for lesion in lesions],
        }
        x, y, _ = subject.window
        reach = 16 if self.scanner.head else 0
        self.x = slice(max(0, x.start - reach), min(subject.shape[0], x.stop + reach))
        self.y = slice(max(0, y.start - reach), min(subject.shape[1], y.stop + reach))

    def rows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Image, mask, tissues and lesions [X, Y, len(rows)] at ``rows``, increasing voxels along z."""
        taken = np.flatnonzero((self.resample[rows] > 0).any(0))
        planes = np.union1d(np.flatnonzero((self.measure[taken] > 0).any(0)), rows)
        width, height, _ = self.subject.shape
        tissues = np.zeros((width, height, len(rows)), np.uint8)
        lesion = np.zeros(tissues.shape, bool)
        measured = np.zeros((width, height, len(taken)), np.float32)
        for start in range(0, len(planes), BATCH):
            batch = planes[start : start + BATCH]
            signal, labels = self._planes(batch)
            weights = self.measure[np.ix_(taken, batch)]
            for k in np.flatnonzero(weights.any(1)):
                used = np.flatnonzero(weights[k])
                measured[:, :, k] += signal[:, :, used] @ weights[k, used]
            for row in np.flatnonzero(np.isin(rows, batch)):
                tissues[self.x, self.y, row] = labels[:, :, int(np.searchsorted(batch, rows[row]))]
        for found in self.lesions:
            for where, inside in _overlap(found, rows):
                lesion[where] |= found.truth[inside]
        measured = blurred(measured, self.scanner.blur_mm)
        if self.scanner.ghost:
            measured = measured + self.scanner.ghost * np.roll(measured, height // 2, 1)
        for place, index in enumerate(taken):
            measured[:, :, place] = rician(measured[:, :, place], self.scanner.noise, self.noise_seed, int(index))
        back = self.resample[np.ix_(rows, taken)]
        image = np.empty(tissues.shape, np.float32)
        for place, weights in enumerate(back):
            used = np.flatnonzero(weights)
            image[:, :, place] = measured[:, :, used] @ weights[used]
        return image * np.float32(self.contrast.units), tissues > 0, tissues, lesion

    def _planes(self, planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Signal float32 [X, Y, k] before blur and noise, and tissues uint8 [window x, window y, k]."""
        box = (np.arange(self.x.start, self.x.stop), np.arange(self.y.start, self.y.stop), planes)
        pushes = [lesion.push for lesion in self.lesions if lesion.push]
        found = self.subject.anatomy(box, pushes, self._widening(planes))
        level = self.contrast
        image = found.csf * level.csf + found.grey * level.grey + found.white
        image += level.detail * found.detail * (found.grey + found.white)
        full = np.zeros((*self.subject.shape[:2], len(planes)), np.float32)
        full[self.x, self.y] = image
        for lesion in self.lesions:
            self._change(full, found, lesion, planes)
        window = full[self.x, self.y]
        # Fluid has no texture of its own, and its signal would make the same share of it too strong.
        window *= 1 + (1 - found.csf) * (level.fine * found.fine + level.broad * found.broad)
        if self.scanner.head:
            around = np.interp(-found.depth, _SHELLS_MM, _SHELLS[self.sequence]).astype(np.float32)
            window += np.clip(0.5 - found.depth, 0, 1) * around * (1 + 0.08 * found.fine)
        points = np.stack(np.meshgrid(*[np.asarray(k, np.float32) for k in box], indexing="ij"), -1)
        window *= 1 + np.float32(self.scanner.bias) * sample(self.bias, points / BIAS_NODE_MM)[0].numpy()
        return np.maximum(full, 0), found.labels

    def _widening(self, planes: np.ndarray) -> np.ndarray | None:
        """Log-odds of more fluid over the window, float32 [x, y, k]."""
        made = None
        for lesion in self.lesions:
            if lesion.widening is None:
                continue
            if made is None:
                made = np.zeros((*self.subject.shape[:2], len(planes)), np.float32)
            for where, inside in _overlap(lesion, planes):
                made[where] += lesion.widening[inside]
        return None if made is None else made[self.x, self.y]

    def _change(self, full: np.ndarray, found: Anatomy, lesion: Lesion, planes: np.ndarray) -> None:
        """Change ``full`` float32 [X, Y, k] in place by a lesion's layers."""
        spots = list(_overlap(lesion, planes))
        if not spots or not lesion.layers:
            return
        solid = np.zeros(full.shape[:2], np.float32)
        inside_brain = np.zeros(full.shape[:2], np.float32)
        for where, inside in spots:
            k = where[2]
            solid[self.x, self.y] = 1 - found.csf[:, :, k]
            inside_brain[self.x, self.y] = found.csf[:, :, k] + found.grey[:, :, k] + found.white[:, :, k]
            for layer in lesion.layers:
                degree, signal = layer.degree[inside], np.float32(layer.signal[self.sequence])
                host = full[where]
                if layer.kind == "tissue":
                    share = degree * solid[where[:2]] * inside_brain[where[:2]]
                    full[where] = host + share * (signal - host)
                elif layer.kind == "add":
                    full[where] = host + degree * signal * inside_brain[where[:2]]
                elif layer.kind == "scale":
                    full[where] = host * (1 + degree * signal)
                else:
                    moved = np.roll(full[:, :, k], layer.shift, 1)[where[:2]]
                    full[where] = host + degree * signal * moved


def _overlap(lesion: Lesion, planes: np.ndarray) -> list[tuple[tuple[slice, slice, int], tuple[slice, slice, int]]]:
    """Where a lesion's block lies on ``planes``: index into [X, Y, k] and into the block, per plane."""
    depth = lesion.truth.shape[2]
    spots = []
    for k, plane in enumerate(planes):
        inside = int(plane) - lesion.origin[2]
        if 0 <= inside < depth:
            x, y = (slice(low, low + n) for low, n in zip(lesion.origin[:2], lesion.truth.shape[:2], strict=True))
            spots.append(((x, y, k), (slice(None), slice(None), inside)))
    return spots
