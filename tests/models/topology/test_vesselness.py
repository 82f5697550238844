"""The ridge filter: dark lines of a photograph, nothing of its rim, nothing of bright lines."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from models.topology.vesselness import vesselness


def test_dark_lines_are_found_and_bright_ones_are_not():
    picture = np.full((120, 120, 3), 150, np.uint8)
    picture[40:44, 20:100] = 60
    picture[80:84, 20:100] = 240
    found = vesselness(picture) > 0.5
    assert found[41:43, 30:90].all()
    assert not found[81:83, 30:90].any()


def test_the_rim_of_a_retina_is_no_vessel():
    found = vesselness(data.retina()) > 0.5
    assert 0.02 < found.mean() < 0.12
    outside = data.retina()[..., 1] < 10
    assert 0.1 < outside.mean() < 0.4
    assert not found[ndimage.binary_dilation(outside, iterations=6)].any()


def test_only_a_colour_picture_is_taken_and_a_black_one_has_no_lines():
    with pytest.raises(ValueError, match="colour picture"):
        vesselness(np.zeros((5, 5)))
    assert not vesselness(np.zeros((50, 50, 3))).any()
