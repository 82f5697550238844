"""Echo phantoms: identity, the requested ejection fraction in the truth, physics of speckle, likeness to a clip."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.pixels import pixel_array
from scipy import ndimage

from models.echo.volumes import area_length
from models.phantoms.echo import LABELS, EchoClip, clip, patient
from models.phantoms.echo.anatomy import shape
from models.phantoms.echo.cycle import fullness, timing, valve_opening
from models.phantoms.echo.imaging import Scanner, acquisition, grid
from models.phantoms.echo.labels import LEFT_VENTRICLE, MYOCARDIUM, Pose, draw_labels
from models.phantoms.echo.motion import carry, move
from models.phantoms.echo.phantom import scene

RATES = (40, 70, 100, 140)
SEEDS = range(6)


@pytest.fixture(scope="module")
def clips() -> list[EchoClip]:
    return [clip(seed, ef=55, frames=30, fps=30) for seed in range(8)]


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    """The apical four-chamber clip in pydicom, its sector as grey frames [30, 112, 112]."""
    path = get_testdata_file("examples_ybr_color.dcm")
    assert isinstance(path, str)
    grey = pixel_array(path)[:, 15:207, 74:266].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.stack([cv2.resize(frame, (112, 112), interpolation=cv2.INTER_AREA) for frame in grey])


def test_a_clip_is_what_the_contract_says() -> None:
    made = clip(3, ef=55, heart_rate=70, frames=20, fps=16, start=0.25)
    assert made.frames.shape == made.labels.shape == (20, 112, 112)
    assert made.frames.dtype == made.labels.dtype == np.uint8
    assert made.phase.dtype == made.volumes_ml.dtype == np.float32
    assert np.allclose(made.phase, (0.25 + np.arange(20) * 70 / (60 * 16)) % 1, atol=1e-6)
    assert made.labels.max() == len(LABELS) - 1
    assert 1.2 < made.mm_per_px < 2.6
    assert (made.seed, made.variant, made.fps, made.heart_rate) == (3, 0, 16, 70)
    assert clip(3, ef=55, frames=2, size=160).frames.shape == (2, 160, 160)


@pytest.mark.parametrize(
    "wrong",
    [{"ef": 4}, {"ef": 86}, {"heart_rate": 39}, {"heart_rate": 141}, {"frames": 0}, {"fps": 0}, {"size": 16}],
)
def test_what_cannot_be_drawn_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"range|frames"):
        clip(0, **{"ef": 50, **wrong})  # type: ignore[arg-type]


def test_the_seed_is_the_patient() -> None:
    first, again = (clip(5, ef=40, frames=6, fps=16) for _ in range(2))
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.labels, again.labels)
    other = clip(5, ef=40, frames=6, fps=16, variant=1)
    assert not np.array_equal(first.frames, other.frames)
    assert patient(5) == patient(5) != patient(6)
    near = [clip(seed, ef=40, frames=1, variant=1).volumes_ml[0] for seed in SEEDS]
    volumes = [clip(seed, ef=40, frames=1).volumes_ml[0] for seed in SEEDS]
    assert np.abs(np.subtract(near, volumes)).mean() < 0.5 * np.std(volumes)


def test_the_end_diastolic_frame_does_not_tell_the_ejection_fraction() -> None:
    low, high = clip(2, ef=20, frames=3), clip(2, ef=70, frames=3)
    assert np.array_equal(low.frames[0], high.frames[0])
    assert np.array_equal(low.labels[0], high.labels[0])


@pytest.mark.parametrize("rate", RATES)
def test_the_volume_follows_the_cycle(rate: int) -> None:
    at = timing(rate)
    marks = [0.0, at.ejection, at.relaxation, at.early, at.diastasis, at.atrial, 1.0]
    assert all(one <= other for one, other in pairwise(marks))
    phase = np.linspace(0, 1, 2001)[:-1]
    full = fullness(phase, at, 0.6)
    assert np.allclose(full[phase < at.ejection], 1), "isovolumic contraction"
    assert np.allclose(full[(phase > at.relaxation) & (phase < at.early)], 0), "isovolumic relaxation"
    steps = np.diff(full)
    assert (steps[phase[:-1] < at.relaxation] <= 1e-12).all()
    assert (steps[phase[:-1] > at.relaxation] >= -1e-12).all()
    assert full[-1] == pytest.approx(1, abs=1e-3)
    flow = np.abs(steps)
    ejecting = phase[:-1] < at.relaxation
    peak = phase[:-1][ejecting][flow[ejecting].argmax()]
    assert peak < 0.5 * (at.ejection + at.relaxation), "ejection is rapid first"
    opening = valve_opening(phase, at)
    assert opening[phase < at.early].max() == 0
    assert opening[phase > at.early].max() > 0.99


def test_a_faster_heart_takes_its_time_from_diastole() -> None:
    systole = [timing(rate).early * 60 / rate for rate in RATES]
    diastole = [60 / rate - seconds for rate, seconds in zip(RATES, systole, strict=True)]
    assert systole[0] / systole[-1] < 2 < diastole[0] / diastole[-1]


@pytest.mark.parametrize("ef", [5, 25, 45, 65, 85])
def test_the_geometry_has_the_requested_ejection_fraction(ef: int) -> None:
    for seed in range(20):
        who = patient(seed)
        end_diastolic, end_systolic = move(who, shape(who), ef, np.array([1.0, 0.0])).volumes_ml
        assert 100 * (1 - end_systolic / end_diastolic) == pytest.approx(ef, abs=0.02)
        assert 50 < end_diastolic < 300


@pytest.mark.parametrize("ef", [5, 30, 55, 85])
def test_the_masks_have_the_requested_ejection_fraction(ef: int) -> None:
    size = 448  # pixels: at 112 the rounding to whole pixels alone takes a point
    pose = Pose(np.zeros(2), np.full(2, 30.0), np.zeros(2))
    for seed in SEEDS:
        who = patient(seed)
        rest = shape(who)
        motion = move(who, rest, ef, np.array([1.0, 0.0]))
        labels = draw_labels(who, rest, motion, pose, *grid(190 / size, size))
        measured = [area_length(frame == LEFT_VENTRICLE, 190 / size).ml for frame in labels]
        assert 100 * (1 - measured[1] / measured[0]) == pytest.approx(ef, abs=1)
        assert np.allclose(measured, motion.volumes_ml, rtol=0.03)


def test_small_masks_have_it_on_average(clips: list[EchoClip]) -> None:
    errors = []
    for made in clips:
        volumes = [area_length(frame == LEFT_VENTRICLE, made.mm_per_px).ml for frame in made.labels]
        errors.append(100 * (1 - volumes[made.end_systole[0]] / volumes[made.end_diastole[0]]) - made.ef)
    assert np.abs(np.mean(errors)) < 1
    assert np.abs(errors).max() < 4


def test_ends_are_marked(clips: list[EchoClip]) -> None:
    for made in clips:
        assert made.ef == pytest.approx(55, abs=0.02)
        assert made.end_diastole[0] == 0
        largest, smallest = made.volumes_ml[list(made.end_diastole)], made.volumes_ml[list(made.end_systole)]
        assert np.allclose(largest, made.volumes_ml.max(), rtol=0.02)
        assert np.allclose(smallest, made.volumes_ml.min(), rtol=0.02)


def test_every_chamber_is_one_piece_in_its_place(clips: list[EchoClip]) -> None:
    for made in clips:
        for frame in made.labels[::6]:
            centre = {}
            for label in range(1, len(LABELS)):
                pieces, count = ndimage.label(frame == label)
                assert np.bincount(pieces.ravel())[1:].max() > 0.97 * (frame == label).sum()
                assert count
                centre[label] = ndimage.center_of_mass(frame == label)
            assert centre[3][0] > centre[1][0], "the atrium lies below the ventricle"
            assert centre[5][0] > centre[4][0]
            assert centre[4][1] < centre[1][1], "the right heart is on the left"
            assert centre[5][1] < centre[3][1]


def test_muscle_keeps_its_volume_and_so_thickens() -> None:
    who = patient(1)
    rest = shape(who)
    motion = move(who, rest, 60, np.array([1.0, 0.0]))
    middle = int(np.searchsorted(rest.levels, 0.5 * rest.mitral))
    inner, outer = motion.curves[:, 4, middle], motion.curves[:, 5, middle]
    step = np.gradient(motion.levels, axis=1)[:, middle]
    assert np.ptp((outer**2 - inner**2) * step) == pytest.approx(0, abs=1)
    assert 1.2 < (outer - inner)[1] / (outer - inner)[0] < 1.8


def test_nothing_folds_over() -> None:
    for seed in range(20):
        who = patient(seed)
        rest = shape(who)
        for ef in (5, 60, 85):
            motion = move(who, rest, ef, np.linspace(0, 1, 7))
            assert (np.diff(motion.levels, axis=1) > 0).all()
            assert (np.diff(motion.curves, axis=1) >= 0).all()


def test_tissue_keeps_its_place_between_the_walls() -> None:
    who = patient(4)
    rest = shape(who)
    motion = move(who, rest, 60, np.array([1.0, 0.0]))
    row = int(np.searchsorted(rest.levels, 40.0))
    walls = rest.curves[:, row]
    u, w = carry(rest, walls + 1e-9, np.full(6, rest.levels[row])).positions(motion, rest)
    assert np.allclose(u - rest.bend[row], motion.curves[:, :, row], atol=1e-3)
    assert np.allclose(w, motion.levels[:, row, None], atol=1e-3)


def test_speckle_is_fully_developed() -> None:
    rng = np.random.default_rng(0)
    setting = replace(acquisition(rng, 160.0), attenuation=0, fade=0, shadows=(), uneven=0)
    scanner = Scanner(setting, 1.1, rng, 112)
    count = int(160 * 240 * 1.1)
    ratios = []
    for _ in range(6):
        x, z = rng.uniform(-120, 120, count).astype(np.float32), rng.uniform(0, 160, count).astype(np.float32)
        noise = rng.standard_normal((2, count), np.float32)
        echo = scanner.envelope(x, z, ((noise[0] + 1j * noise[1]) * 0.5**0.5).astype(np.complex64))
        envelope = np.hypot(echo[90:-10, 20:-20, 0], echo[90:-10, 20:-20, 1])
        ratios.append(envelope.mean() / envelope.std())
        assert np.sqrt((envelope**2).mean()) == pytest.approx(1, rel=0.1), "muscle has an echo of 1"
    assert np.mean(ratios) == pytest.approx(np.sqrt(np.pi / (4 - np.pi)), rel=0.04), "Rayleigh: 1.91"


def test_speckle_moves_with_the_muscle() -> None:
    moved, unmoved = [], []
    for seed in SEEDS:
        view = scene(seed, ef=60, heart_rate=60, frames=30, fps=30, size=112, variant=0, start=0.0)
        made = view.render()
        scale = view.scanner.mm_per_px
        x, z = grid(scale, 112)
        label = draw_labels(view.patient, view.heart, view.motion, view.pose, x, z)[0]
        # Well away from the outline, which would move with the muscle even without speckle.
        muscle = ndimage.binary_erosion(label == MYOCARDIUM)
        there_x, there_z = view.follow(x[muscle], z[muscle])
        late = 8
        assert 1 < np.hypot(there_x[late] - x[muscle], there_z[late] - z[muscle]).mean() < 15
        first, after = (frame - ndimage.gaussian_filter(frame, 3.0) for frame in made[[0, late]].astype(np.float32))
        rows = (there_z[late] - z[0, 0]) / scale
        columns = (there_x[late] - x[0, 0]) / scale
        followed = ndimage.map_coordinates(after, [rows, columns], order=1)
        moved.append(np.corrcoef(first[muscle], followed)[0, 1])
        unmoved.append(np.corrcoef(first[muscle], after[muscle])[0, 1])
    assert np.mean(moved) > np.mean(unmoved) + 0.2
    assert np.mean(moved) > 0.35


def test_it_looks_like_a_real_clip(clips: list[EchoClip], real: np.ndarray) -> None:
    at = [50, 75, 90, 99]
    drawn = np.median([np.percentile(made.frames, at) for made in clips], axis=0)
    assert np.abs(drawn - np.percentile(real, at)).max() < 15
    change = np.median([_change(made.frames) for made in clips])
    assert change == pytest.approx(_change(real), rel=0.35)
    width = np.median([_half_widths(made.frames[::10]) for made in clips], axis=0)
    assert width == pytest.approx(_half_widths(real[::10]), rel=0.25)


def _change(frames: np.ndarray) -> float:
    frames = frames.astype(np.float32)
    return float(np.abs(np.diff(frames, axis=0)).mean() / frames.mean())


def _half_widths(frames: np.ndarray) -> np.ndarray:
    """Where the autocorrelation of the fine structure falls to one half, down and across, in pixels."""
    fine = [frame - ndimage.gaussian_filter(frame, 3.0) for frame in frames.astype(np.float32)]
    power = np.mean([np.abs(np.fft.fft2(np.pad(frame, (0, 112)))) ** 2 for frame in fine], axis=0)
    lags = np.fft.ifft2(power).real
    out = []
    for line in (lags[:20, 0], lags[0, :20]):
        line = line / line[0]
        below = int(np.argmax(line < 0.5))
        out.append(below - 1 + (line[below - 1] - 0.5) / (line[below - 1] - line[below]))
    return np.array(out)
