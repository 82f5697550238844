"""Schedules as data."""

from __future__ import annotations

import pytest

from models.diffusion.edm import sigmas
from models.echo.jvid import parse_schedule

LEVELS = sigmas(8)[:-1].tolist()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("video", "VVVVVVVV"),
        ("image", "IIIIIIII"),
        ("alternate", "VIVIVIVI"),
        ("image_last(3)", "VVVVVIII"),
        ("image_first( 2 )", "IIVVVVVV"),
        ("VVVVVIVI", "VVVVVIVI"),
        ("vvvv ivii", "VVVVIVII"),
        ("VI", "VVVVIIII"),
        ("VVVVVVVVVVVVVVII", "VVVVVVVI"),
        ("V", "VVVVVVVV"),
    ],
)
def test_a_schedule_gives_every_step_a_model(text: str, wanted: str):
    assert parse_schedule(text, LEVELS) == wanted


def test_a_schedule_by_signal_to_noise_ratio_is_one_cut():
    for limit in (1e-4, 1.0, 1e4):
        below = parse_schedule(f"snr_below({limit})", LEVELS)
        above = parse_schedule(f"snr_above({limit})", LEVELS)
        assert below == below.replace("V", "").ljust(8, "V")
        assert all(a != b for a, b in zip(below, above, strict=True))
    assert parse_schedule("snr_below(1)", LEVELS) == "".join("I" if level > 1 else "V" for level in LEVELS)


@pytest.mark.parametrize("text", ["", "VIX", "image_last", "video(2)", "best", "image_last(two)", "image_last(1e)"])
def test_what_is_no_schedule_is_refused(text: str):
    with pytest.raises(ValueError, match=r"schedule|number"):
        parse_schedule(text, LEVELS)
