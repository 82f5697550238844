"""Apical four-chamber clips of patients who do not exist, with everything about them known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from models.phantoms.echo.anatomy import Patient, Shape, patient, shape
from models.phantoms.echo.cycle import fullness, timing, valve_opening
from models.phantoms.echo.imaging import Scanner, acquisition, grid
from models.phantoms.echo.labels import Pose, draw_labels
from models.phantoms.echo.motion import Motion, carry, move
from models.phantoms.echo.tissue import DENSITY_PER_MM2, ELEVATION_MM, SLAB_MM, Scatterers, scatterers
from models.phantoms.echo.valves import Leaflets, leaflets

MIN_EF, MAX_EF = 5.0, 85.0
MIN_RATE, MAX_RATE = 40.0, 140.0


@dataclass(frozen=True)
class EchoClip:
    """One clip and its truth.

    ``frames`` uint8 [T, H, W]; ``labels`` uint8 [T, H, W], indices into :data:`LABELS`; ``phase`` float32 [T] in 0…1,
    0 at end-diastole; ``volumes_ml`` float32 [T], the geometry's left ventricle by area and length; ``ef`` percent,
    from the geometry at end-diastole and end-systole, whether or not a frame falls on them; ``end_diastole`` and
    ``end_systole``: frames nearest to them.
    """

    frames: np.ndarray
    labels: np.ndarray
    phase: np.ndarray
    volumes_ml: np.ndarray
    ef: float
    heart_rate: float
    fps: float
    mm_per_px: float
    seed: int
    variant: int
    end_diastole: tuple[int, ...]
    end_systole: tuple[int, ...]


def clip(
    seed: int,
    *,
    ef: float,
    heart_rate: float = 70,
    frames: int = 64,
    fps: float = 32,
    size: int = 112,
    variant: int = 0,
    start: float = 0.0,
) -> EchoClip:
    """Draw a clip. ``seed`` is the patient, ``variant`` another acquisition of the same one, both from 0.

    ``ef``: 5–85 %. ``heart_rate``: 40–140 a minute. ``start``: phase of the first frame. The end-diastolic heart of a
    patient does not depend on ``ef``. Raises ``ValueError`` outside these ranges, or for no frames, a rate of 0 or a
    side under 32 pixels.
    """
    if not MIN_EF <= ef <= MAX_EF or not MIN_RATE <= heart_rate <= MAX_RATE:
        raise ValueError(f"EF {ef} or heart rate {heart_rate} is out of range")
    if frames < 1 or fps <= 0 or size < 32:
        raise ValueError(f"{frames} frames of {size} pixels at {fps} a second")
    view = scene(seed, ef=ef, heart_rate=heart_rate, frames=frames, fps=fps, size=size, variant=variant, start=start)
    ends = move(view.patient, view.heart, ef, np.array([1.0, 0.0])).volumes_ml
    return EchoClip(
        frames=view.render(),
        labels=draw_labels(view.patient, view.heart, view.motion, view.pose, *grid(view.scanner.mm_per_px, size)),
        phase=np.mod(view.beats, 1.0).astype(np.float32),
        volumes_ml=view.motion.volumes_ml.astype(np.float32),
        ef=float(100 * (1 - ends[1] / ends[0])),
        heart_rate=float(heart_rate),
        fps=float(fps),
        mm_per_px=view.scanner.mm_per_px,
        seed=seed,
        variant=variant,
        end_diastole=_nearest(view.beats, 0.0),
        end_systole=_nearest(view.beats, timing(heart_rate).end_systole),
    )


@dataclass(frozen=True)
class Scene:
    """Everything a clip is drawn from. ``beats`` float [T]: phase that does not wrap; ``sway`` [T]: mm out of plane."""

    patient: Patient
    heart: Shape
    beats: np.ndarray
    motion: Motion
    pose: Pose
    sway: np.ndarray
    tissue: Scatterers
    valves: Leaflets
    scanner: Scanner
    fps: float
    seed: tuple[int, int]

    def echoes(self) -> Iterator[np.ndarray]:
        """Complex echoes before noise and compression, float32 [ranges, beams, 2], frame by frame."""
        tissue, valves = self.tissue, self.valves
        across, along = tissue.carried.positions(self.motion, self.heart)
        slab = np.float32(SLAB_MM)
        for frame in range(len(self.beats)):
            x, z = self.pose.place(across[frame], along[frame], frame)
            height = np.mod(tissue.height + np.float32(self.sway[frame] + SLAB_MM / 2), slab) - slab / 2
            seen = _ELEVATION_GAIN * np.exp(np.float32(-0.5 / ELEVATION_MM**2) * height * height)
            leaf_x, leaf_z = self.pose.place(valves.u[frame], valves.w[frame], frame)
            facing = np.abs(np.cos(valves.normal[frame] - np.arctan2(leaf_x, leaf_z) + self.pose.tilt[frame]))
            yield self.scanner.envelope(
                np.concatenate([x, leaf_x]),
                np.concatenate([z, leaf_z]),
                np.concatenate([tissue.amplitude * seen, valves.amplitude * (0.4 + 0.8 * facing)]),
            )

    def render(self) -> np.ndarray:
        """Grey frames uint8 [T, size, size]."""
        rng = np.random.default_rng([self.seed[0], 4, self.seed[1]])
        size = self.scanner.size
        pictures = np.empty((len(self.beats), size, size), np.uint8)
        last = None
        for frame, echo in enumerate(self.echoes()):
            pictures[frame], last = self.scanner.picture(echo, rng, last, self.fps)
        return pictures

    def follow(self, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Paths of tissue, float32 [T, P] each, in mm from the probe.

        ``x``, ``z``: where the tissue is at end-diastole when the heart lies as it does in frame 0.
        """
        u, w = self.pose.undo(x, z, 0)
        row = np.clip(np.rint(w - self.heart.levels[0]).astype(int), 0, len(self.heart.levels) - 1)
        across, along = carry(self.heart, u - self.heart.bend[row], w).positions(self.motion, self.heart)
        placed = [self.pose.place(across[frame], along[frame], frame) for frame in range(len(self.beats))]
        return np.stack([at[0] for at in placed]), np.stack([at[1] for at in placed])


