"""Beats in drawn volume curves whose ejection fraction and rate are known."""

from __future__ import annotations

import numpy as np
import pytest

from models.echo.beats import find_beats


def cycle(phase: np.ndarray) -> np.ndarray:
    """1 at end-diastole (phase 0), 0 at end-systole (.35): two isovolumic phases, early filling, pause, atrial kick."""
    phase = phase % 1
    fall = np.cos(np.pi * np.clip((phase - 0.05) / 0.3, 0, 1)) / 2 + 0.5
    early = 0.78 * (0.5 - np.cos(np.pi * np.clip((phase - 0.43) / 0.2, 0, 1)) / 2)
    kick = 0.22 * (0.5 - np.cos(np.pi * np.clip((phase - 0.82) / 0.18, 0, 1)) / 2)
    return np.where(phase < 0.35, fall, early + kick)


def curve(ef: float, rate: float, fps: float, frames: int, *, start: float = 0.0, noise: float = 0.0, seed: int = 0):
    phase = start + np.arange(frames) * rate / (60 * fps)
    volumes = 120 * (1 - ef / 100 * (1 - cycle(phase)))
    return volumes * (1 + noise * np.random.default_rng(seed).standard_normal(frames))


@pytest.mark.parametrize("fps", [16, 25, 32, 50, 64])
@pytest.mark.parametrize("ef", [10, 35, 60, 80])
@pytest.mark.parametrize("rate", [50, 72, 110])
def test_rate_and_ejection_fraction(fps: float, ef: float, rate: float) -> None:
    found = find_beats(curve(ef, rate, fps, int(4 * fps), start=0.3), fps)
    assert found.whole
    assert found.ef == pytest.approx(ef, abs=1.0 if fps >= 32 else 2.0)
    assert found.heart_rate == pytest.approx(rate, rel=0.04)
    assert len(found.es) == len(found.beat_ef)


@pytest.mark.parametrize("rate", [130, 150])
def test_fast_hearts_at_a_low_frame_rate(rate: float) -> None:
    for start in (0.0, 0.3, 0.6):
        found = find_beats(curve(50, rate, 16, 48, start=start), 16)
        assert found.whole
        assert found.heart_rate == pytest.approx(rate, rel=0.05)
        assert found.ef == pytest.approx(50, abs=5)


def test_frames_of_end_diastole_and_end_systole() -> None:
    found = find_beats(curve(60, 60, 32, 112, start=0.9), 32)
    assert found.es == pytest.approx([(0.49 + n) * 32 for n in range(len(found.es))], abs=2)
    assert found.ed[1:] == pytest.approx([(1.12 + n) * 32 for n in range(len(found.ed) - 1)], abs=2)
    assert found.smooth.shape == (112,)
    assert found.smooth.dtype == np.float32


@pytest.mark.parametrize("fps", [16, 32, 64])
def test_noise_of_four_percent_costs_little(fps: float) -> None:
    errors = [
        find_beats(curve(ef, 75, fps, int(3 * fps), start=seed / 20, noise=0.04, seed=seed), fps).ef - ef
        for seed in range(20)
        for ef in (25, 55)
    ]
    assert np.mean(np.abs(errors)) < 3.5
    assert abs(np.mean(errors)) < 3.0


def test_a_window_of_one_second_that_starts_at_end_diastole() -> None:
    found = find_beats(curve(50, 70, 16, 16), 16)
    assert found.ef == pytest.approx(50, abs=2.5)
    assert found.whole
    assert found.heart_rate == pytest.approx(70, rel=0.12)
    assert any("single beat" in note for note in found.notes)


def test_a_clip_that_starts_in_the_middle_of_systole_uses_whole_beats_only() -> None:
    found = find_beats(curve(60, 70, 32, 64, start=0.2), 32)
    assert found.ef == pytest.approx(60, abs=1.5)
    assert 0 not in found.ed


def test_a_second_that_starts_just_before_end_systole_holds_both_ends_of_a_beat() -> None:
    """Such is the real clip that comes with pydicom: it falls, rises to end-diastole and falls again."""
    found = find_beats(curve(50, 60, 30, 30, start=0.28), 30)
    assert found.whole
    assert found.es == pytest.approx([0.11 * 30], abs=1.5)
    assert found.ed == pytest.approx([0.74 * 30], abs=1.5)
    assert found.ef == pytest.approx(50, abs=1.5)
    assert found.heart_rate is None


def test_less_than_a_beat_says_so() -> None:
    falling = find_beats(curve(60, 60, 32, 10), 32)
    around = find_beats(curve(60, 60, 32, 16, start=0.2), 32)
    for found in (falling, around):
        assert not found.whole
        assert found.heart_rate is None
        assert any("less than one whole beat" in note for note in found.notes)
        assert 0 < found.ef < 60


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_a_flat_curve_says_so(noise: float) -> None:
    found = find_beats(curve(0, 70, 32, 64, noise=noise), 32)
    assert not found.whole
    assert found.ef < 4
    assert found.heart_rate is None
    assert any("hardly changes" in note for note in found.notes)


def test_pure_noise_is_no_beat() -> None:
    whole = [find_beats(curve(0, 70, 32, 64, noise=0.05, seed=seed), 32).whole for seed in range(40)]
    assert np.mean(whole) < 0.1


def test_irregular_beats() -> None:
    """Beats of .5 to 1.3 s whose stroke volumes differ: each is measured, the median is given."""
    rng = np.random.default_rng(3)
    pieces, efs, ends, now = [], [], [], 0.0
    for _ in range(8):
        seconds, ef = rng.uniform(0.5, 1.3), rng.uniform(35, 50)
        frames = round(seconds * 32)
        pieces.append(120 * (1 - ef / 100 * (1 - cycle(np.arange(frames) / frames))))
        efs.append(ef)
        ends.append(now + 0.39 * frames)
        now += frames
    found = find_beats(np.concatenate(pieces), 32)
    assert found.es == pytest.approx(ends, abs=2)
    assert found.beat_ef == pytest.approx(efs, abs=1.5)
    assert found.ef == pytest.approx(np.median(efs), abs=1.5)
    assert any("irregular" in note for note in found.notes)


def test_gaps_are_bridged() -> None:
    volumes = curve(50, 70, 32, 96)
    volumes[[3, 20, 21, 60]] = np.nan
    found = find_beats(volumes, 32)
    assert found.ef == pytest.approx(50, abs=2)
    assert np.isfinite(found.smooth).all()


def test_scale_does_not_matter() -> None:
    volumes = curve(42, 80, 32, 96, noise=0.02)
    assert find_beats(volumes * 1e-4, 32).ef == pytest.approx(find_beats(volumes, 32).ef)


@pytest.mark.parametrize("volumes", [[], [np.nan] * 5, [0.0] * 5, [80.0, 40.0]])
def test_nothing_to_measure(volumes: list[float]) -> None:
    found = find_beats(np.array(volumes), 32)
    assert np.isnan(found.ef)
    assert not found.whole
    assert found.notes


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="dimension"):
        find_beats(np.ones((3, 3)), 32)
    with pytest.raises(ValueError, match="frame rate"):
        find_beats(np.ones(30), 0)
