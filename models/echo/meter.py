"""The EF meter: a small U-Net that outlines the chambers in every frame, and what follows from its outlines.

The network sees one frame at a time and was never shown a generated one; volumes, beats and the ejection fraction are
then measured from the outlines as by hand (:mod:`models.echo.volumes`, :mod:`models.echo.beats`). It therefore cannot
reward a clip for anything but the motion of its ventricle. Architecture: our choice, for speed on one core; the frame
is folded into half-resolution channels first and unfolded at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional as F

from models.echo.beats import Beats, find_beats
from models.echo.volumes import LEAST_PIXELS, LEFT_VENTRICLE, VolumeCurve, curve

LABELS = ("background", "left ventricle", "myocardium", "left atrium", "right ventricle", "right atrium")
SIDE = 112
"""Side of a frame in pixels."""
UNSURE = 0.85
"""A mean probability below this inside the outlines deserves a warning."""
FOLD = 2

Callback = Callable[[int, int], None]


class Meter(nn.Module):
    """U-Net from grey frames to logits of :data:`LABELS`.

    ``widths``: channels at 56², 28², … pixels. All arguments are plain JSON values and kept in ``arguments``.
    """

    def __init__(self, widths: Sequence[int] = (24, 48, 72, 96)) -> None:
        super().__init__()
        self.arguments = {"widths": list(widths)}
        self.stem = nn.Conv2d(FOLD**2, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList([Block(widths[0])])
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        for narrow, wide in pairwise(widths):
            self.down.append(nn.Conv2d(narrow, wide, 2, stride=2))
            self.encoder.append(Block(wide))
        self.bottleneck = Block(widths[-1])
        for narrow, wide in pairwise(widths):
            self.up.insert(0, nn.Conv2d(wide, narrow, 1))
            self.decoder.insert(0, Block(narrow))
        self.norm = nn.BatchNorm2d(widths[0])
        self.head = nn.Conv2d(widths[0], FOLD**2 * len(LABELS), 3, padding=1)

    @property
    def multiple(self) -> int:
        """Sides of the input must be divisible by this."""
        return FOLD * 2 ** len(self.down)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 1, H, W) float32 in 0…1 → logits (N, 6, H, W). Raises ``ValueError`` for sides not divisible."""
        kept = self._encode(frames)
        features = self.bottleneck(kept.pop())
        for up, block in zip(self.up, self.decoder, strict=True):
            features = block(F.interpolate(up(features), scale_factor=2.0, mode="nearest") + kept.pop())
        return F.pixel_shuffle(self.head(F.silu(self.norm(features))), FOLD)

    def features(self, frames: Tensor) -> Tensor:
        """(N, 1, H, W) float32 in 0…1 → (N, last width) float32: the bottleneck averaged over the frame.

        The frame encoder of our Fréchet distances.
        """
        return self.bottleneck(self._encode(frames)[-1]).mean((2, 3))

    def _encode(self, frames: Tensor) -> list[Tensor]:
        if any(side % self.multiple for side in frames.shape[2:]):
            raise ValueError(f"sides must be divisible by {self.multiple}, not {tuple(frames.shape[2:])}")
        # Each frame is brought to mean 0 and variance 1, so that overall gain and offset do not matter.
        mean = frames.mean((2, 3), keepdim=True)
        spread = frames.std((2, 3), keepdim=True)
        features = self.stem(F.pixel_unshuffle((frames - mean) / (spread + 0.02), FOLD))
        kept = []
        for index, block in enumerate(self.encoder):
            features = block(features if index == 0 else self.down[index - 1](features))
            kept.append(features)
        return kept


class Block(nn.Module):
    """Two normalised convolutions around a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.constant_(self.conv2.get_parameter("bias"), 0.0)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) → the same shape."""
        inner = self.conv1(F.silu(self.norm1(features)))
        return features + self.conv2(F.silu(self.norm2(inner)))


@dataclass(frozen=True)
class Measurement:
    """What the meter found in a clip.

    ``labels``: uint8 [T, H, W], places in :data:`LABELS`. ``volumes``: millilitres when the pixel size was given, else
    relative. ``ef`` in % (area-length, median over beats), NaN when nothing could be measured; ``discs_ef`` the same by
    Simpson's discs. ``heart_rate``: beats per minute or ``None``. ``frame_confidence``: float32 [T], the mean
    probability inside the outlined ventricle, 0 where none was found; ``confidence``: its mean. ``notes``: plain
    sentences on what limits the result.
    """

    labels: np.ndarray
    volumes: VolumeCurve
    beats: Beats
    ef: float
    discs_ef: float
    heart_rate: float | None
    confidence: float
    frame_confidence: np.ndarray
    notes: tuple[str, ...]


def measure(
    model: Meter,
    frames: np.ndarray,
    fps: float,
    mm_per_px: float | None = None,
    *,
    batch: int = 16,
    callback: Callback | None = None,
) -> Measurement:
    """Outline the chambers in ``frames``, uint8 [T, H, W], and measure the left ventricle over time.

    ``fps``: frames per second; ``mm_per_px``: side of a pixel in mm, ``None`` when not known. ``callback(done, total)``
    is called after every batch of frames and may raise to stop. Raises ``ValueError`` on frames of another kind, or a
    frame rate or pixel size that is not above zero.
    """
    probability = segment(model, frames, batch=batch, callback=callback)
    return measure_probability(probability, fps, mm_per_px)


