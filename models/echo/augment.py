"""Other machines, other hands: strong changes of a clip's look and place that leave its anatomy as it is.

A meter that learns from drawn clips must work on real ones and on slightly blurred generated ones. So everything that a
scanner, its settings, a compression or a generator may change is changed in training, far beyond what the drawn clips
show: contrast, gain, depth of shadow, grain, sharpness, streaks, clutter, the cut of the sector. One draw holds for the
whole clip; only grain and noise differ between frames. Our choice throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class AugmentConfig:
    """How strong. ``turn`` in degrees, ``zoom`` a log-range, ``shift`` in shares of the side, ``share`` of each change.

    ``strength`` scales the changes of intensity, 0 for none; every clip gets a random part of it.
    """

    turn: float = 15.0
    zoom: float = 0.22
    stretch: float = 0.08
    shift: float = 0.08
    share: float = 0.4
    strength: float = 1.0


def augment(
    frames: np.ndarray,
    labels: np.ndarray | None,
    rng: np.random.Generator,
    config: AugmentConfig | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """A changed copy of ``frames``, uint8 [T, H, W], as float32 0…1, and of ``labels``, uint8 of the same shape."""
    config = config or AugmentConfig()
    moved, labels = move(frames, labels, rng, config)
    return change_look(moved.astype(np.float32) / 255, rng, config), labels


def move(
    frames: np.ndarray, labels: np.ndarray | None, rng: np.random.Generator, config: AugmentConfig
) -> tuple[np.ndarray, np.ndarray | None]:
    """Turn, scale and shift all frames alike. Outside is black and background."""
    height, width = frames.shape[1:]
    turn = np.deg2rad(rng.normal(0, config.turn / 2))
    zoom = np.exp(rng.uniform(-config.zoom, config.zoom) + np.array([1, -1]) * rng.normal(0, config.stretch / 2))
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * zoom
    middle = np.array([width, height]) / 2
    shift = middle - matrix @ middle + rng.normal(0, config.shift / 2, 2) * [width, height]
    whole = np.column_stack([matrix, shift])
    out = np.stack([cv2.warpAffine(frame, whole, (width, height), flags=cv2.INTER_LINEAR) for frame in frames])
    if labels is None:
        return out, None
    # A label belongs to the pixel nearest to it, and a small one must not vanish between pixels.
    return out, np.stack([cv2.warpAffine(f, whole, (width, height), flags=cv2.INTER_NEAREST) for f in labels])


def change_look(frames: np.ndarray, rng: np.random.Generator, config: AugmentConfig) -> np.ndarray:
    """Another look for ``frames``, float32 0…1 [T, H, W]; the result has the same shape and range."""
    if config.strength <= 0:
        return frames
    shape = frames.shape[1:]
    s = config.strength * rng.uniform(0.1, 1)

    def chosen(share: float = config.share) -> bool:
        return bool(rng.random() < share)

    radius, angle = _polar(shape, rng)
    fan = (frames.max(0) > 0.01).astype(np.float32)  # additive changes stay where the machine draws
    fan = cv2.dilate(fan, np.ones((5, 5), np.uint8))
    x = frames
    if chosen():  # speckle of another size, moving or still
        x = x * np.exp(0.45 * s * rng.uniform(0.2, 1) * _grain(x.shape, rng, rng.uniform(0.5, 1.6), chosen(0.5)))
    if chosen():  # finer or coarser beam
        x = _blur(x, rng.uniform(0.2, 1.1) * s, rng.uniform(0.2, 1.1) * s)
    if chosen(0.3):  # a lower resolution on the way
        side = rng.uniform(0.4, 0.9)
        small = (max(8, round(shape[1] * side)), max(8, round(shape[0] * side)))
        x = np.stack([cv2.resize(cv2.resize(f, small, interpolation=cv2.INTER_AREA), shape[::-1]) for f in x])
    if chosen():  # walls that drop out, gain that differs over the picture
        x = x * np.exp(s * rng.uniform(0.2, 0.8) * _field(shape, rng, rng.uniform(8, 30)))
    if chosen():  # gain along the depth
        x = x * np.exp(s * rng.normal(0, 0.8) * (radius - 0.5))
    for _ in range(rng.integers(1, 4) if chosen(0.35) else 0):  # shadows of ribs and lung
        x = x * (1 - rng.uniform(0.3, 0.95) * s * _wedge(angle, rng, 0.04, 0.25) * (radius > rng.uniform(0, 0.4)))
    if chosen(0.3):  # streaks along the beam
        lines = sum(_wedge(angle, rng, 0.004, 0.02) for _ in range(rng.integers(2, 14)))
        x = x + fan * s * rng.uniform(0.03, 0.25) * lines
    if chosen(0.35):  # haze that fills the cavities
        x = x + fan * s * rng.uniform(0.05, 0.3) * np.clip(_field(shape, rng, rng.uniform(6, 25)), 0, 2)
    if chosen(0.25):  # clutter under the probe
        grain = np.abs(_grain(x.shape, rng, 1.2, chosen(0.5)))
        x = x + fan * s * rng.uniform(0.1, 0.5) * np.exp(-radius / rng.uniform(0.08, 0.25)) * grain
    x = _tone(np.clip(x, 0, None), rng, s)
    if chosen(0.3):
        x = x * _sector(radius, angle, rng)
    if chosen():
        noise = rng.standard_normal(x.shape, np.float32)
        x = x + s * rng.uniform(0.01, 0.06) * (noise * fan if chosen(0.7) else noise)
    x = np.clip(x, 0, 1)
    if chosen(0.25):
        x = _compressed(x, int(rng.integers(12, 70)))
    if chosen(0.15):  # marks and letters that a machine burns in
        x = _marks(x, rng)
    return x.astype(np.float32)


def _polar(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distance from a probe at the upper edge in shares of the side, and the angle in radians, each (H, W)."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    rows, columns = rows - rng.uniform(-4, 8), columns - shape[1] / 2 - rng.normal(0, 3)
    return np.hypot(rows, columns) / shape[0], np.arctan2(columns, np.maximum(rows, 1e-3))


def _grain(shape: tuple[int, ...], rng: np.random.Generator, size: float, still: bool) -> np.ndarray:
    noise = rng.standard_normal((1 if still else shape[0], *shape[1:]), np.float32)
    noise = _blur(noise, size * rng.uniform(1, 1.8), size)
    return np.asarray(noise / (noise.std() + 1e-6))


def _field(shape: tuple[int, ...], rng: np.random.Generator, size: float) -> np.ndarray:
    """A smooth random field (H, W) of unit variance whose bumps are about ``size`` pixels wide."""
    small = tuple(max(3, round(side / size * 2)) for side in shape)
    field = cv2.resize(rng.standard_normal(small, np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(field / (field.std() + 1e-6))


def _wedge(angle: np.ndarray, rng: np.random.Generator, narrow: float, wide: float) -> np.ndarray:
    centre, width = rng.uniform(-0.75, 0.75), rng.uniform(narrow, wide)
    return np.asarray(np.exp(-(((angle - centre) / width) ** 4)))


def _sector(radius: np.ndarray, angle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """1 inside a sector of another opening and depth, 0 outside."""
    half = rng.uniform(0.45, 0.85)
    lean = rng.normal(0, 0.05)
    return ((np.abs(angle - lean) < half) & (radius < rng.uniform(0.78, 1.1))).astype(np.float32)


def _blur(frames: np.ndarray, across: float, along: float) -> np.ndarray:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigmaX=across, sigmaY=along) for frame in frames])


def _tone(frames: np.ndarray, rng: np.random.Generator, s: float) -> np.ndarray:
    """Gain, gamma, pedestal and a soft ceiling, as dynamic range and grey map of a machine give."""
    gain = np.exp(s * rng.normal(0, 0.35))
    gamma = np.exp(s * rng.normal(0, 0.35))
    x = (np.clip(frames * gain, 0, 2)) ** gamma
    if rng.random() < 0.4:  # what is dim is cut off
        x = np.clip(x - s * rng.uniform(0, 0.1), 0, None)
    if rng.random() < 0.5:
        ceiling = rng.uniform(0.5, 1.0)
        x = ceiling * np.tanh(x / ceiling)
    return np.asarray(x * rng.uniform(0.5, 1.1) if rng.random() < 0.4 else x)


def _compressed(frames: np.ndarray, quality: int) -> np.ndarray:
    out = []
    for frame in np.round(frames * 255).astype(np.uint8):
        _, code = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
        out.append(np.asarray(cv2.imdecode(code, cv2.IMREAD_GRAYSCALE)))
    return np.stack(out).astype(np.float32) / 255


def _marks(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = frames.shape[1:]
    drawn = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(1, 4)):
        place = (int(rng.integers(0, width - 10)), int(rng.choice([rng.integers(6, 16), height - rng.integers(2, 14)])))
        text = "".join(chr(c) for c in rng.integers(48, 91, rng.integers(1, 6)))
        cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_PLAIN, float(rng.uniform(0.4, 0.8)), 255)
    return np.maximum(frames, drawn * np.float32(rng.uniform(0.4, 1) / 255))
