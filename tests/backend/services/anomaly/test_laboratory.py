"""The corruption preview: its parts can be switched off one by one, and it says what the network is told."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.runtime import Runtime
from backend.services.anomaly.laboratory import corruption
from models.anomaly.degree import severity_of, step_of
from tests.backend.services.anomaly.phantom_slices import write_phantom_slices


@pytest.fixture
def ready(runtime: Runtime) -> Runtime:
    write_phantom_slices(runtime.settings.home)
    return runtime


def _pictures(made: dict[str, Any]) -> dict[str, np.ndarray]:
    found = {}
    for picture in made["pictures"]:
        data = base64.b64decode(picture["png"].partition(",")[2])
        found[picture["name"]] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)[..., 0]
    return found


def test_a_corruption_lies_in_its_mask_and_is_told_by_its_severity(ready: Runtime) -> None:
    made = corruption(ready, position=2, seed=3)
    pictures = _pictures(made)
    changed = np.abs(pictures["clean"] - pictures["corrupted"]) > 1  # one grey may be a matter of rounding
    assert changed.any()
    assert not (changed & (pictures["mask"] == 0)).any()
    assert made["severity"] == max(made["texture"], abs(made["bias"]))
    assert made["step"] == int(step_of(made["severity"]))
    assert made["told"] == pytest.approx(float(severity_of(made["step"])), abs=1e-4)
    assert corruption(ready, position=2, seed=3) == made
    assert corruption(ready, position=2, seed=4) != made


def test_every_part_can_be_switched_off(ready: Runtime) -> None:
    for seed in range(6):
        assert corruption(ready, texture=False, seed=seed)["texture"] == 0
        assert corruption(ready, bias=False, seed=seed)["bias"] == 0
        assert corruption(ready, shapes=("blob",), seed=seed)["shape"] == "blob"
        hard = _pictures(corruption(ready, shapes=("box",), blur=False, seed=seed))["mask"]
        assert set(np.unique(hard)) <= {0, 255}
        assert corruption(ready, strongest=0.1, seed=seed)["severity"] <= 0.1001