@torch.inference_mode()
def segment(model: Meter, frames: np.ndarray, *, batch: int = 16, callback: Callback | None = None) -> np.ndarray:
    """Probability of every label, float32 [T, 6, H, W], for ``frames``, uint8 [T, H, W]. See :func:`measure`."""
    frames = np.asarray(frames)
    if frames.ndim != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(f"a clip is uint8 [T, H, W] with T above 0, not {frames.dtype} {frames.shape}")
    weight = next(model.parameters())
    training = model.training
    model.eval()
    found = []
    try:
        for first in range(0, len(frames), batch):
            stack = torch.from_numpy(frames[first : first + batch, None]).to(weight.device).to(weight.dtype) / 255
            found.append(torch.softmax(model(stack).float(), 1).cpu().numpy())
            if callback:
                callback(min(first + batch, len(frames)), len(frames))
    finally:
        model.train(training)
    return np.concatenate(found)


def measure_probability(probability: np.ndarray, fps: float, mm_per_px: float | None = None) -> Measurement:
    """What follows from ``probability``, float [T, 6, H, W] (from :func:`segment`). Raises as :func:`measure` does."""
    if not 0 < fps < np.inf:
        raise ValueError(f"the frame rate is a number above zero, not {fps}")
    probability = steady(probability, fps)
    labels = np.stack([clean(frame) for frame in probability])
    ventricle = labels == LEFT_VENTRICLE
    share = np.stack([_share(p[LEFT_VENTRICLE], mask) for p, mask in zip(probability, ventricle, strict=True)])
    volumes = curve(labels, mm_per_px, share=share)
    beats = find_beats(volumes.ml, fps)
    discs = find_beats(volumes.discs_ml, fps)
    sizes = ventricle.sum((1, 2))
    inside = (probability[:, LEFT_VENTRICLE] * ventricle).sum((1, 2)) / np.maximum(sizes, 1)
    confidence = np.where(volumes.found, inside, 0).astype(np.float32)
    return Measurement(
        labels=labels,
        volumes=volumes,
        beats=beats,
        ef=beats.ef,
        discs_ef=discs.ef,
        heart_rate=beats.heart_rate,
        confidence=float(confidence.mean()),
        frame_confidence=confidence,
        notes=_notes(ventricle, volumes, beats, discs, confidence, mm_per_px),
    )


def steady(probability: np.ndarray, fps: float) -> np.ndarray:
    """Median of each probability over three frames that span about a tenth of a second, [T, 6, H, W].

    Below 24 frames per second the heart moves too far between frames, and they are left as they are.
    """
    step = round(fps / 32)
    if fps < 24 or len(probability) < 2 * step + 1:
        return probability
    before = np.concatenate([probability[:1]] * step + [probability[:-step]])
    after = np.concatenate([probability[step:]] + [probability[-1:]] * step)
    return np.asarray(np.maximum(np.minimum(before, after), np.minimum(np.maximum(before, after), probability)))


def clean(probability: np.ndarray) -> np.ndarray:
    """Most probable label, uint8 [H, W], of one frame [6, H, W]: one piece a chamber, the ventricle without holes.

    Smaller pieces of a label become background.
    """
    labels = probability.argmax(0).astype(np.uint8)
    for label in range(1, len(LABELS)):
        pieces, count = ndimage.label(labels == label)
        if count > 1:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            labels[(pieces > 0) & (pieces != sizes.argmax())] = 0
    labels[ndimage.binary_fill_holes(labels == LEFT_VENTRICLE)] = LEFT_VENTRICLE
    if np.count_nonzero(labels == LEFT_VENTRICLE) < LEAST_PIXELS:
        labels[labels == LEFT_VENTRICLE] = 0
    return labels


def _share(probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """How much of each pixel the ventricle covers, float32 0…1: its mask, with an edge finer than whole pixels."""
    near = ndimage.binary_dilation(mask)
    soft = np.clip(2 * probability - 0.5, 0, 1)
    # What the mask holds stays at least half covered, what it does not hold less than half.
    return np.where(mask, np.maximum(soft, 0.5), np.where(near, np.minimum(soft, 0.499), 0)).astype(np.float32)


def _notes(
    ventricle: np.ndarray,
    volumes: VolumeCurve,
    beats: Beats,
    discs: Beats,
    confidence: np.ndarray,
    mm_per_px: float | None,
) -> tuple[str, ...]:
    count = len(ventricle)
    notes = []
    lost = count - int(volumes.found.sum())
    if lost:
        notes.append(f"The left ventricle was not found in {lost} of {count} frames.")
    rim = np.ones(ventricle.shape[1:], bool)
    rim[1:-1, 1:-1] = False
    cut = int(np.count_nonzero((ventricle & rim).sum((1, 2)) >= 3))
    if cut:
        notes.append(f"The left ventricle is cut by the edge of the image in {cut} of {count} frames.")
    seen = confidence[volumes.found]
    if len(seen) and seen.mean() < UNSURE:
        notes.append(f"The outlines are unsure (mean probability {seen.mean():.2f}); look at them before use.")
    notes.extend(beats.notes)
    if abs(beats.ef - discs.ef) > 10:
        notes.append(f"Area-length says {beats.ef:.0f} %, Simpson's discs say {discs.ef:.0f} %.")
    if mm_per_px is None and lost < count:
        notes.append("The pixel size is not known: volumes are relative; the ejection fraction does not need it.")
    return tuple(notes)
