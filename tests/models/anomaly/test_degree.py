"""Severity and step: one monotone map, both ways."""

from __future__ import annotations

import numpy as np
import pytest

from models.anomaly.degree import STEPS, severities, severity_of, step_of


def test_the_scale_is_the_published_one_read_upwards() -> None:
    kept = np.sqrt(np.cumprod(1 - np.linspace(1e-3, 0.2, 100)))
    assert np.allclose(severities(), kept[::-1])
    assert (np.diff(severities()) > 0).all()
    assert severities()[-1] == pytest.approx(np.sqrt(0.999))


def test_every_step_comes_back_from_its_severity() -> None:
    steps = np.arange(STEPS)
    assert np.array_equal(step_of(severity_of(steps)), steps)


def test_a_severer_corruption_never_has_a_smaller_step_and_comes_back_near() -> None:
    asked = np.linspace(0, 1, 2001)
    steps = step_of(asked)
    assert (np.diff(steps) >= 0).all()
    assert steps[0] == 0
    assert steps[-1] == STEPS - 1
    within = asked >= severities()[0]
    assert np.abs(severity_of(steps) - asked)[within].max() <= np.diff(severities()).max() / 2 + 1e-9


@pytest.mark.parametrize("call", [lambda: step_of(1.2), lambda: step_of(-0.1), lambda: severity_of(100)])
def test_what_is_no_severity_or_step_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match="lies between"):
        call()  # type: ignore[operator]
