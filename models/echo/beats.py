"""Beats in a curve of ventricular volume: end-diastole, end-systole, ejection fraction and heart rate.

The curve is smoothed over a few hundredths of a second. End-systole is every valley that is deep beside the swing of
the whole curve; end-diastole is the highest frame before, between and after them. A beat is measured from the
end-diastole before its end-systole, as by hand; from the one after it where the clip starts too late.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy import ndimage, signal

FASTEST = 200.0
"""Beats per minute; valleys closer to each other than at this rate are one."""
FLAT = 0.03
"""A swing below this share of the largest volume is no beat."""
SMOOTHING_S = 0.02
"""Standard deviation of the Gaussian that smooths the curve, in seconds. It is short beside the isovolumic phases
(about 45 and 75 ms), in which the volume stands still. A local polynomial overshoots there, which costs more."""


@dataclass(frozen=True)
class Beats:
    """What a volume curve says.

    ``ed``, ``es``: frame indices of end-diastole and end-systole in order. ``beat_ef``: ejection fraction in % of every
    beat that could be measured, ``ef`` their median; NaN when there is no volume to measure. Where ``whole`` is false,
    no whole beat was found, and ``ef`` only compares the highest and the lowest volume. ``heart_rate``: beats per
    minute, ``None`` when less than two like moments of the cycle are in the clip. ``smooth``: the smoothed curve,
    float32 [T], gaps filled. ``notes``: plain sentences on what limits the result.
    """

    ed: tuple[int, ...]
    es: tuple[int, ...]
    beat_ef: tuple[float, ...]
    ef: float
    heart_rate: float | None
    whole: bool
    smooth: np.ndarray
    notes: tuple[str, ...] = ()


def find_beats(volumes: np.ndarray, fps: float) -> Beats:
    """Beats in ``volumes``, float [T] in any unit, NaN where there was none, at ``fps`` frames per second.

    Raises ``ValueError`` when ``volumes`` is not one-dimensional or ``fps`` is not above zero.
    """
    volumes = np.asarray(volumes, np.float64)
    if volumes.ndim != 1:
        raise ValueError(f"a curve has one dimension, not {volumes.ndim}")
    if not 0 < fps < np.inf:
        raise ValueError(f"the frame rate is a number above zero, not {fps}")
    known = np.isfinite(volumes)
    if not known.any() or np.nanmax(volumes) <= 0:
        return _nothing(np.full(len(volumes), np.nan, np.float32), "There is no volume to measure.")
    filled = np.interp(np.arange(len(volumes)), np.flatnonzero(known), volumes[known])
    smooth = _smooth(filled, fps)
    if len(smooth) < 3:
        return _nothing(smooth.astype(np.float32), "The clip is too short to hold a beat.")
    swing = float(smooth.max() - smooth.min())
    noise = _noise(filled)
    if swing < max(FLAT * smooth.max(), 4.5 * noise):
        return _extremes(smooth, "The volume hardly changes, so no beat can be told from noise.")
    es = _valleys(smooth, fps, max(0.3 * swing, 2.0 * noise), max(0.1 * swing, 2.0 * noise))
    if not es:
        return _extremes(smooth, "The clip holds less than one whole beat, so the ejection fraction is a lower bound.")
    return _measure(smooth, es, fps)


def _noise(curve: np.ndarray) -> float:
    """Standard deviation of frame-to-frame noise, from fourth differences, which a beating curve hardly has."""
    if len(curve) < 8:
        return 0.0
    return float(np.median(np.abs(np.diff(curve, 4)))) * 1.4826 / np.sqrt(70)


def _smooth(curve: np.ndarray, fps: float) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter1d(curve, SMOOTHING_S * fps, mode="nearest"))


def _valleys(smooth: np.ndarray, fps: float, depth: float, least: float) -> list[int]:
    """Frames of end-systole: valleys at least ``depth`` deep, ``least`` on a side that the clip cuts off.

    The first and the last frame are none: the curve may go deeper outside the clip.
    """
    distance = max(1.0, 60.0 / FASTEST * fps)
    outside = [smooth.max() + 10 * depth]
    found, _ = signal.find_peaks(-np.concatenate([outside, smooth, outside]), prominence=depth, distance=distance)
    return [
        int(frame)
        for frame in found - 1
        if 0 < frame < len(smooth) - 1 and min(smooth[:frame].max(), smooth[frame + 1 :].max()) - smooth[frame] >= least
    ]


def _measure(smooth: np.ndarray, es: list[int], fps: float) -> Beats:
    cuts = [0, *es, len(smooth)]
    # The highest frame of every stretch between end-systoles; the first and the last stretch may be cut by the clip.
    tops = [start + int(np.argmax(smooth[start:stop])) for start, stop in pairwise(cuts)]
    full = _full(smooth, es, tops)
    beat_ef: list[float] = []
    for index, valley in enumerate(es):
        top = tops[index] if full[index] else tops[index + 1] if full[index + 1] else None
        if top is not None:
            beat_ef.append(100.0 * float(1 - max(smooth[valley], 0.0) / smooth[top]))
    ed = tuple(top for top, whole in zip(tops, full, strict=True) if whole)
    notes: list[str] = []
    # An end-diastole with a clear rise before and fall after it needs no second one to be trusted.
    swing = float(smooth.max() - smooth.min())
    peak = [bool(smooth[top] - max(smooth[:top].min(), smooth[top:].min()) >= 0.3 * swing) for top in ed if top > 0]
    whole = len(es) > 1 or all(full) or any(peak)
    if not whole:
        notes.append("The clip holds less than one whole beat, so the ejection fraction is a lower bound.")
    rate, rate_note = _heart_rate(smooth, es, ed, fps)
    if rate_note:
        notes.append(rate_note)
    if len(es) > 2:
        gaps = np.diff(es)
        if float(gaps.std() / gaps.mean()) > 0.1:
            notes.append("The beats are irregular; the ejection fraction is the median over them.")
    return Beats(
        ed, tuple(es), tuple(beat_ef), float(np.median(beat_ef)), rate, whole, smooth.astype(np.float32), tuple(notes)
    )


def _full(smooth: np.ndarray, es: list[int], tops: list[int]) -> list[bool]:
    """Which of the tops are an end-diastole and not merely the highest frame before the clip cuts it off."""
    inner = [smooth[top] for top in tops[1:-1]]
    floor = float(np.median(smooth[es]))
    height = (float(np.median(inner)) if inner else max(smooth[tops[0]], smooth[tops[-1]])) - floor
    full = [True] * len(tops)
    for index, valley in ((0, es[0]), (-1, es[-1])):
        full[index] = bool(smooth[tops[index]] - smooth[valley] >= 0.85 * height)
    return full


def _heart_rate(smooth: np.ndarray, es: list[int], ed: tuple[int, ...], fps: float) -> tuple[float | None, str]:
    if len(es) > 1:
        return 60.0 * fps / float(np.median(np.diff([_vertex(smooth, frame) for frame in es]))), ""
    if len(ed) == 2:
        return 60.0 * fps / (ed[1] - ed[0]), "The heart rate rests on a single beat."
    return None, "The clip is too short to tell a heart rate."


def _vertex(smooth: np.ndarray, frame: int) -> float:
    """The bottom of the parabola through a valley and its neighbours, in frames."""
    before, here, after = smooth[frame - 1 : frame + 2]
    bend = before - 2 * here + after
    return frame + (0.5 * float((before - after) / bend) if bend > 0 else 0.0)


def _extremes(smooth: np.ndarray, note: str) -> Beats:
    high, low = int(np.argmax(smooth)), int(np.argmin(smooth))
    ef = 100.0 * float(1 - max(smooth[low], 0.0) / smooth[high])
    return Beats((high,), (low,), (), ef, None, False, smooth.astype(np.float32), (note,))


def _nothing(smooth: np.ndarray, note: str) -> Beats:
    return Beats((), (), (), float("nan"), None, False, smooth, (note,))
