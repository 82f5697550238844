"""From scatterers to a picture: beams, point-spread function, attenuation, noise, clutter, scan conversion.

Echoes are summed as complex amplitudes on a grid of ranges and beams, blurred along and across the beam, and detected;
the logarithm of the envelope is then drawn in the sector.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from models.phantoms.fields import smooth_field

RANGE_STEP_MM = 0.75
BEAM_STEP = float(np.deg2rad(0.75))
NEAR_MM = 55.0  # up to here the beam is wider in angle than further away


@dataclass(frozen=True)
class Acquisition:
    """How one clip was taken. Lengths in mm, angles in radians, levels in dB relative to the mean echo of muscle."""

    depth: float
    side: float  # of the square picture
    half_angle: float
    axial: float  # standard deviation of the pulse
    lateral: float  # standard deviation of the beam, radians
    carrier: float  # wavelength of the interference pattern in depth
    grey: float  # grey level of muscle
    dynamic_range: float
    curve: float  # exponent of the grey map
    attenuation: float  # dB per 100 mm that the machine leaves uncorrected
    noise_db: float
    noise_rise: float  # dB by which noise grows to the bottom
    haze_db: float
    haze_mm: float
    band_db: float
    shadows: tuple[tuple[float, float, float, float], ...]  # angle, width, dB, first depth
    streaks: float  # dB by which the noisiest beams exceed the rest
    uneven: float  # dB, how much the gain varies over the sector
    smoothing: float  # of the compressed picture, mm
    reduction: float  # share of speckle reduction: of a more widely smoothed picture
    persistence: float  # s, over which successive frames are averaged
    fade: float  # how much the sides of the sector are dimmed, dB


def acquisition(rng: np.random.Generator, depth: float) -> Acquisition:
    """A plausible acquisition to ``depth`` mm."""
    half = np.deg2rad(rng.uniform(34, 44))
    haze = float(rng.uniform(-16, -3))
    shadows = []
    for _ in range(int(rng.integers(0, 4))):
        side = rng.choice([-1, 1])
        shadows.append(
            (
                float(side * rng.uniform(0.3, 1.0) * half),
                float(np.deg2rad(rng.uniform(3, 10))),
                float(rng.uniform(4, 16)),
                float(rng.uniform(10, 90)),
            )
        )
    return Acquisition(
        depth=depth,
        side=float(max(depth * 1.03, 2 * depth * np.sin(half) * rng.uniform(0.76, 0.93))),
        half_angle=float(half),
        axial=float(rng.uniform(0.9, 1.4)),
        lateral=float(np.deg2rad(rng.uniform(1.0, 1.7))),
        carrier=float(rng.uniform(2.5, 4.5)),
        grey=float(rng.uniform(62, 112)),
        dynamic_range=float(rng.uniform(50, 66)),
        curve=float(rng.uniform(1.0, 1.35)),
        attenuation=float(rng.uniform(-2, 7)),
        noise_db=float(rng.uniform(-34, -23)),
        noise_rise=float(rng.uniform(2, 10)),
        haze_db=haze,
        haze_mm=float(rng.uniform(22, 40) - 1.6 * (haze + 10)),
        band_db=float(rng.uniform(-6, 4)),
        shadows=tuple(shadows),
        streaks=float(rng.uniform(0, 1) ** 4 * 5),
        uneven=float(rng.uniform(0.8, 1.8)),
        smoothing=float(rng.uniform(0.5, 1.1)),
        reduction=float(rng.uniform(0.1, 0.5)),
        persistence=float(rng.uniform(0.004, 0.024)),
        fade=float(rng.uniform(3, 16)),
    )


class Scanner:
    """One acquisition ready to take frames: everything that does not move is made once.

    ``density``: scatterers per mm², by which the brightness of muscle is set to 1.
    """

    def __init__(self, setting: Acquisition, density: float, rng: np.random.Generator, size: int) -> None:
        self.setting = setting
        self.ranges = np.arange(1.0, setting.depth, RANGE_STEP_MM, dtype=np.float32)
        margin = 4 * BEAM_STEP
        count = int(np.ceil(2 * (setting.half_angle + margin) / BEAM_STEP))
        self.first_angle = -BEAM_STEP * (count - 1) / 2
        self.angles = (self.first_angle + BEAM_STEP * np.arange(count)).astype(np.float32)
        self.shape = (len(self.ranges), count)
        self.wide = [_kernel(2.2 / step, mean=True) for step in (RANGE_STEP_MM, 0.7 * BEAM_STEP * 100)]
        self.smooth = [_kernel(setting.smoothing / step, mean=True) for step in (RANGE_STEP_MM, BEAM_STEP * 100)]
        self.axial = _kernel(setting.axial / RANGE_STEP_MM)
        self.lateral = _kernel(setting.lateral / BEAM_STEP)
        self.near_lateral = _kernel(3 * setting.lateral / BEAM_STEP)
        self.near = np.clip(1 - self.ranges / NEAR_MM, 0, 1)[: int(NEAR_MM / RANGE_STEP_MM)][:, None, None] ** 0.7
        # Scatterers per cell grow with depth; the machine corrects for it.
        per_cell = density * RANGE_STEP_MM * BEAM_STEP * self.ranges
        self.gain = (1 / np.sqrt(per_cell))[:, None] * self._transmission(rng)
        self.still = self._clutter(rng)
        self.noise, self.noise_gain = self._noise(rng)
        self.mm_per_px, self.maps = self._scan_maps(size)
        self.size = size

    def envelope(self, x: np.ndarray, z: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
        """Echo amplitude of scatterers alone, before noise and compression, float32 [ranges, beams, 2]."""
        rows, columns = self.shape
        radius = np.sqrt(x * x + z * z)
        place_r = (radius - self.ranges[0]) / np.float32(RANGE_STEP_MM)
        place_a = (np.arctan2(x, z) - np.float32(self.first_angle)) / np.float32(BEAM_STEP)
        seen = np.flatnonzero((place_r >= 0) & (place_r < rows - 1) & (np.abs(place_a - columns / 2) < columns / 2 - 1))
        radius, place_r, place_a, amplitude = radius[seen], place_r[seen], place_a[seen], amplitude[seen]
        turn = radius * np.float32(2 * np.pi / self.setting.carrier)
        cosine, sine = np.cos(turn), np.sin(turn)
        real = amplitude.real * cosine - amplitude.imag * sine
        imaginary = amplitude.real * sine + amplitude.imag * cosine
        low_r, low_a = place_r.astype(np.int32), place_a.astype(np.int32)
        part_r, part_a = place_r - low_r, place_a - low_a
        cell = low_r.astype(np.int64) * columns + low_a
        index = np.concatenate([cell, cell + 1, cell + columns, cell + columns + 1])
        far = part_r * part_a
        weight = np.stack([1 - part_r - part_a + far, part_a - far, part_r - far, far])
        out = np.empty((rows, columns, 2), np.float32)
        out[..., 0] = np.bincount(index, (weight * real).ravel(), rows * columns).reshape(rows, columns)
        out[..., 1] = np.bincount(index, (weight * imaginary).ravel(), rows * columns).reshape(rows, columns)
        out *= self.gain[..., None]
        return self._blur(out)

    def picture(
        self, echo: np.ndarray, rng: np.random.Generator, last: np.ndarray | None, fps: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Grey frame uint8 [size, size] of ``echo`` with this scanner's clutter and fresh noise.

        Also returns what to give as ``last`` for the next frame, ``1 / fps`` seconds later.
        """
        rows, columns = self.shape
        from_r, from_a = rng.integers(0, self.noise.shape[0] - rows), rng.integers(0, self.noise.shape[1] - columns)
        fresh = self.noise[from_r : from_r + rows, from_a : from_a + columns]
        beams = np.exp(0.25 * rng.standard_normal(columns, np.float32))
        total = echo + self.still * np.float32(1 + 0.05 * rng.standard_normal())
        total += fresh * (self.noise_gain * beams)[..., None]
        power = total[..., 0] ** 2 + total[..., 1] ** 2
        setting = self.setting
        grey = np.log10(power + np.float32(1e-8)) * np.float32(10 / setting.dynamic_range)
        grey += np.float32((setting.grey / 255) ** (1 / setting.curve))
        grey = np.clip(grey, 0, 1)
        if last is not None:
            kept = np.float32(np.exp(-1 / (fps * setting.persistence)))
            grey = grey * (1 - kept) + last * kept
        drawn = cv2.sepFilter2D(grey, -1, self.smooth[1], self.smooth[0], borderType=cv2.BORDER_REFLECT)
        soft = cv2.sepFilter2D(grey, -1, self.wide[1], self.wide[0], borderType=cv2.BORDER_REFLECT)
        drawn = cv2.addWeighted(drawn, 1 - setting.reduction, soft, setting.reduction, 0)
        drawn = cv2.remap(drawn, *self.maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        if drawn.shape[0] != self.size:
            drawn = cv2.resize(drawn, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.rint(255 * np.clip(drawn, 0, 1) ** setting.curve).astype(np.uint8), grey

    def _transmission(self, rng: np.random.Generator) -> np.ndarray:
        setting = self.setting
        db = np.repeat(-setting.attenuation * (self.ranges / 100 - 0.8)[:, None], self.shape[1], axis=1)
        across = np.abs(self.angles) / setting.half_angle
        db -= setting.fade * np.clip((across - 0.55) / 0.45, 0, 1)[None] ** 2
        for angle, width, depth_db, start in setting.shadows:
            side = np.exp(-(((self.angles - angle) / width) ** 2))
            db -= depth_db * side[None] * (1 / (1 + np.exp(-(self.ranges - start) / 8)))[:, None]
        db = db + setting.uneven * smooth_field(self.shape, 18, rng)
        ripple = cv2.GaussianBlur(rng.standard_normal((1, self.shape[1])).astype(np.float32), (0, 0), 1.5)
        db = db + 1.5 * setting.uneven * ripple
        return (10 ** (db / 20)).astype(np.float32)

    def _clutter(self, rng: np.random.Generator) -> np.ndarray:
        """What stays while the heart moves: haze under the probe and bands along the skin, float32 [*shape, 2]."""
        setting = self.setting
        grain = self._speckle(rng, self.shape)
        haze = setting.haze_db - 8.7 * (self.ranges / setting.haze_mm)[:, None] + 3 * smooth_field(self.shape, 12, rng)
        amplitude = np.power(10.0, haze / 20)
        for _ in range(int(rng.integers(2, 5))):
            at, thick = rng.uniform(3, 30), rng.uniform(0.6, 2.0)
            band = np.exp(-(((self.ranges - at) / thick) ** 2))[:, None]
            level = setting.band_db - 0.35 * at + 3 * smooth_field((1, self.shape[1] + 8), 9, rng)[:, : self.shape[1]]
            amplitude = amplitude + band * 10 ** (level / 20)
        edge = np.clip((setting.half_angle - np.abs(self.angles)) / (0.3 * setting.half_angle), 0, 1)
        return (grain * (amplitude * edge)[..., None]).astype(np.float32)

    def _noise(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A field of noise to cut fresh pieces from, and its amplitude at every range and beam."""
        rows, columns = self.shape
        field = rng.standard_normal((rows + 90, columns + 60, 2), np.float32)
        fine = _kernel(0.7 * self.setting.axial / RANGE_STEP_MM)
        wide = _kernel(1.5 * self.setting.lateral / BEAM_STEP)
        grain = cv2.sepFilter2D(field, -1, wide, fine, borderType=cv2.BORDER_REFLECT)
        rise = self.setting.noise_db + self.setting.noise_rise * (self.ranges / self.setting.depth)[:, None]
        streak = np.abs(cv2.GaussianBlur(rng.standard_normal((1, columns)).astype(np.float32), (0, 0), 0.8)) ** 2
        db = rise + np.minimum(self.setting.streaks * (streak / streak.mean() - 1), 9)
        return grain * np.float32(0.5**0.5), np.power(10, db / 20).astype(np.float32)

    def _speckle(self, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
        field = rng.standard_normal((*shape, 2), np.float32) * np.float32(0.5**0.5)
        return self._blur(field)

    def _blur(self, echo: np.ndarray) -> np.ndarray:
        """The point-spread function: a beam of constant angle far away, of constant width near the probe."""
        out = cv2.sepFilter2D(echo, -1, self.lateral, self.axial, borderType=cv2.BORDER_REFLECT)
        rows = len(self.near)
        close = cv2.sepFilter2D(echo[: rows + 8], -1, self.near_lateral, self.axial, borderType=cv2.BORDER_REFLECT)
        # Both parts are weighted such that the power stays the same.
        out[:rows] = out[:rows] * np.sqrt(1 - self.near) + close[:rows] * np.sqrt(self.near)
        return out

    def _scan_maps(self, size: int) -> tuple[float, tuple[np.ndarray, np.ndarray]]:
        side = self.setting.side
        drawn = size * (2 if size <= 160 else 1)
        x, z = grid(side / drawn, drawn)
        radius, angle = np.hypot(x, z), np.arctan2(x, z)
        rows = (radius - self.ranges[0]) / RANGE_STEP_MM
        columns = (angle - self.first_angle) / BEAM_STEP
        outside = (np.abs(angle) > self.setting.half_angle) | (radius > self.setting.depth - 1) | (z <= 0)
        rows[outside] = -10
        return float(side / size), (columns.astype(np.float32), rows.astype(np.float32))


def grid(mm_per_px: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """``x``, ``z`` in mm from the probe at the centres of the pixels, float32 [size, size]; a margin of 1 % on top."""
    at = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(mm_per_px)
    x, z = np.meshgrid(at - np.float32(size * mm_per_px / 2), at - np.float32(0.01 * size * mm_per_px))
    return x, z


def _kernel(sigma: float, mean: bool = False) -> np.ndarray:
    """Gaussian with unit energy, so that white noise keeps its power, or with unit sum for a ``mean``."""
    reach = int(np.ceil(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (taps / (taps.sum() if mean else np.sqrt((taps**2).sum()))).astype(np.float32)
