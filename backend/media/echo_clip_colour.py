"""Colour in echo clips: tinted greys become grey, colour Doppler is refused, a little colour is told of."""

from __future__ import annotations

import numpy as np

from backend.errors import UserError

LIT = 40  # grey levels below which a colour cannot be told
SATURATED = 0.35  # (max − min) / max of the channels, from which a pixel counts as coloured
CHROMA = 16  # and its least difference of channels, above what coding leaves in greys
FEW = 0.002  # share of the fan below which nothing is said of colour
MANY = 0.01  # share of the fan that thick coloured areas cover in a quarter of the frames, from which it is Doppler
TINTED = 0.7  # share of the lit pixels that are coloured when the whole picture is shown in one tint
ONE_HUE = 0.9  # length of the mean hue vector, 1 when all hues agree
MOST = 16  # frames that are looked at


def to_grey(frame: np.ndarray) -> np.ndarray:
    """Luminance (ITU-R BT.601) of RGB uint8 [H, W, 3] as uint8 [H, W]; grey [H, W] as it is."""
    import cv2

    return frame if frame.ndim == 2 else np.asarray(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY))


def refuse_doppler(frames: np.ndarray, inside: np.ndarray) -> list[str]:
    """Look at the colours of RGB frames uint8 [T, H, W, 3] inside the fan, bool [H, W]; returns notes.

    Doppler paints part of the fan in strong colours of its own; a tint colours all of it in one hue. Raises
    ``UserError`` for colour Doppler: the grey that the flow covers is not in the file any more.
    """
    import cv2

    shares, areas, lit_shares, hues = [], [], [], []
    grain = max(3, max(frames.shape[1:3]) // 64) | 1
    thick = np.ones((2 * grain - 1, 2 * grain - 1), np.uint8)
    for frame in frames[:: max(1, len(frames) // MOST)]:
        # Flow covers areas; dithered palettes (GIF) colour single pixels and are grey on the whole.
        smooth = cv2.blur(frame, (grain, grain))
        red, green, blue = cv2.split(smooth)
        high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
        chroma = high - low
        lit = (high > LIT) & inside
        coloured = lit & (chroma > CHROMA) & (chroma > SATURATED * high)
        shares.append(coloured.sum() / inside.sum())
        areas.append(cv2.morphologyEx(coloured.astype(np.uint8), cv2.MORPH_OPEN, thick).sum() / inside.sum())
        lit_shares.append(coloured.sum() / max(1, lit.sum()))
        hues.append(_hue_vectors(smooth[coloured]))
    hue = np.concatenate(hues)
    if max(shares) < FEW:
        return []
    agreement = float(np.hypot(*hue.mean(0))) if len(hue) else 0.0
    if np.median(lit_shares) >= TINTED and agreement >= ONE_HUE:
        return ["The picture is tinted in one colour; its brightness was taken."]
    # Traces and markers are thin. Flow comes and goes with the beat, so some frames may show hardly any.
    if float(np.quantile(areas, 0.75)) >= MANY:
        raise UserError(
            "This is a colour Doppler clip.",
            "Colours cover a part of the heart, and the grey under them is not in the file.",
            "Choose the clip without colour.",
        )
    return ["There is some colour inside the fan, such as a marker or an ECG trace; its brightness was taken."]


def _hue_vectors(pixels: np.ndarray) -> np.ndarray:
    """Unit vectors of the hue of coloured RGB pixels [N, 3]: float64 [N, 2]."""
    red, green, blue = (pixels[:, channel].astype(np.float64) for channel in range(3))
    plane = np.stack([red - (green + blue) / 2, np.sqrt(3) / 2 * (green - blue)], 1)
    return plane / np.maximum(np.hypot(plane[:, 0], plane[:, 1]), 1e-9)[:, None]