def scene(
    seed: int, *, ef: float, heart_rate: float, frames: int, fps: float, size: int, variant: int, start: float
) -> Scene:
    """What :func:`clip` draws, for the same arguments."""
    who = _seen_again(patient(seed), variant)
    rng = np.random.default_rng([seed, 2, variant])
    heart = shape(who)
    beats = start + np.arange(frames) * heart_rate / (60.0 * fps)
    at = timing(heart_rate)
    full = fullness(beats, at, who.early_share)
    motion = move(who, heart, ef, full)
    apex = float(rng.uniform(20, 36))
    depth = apex + max(heart.la_end, heart.ra_end) + float(rng.uniform(3, 26))
    setting = acquisition(rng, depth)
    pose, sway, rest = _pose(beats, full, apex, rng, fps, ef)
    return Scene(
        patient=who,
        heart=heart,
        beats=beats,
        motion=motion,
        pose=pose,
        sway=sway,
        tissue=scatterers(who, heart, rest, depth, setting.half_angle, rng),
        valves=leaflets(who, heart, motion, valve_opening(beats, at), rng),
        scanner=Scanner(setting, DENSITY_PER_MM2, rng, size),
        fps=fps,
        seed=(seed, variant),
    )


# The beam's weight across the slab, such that its mean square is 1.
_ELEVATION_GAIN = np.float32(
    1 / np.sqrt(np.mean(np.exp(-(np.linspace(-SLAB_MM / 2, SLAB_MM / 2, 501) ** 2) / ELEVATION_MM**2)))
)


def _seen_again(who: Patient, variant: int) -> Patient:
    """The same patient from a slightly other place: another acquisition foreshortens and cuts a little differently."""
    if variant == 0:
        return who
    rng = np.random.default_rng([who.seed, 3, variant])
    near = lambda value, amount: value * float(np.exp(rng.normal(0, amount)))  # noqa: E731
    return replace(
        who,
        lv_length=near(who.lv_length, 0.02),
        lv_radius=near(who.lv_radius, 0.02),
        la_length=near(who.la_length, 0.04),
        la_radius=near(who.la_radius, 0.04),
        rv_width=near(who.rv_width, 0.08),
        ra_width=near(who.ra_width, 0.06),
        bend=who.bend + float(rng.normal(0, 0.7)),
    )


def _pose(
    beats: np.ndarray, full: np.ndarray, apex: float, rng: np.random.Generator, fps: float, ef: float
) -> tuple[Pose, np.ndarray, Pose]:
    """Where the heart lies in every frame, how many mm the tissue has moved through the plane, and the pose at rest."""
    seconds = np.arange(len(beats)) / fps
    breath = np.sin(2 * np.pi * (seconds / rng.uniform(3.5, 6) + rng.random()))
    effort = (1 - full) * min(1.0, ef / 60)
    x, tilt = rng.normal(0, 6), np.deg2rad(rng.normal(0, 8.5))
    sway = rng.uniform(2, 5.5) * effort + rng.uniform(0.2, 1.2) * breath
    sway = sway + rng.uniform(0, 0.6) * np.sin(2 * np.pi * (beats + rng.random()))
    swing = np.sin(2 * np.pi * (beats - 0.1))
    pose = Pose(
        x + rng.uniform(0, 1.2) * breath + rng.normal(0, 1.0) * effort + rng.normal(0, 0.35) * swing,
        apex + rng.uniform(0, 1.0) * breath + rng.normal(0, 0.6) * effort,
        tilt + np.deg2rad(rng.normal(0, 1.6) * effort + rng.normal(0, 0.4) * breath),
    )
    return pose, sway, Pose(np.array([x]), np.array([apex]), np.array([tilt]))


def _nearest(beats: np.ndarray, phase: float) -> tuple[int, ...]:
    """Frames nearest to each passing of ``phase`` within half a frame of the clip."""
    step = float(beats[1] - beats[0]) if len(beats) > 1 else 1e-9
    turns = np.arange(np.floor(beats[0]) - 1, np.ceil(beats[-1]) + 2) + phase
    frames = np.rint((turns - beats[0]) / step).astype(int)
    return tuple(int(frame) for frame in frames if 0 <= frame < len(beats))
