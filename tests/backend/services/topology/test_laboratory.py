"""The perturbation laboratory: what is drawn, what is said about it, and that a seed gives it again."""

from __future__ import annotations

import base64
import io
import json
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.media.intake import accept_upload
from backend.runtime import Runtime
from backend.services.topology.laboratory import ERRORS, FAMILY_TITLES, RECIPES, basis, choices, preview
from backend.services.topology.render import BY_KIND
from backend.training.topology_errors import SETTINGS, perturbation_config
from models.metrics.betti import betti_numbers
from models.metrics.matching import betti_matching_error
from models.phantoms import curvilinear
from models.topology import perturb as perturbation
from models.topology.changes import KINDS
from models.topology.families import FAMILIES, MIXTURE
from models.topology.perturb import PerturbationConfig, perturb


def pixels(picture: dict[str, str]) -> np.ndarray:
    head, _, data = picture["png"].partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def without_time(found: dict) -> dict:
    return {key: value for key, value in found.items() if key != "seconds"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_draw_is_what_training_would_draw_and_the_numbers_are_its_own(runtime: Runtime, recipe: str) -> None:
    shown = preview(runtime, "phantom:mortar:5", recipe, {}, 11)
    json.dumps(shown, allow_nan=False)
    clean = curvilinear.sample("mortar", (256, 256), 5)
    drawn = perturb(clean, np.random.default_rng(11), PerturbationConfig(recipe=recipe))
    damaged = drawn.soft >= 0.5
    assert shown["shape"] == [256, 256]
    assert (shown["deleted"], shown["added"]) == (round(drawn.deleted, 4), round(drawn.added, 4))
    assert tuple(shown["before"]) == betti_numbers(clean)
    assert tuple(shown["after"]) == betti_numbers(damaged)
    assert shown["matching"] == betti_matching_error(damaged, clean)
    pictures = {entry["name"]: pixels(entry) for entry in shown["pictures"]}
    assert list(pictures) == ["clean", "field", "damaged", "errors"]
    assert {picture.shape for picture in pictures.values()} == {(256, 256, 3)}
    assert len(np.unique(pictures["clean"].reshape(-1, 3), axis=0)) == 2
    # Exactly the pixels that changed sides are coloured as errors.
    assert np.array_equal((pictures["errors"] != pictures["clean"]).any(-1), clean != damaged)
    assert sum(error["count"] for error in shown["errors"]) > 0


@pytest.mark.parametrize("mask", ["phantom:roads", "phantom3d:vessels"])
def test_the_same_seed_gives_the_same_picture(runtime: Runtime, mask: str) -> None:
    first, again, other = (preview(runtime, mask, "clustered", {"strength": [0.5, 1]}, seed) for seed in (4, 4, 5))
    assert without_time(first) == without_time(again)
    assert first["pictures"][0] == other["pictures"][0]
    assert first["pictures"][2] != other["pictures"][2]


def test_a_volume_is_projected_and_says_so(runtime: Runtime) -> None:
    shown = preview(runtime, "phantom3d:capillaries", "polynomial", {}, 0)
    assert shown["shape"] == [48, 48, 48]
    assert len(shown["before"]) == len(shown["after"]) == 3
    assert "26-connected" in shown["connectivity"]
    titles = [entry["title"] for entry in shown["pictures"]]
    assert "projection" in titles[0]
    assert "middle slice" in titles[1]


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_acts(runtime: Runtime, name: str) -> None:
    setting = SETTINGS[name]
    changed = [setting.high, setting.high] if setting.pair else setting.high

    def pictures(errors: dict[str, object], seed: int) -> list[dict[str, str]]:
        return preview(runtime, "phantom:mortar", setting.recipe, errors, seed)["pictures"]

    # What a share of the samples gets only shows in some draws.
    assert any(pictures({}, seed) != pictures({name: changed}, seed) for seed in range(20))


def test_the_deleted_share_is_kept_to(runtime: Runtime) -> None:
    errors = {"deleted": [0.3, 0.35], "window": 64, "blobs": [0, 0], "second_field": 0, "box": 0}
    for mask in ("phantom:mortar", "phantom:vessels", "phantom:membranes"):
        for seed in range(6):
            # The window that acted may be a little smaller than the one drawn, and the blur reaches across its edge.
            assert 0.28 <= preview(runtime, mask, "polynomial", errors, seed)["window"] <= 0.40
    assert preview(runtime, "phantom:mortar", "clustered", {}, 0)["window"] is None


def test_it_is_quick_enough_to_follow_a_slider(runtime: Runtime) -> None:
    preview(runtime, "phantom:mortar", "clustered", {}, 0)
    began = time.perf_counter()
    for seed in range(5):
        preview(runtime, "phantom:mortar", "clustered", {"strength": [0.2, 0.2 + seed / 10]}, seed)
    # A third of a second on an idle machine; a busy one is given five times that.
    assert (time.perf_counter() - began) / 5 < 1.5


def test_what_is_offered_is_what_there_is(runtime: Runtime) -> None:
    offered = choices(runtime)
    json.dumps(offered, allow_nan=False)
    assert [entry["id"] for entry in offered["recipes"]] == list(RECIPES)
    assert set(RECIPES) == set(perturbation.RECIPES)
    assert set(FAMILY_TITLES) == {*FAMILIES, MIXTURE}
    defaults = {entry.name: entry.default for entry in fields(PerturbationConfig)}
    for setting in offered["settings"]:
        given = setting["default"]
        assert given == defaults[setting["name"]]
        listed = list(given) if setting["pair"] else given
        assert getattr(perturbation_config(setting["recipe"], {setting["name"]: listed}), setting["name"]) == given
    for mask in offered["masks"]:
        assert preview(runtime, mask["id"], "clustered", {}, 0)["pictures"]


def test_errors_are_named_and_coloured_as_the_repairs_that_undo_them() -> None:
    assert {style.change for style in ERRORS} == set(KINDS)
    undo = {"break": "closed_break", "bridge": "opened_bridge", "hole": "filled_hole", "island": "removed_island"}
    for style in ERRORS:
        if style.kind in undo:
            assert style.colour == BY_KIND[undo[style.kind]].colour


def test_a_mask_of_ones_own_is_cropped_to_where_the_structure_is(runtime: Runtime, tmp_path: Path) -> None:
    large = np.zeros((600, 900), np.uint8)
    large[500:504, 600:890] = large[560:564, 600:890] = 255
    Image.fromarray(large).save(tmp_path / "large.png")
    artifact = accept_upload(runtime, tmp_path / "large.png", filename="large.png", actor=LOCAL).id
    shown = preview(runtime, f"artifact:{artifact}", "clustered", {}, 0)
    assert shown["shape"] == [256, 256]
    assert shown["before"][0] == 2
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(tmp_path / "grey.png")
    grey = accept_upload(runtime, tmp_path / "grey.png", filename="grey.png", actor=LOCAL).id
    with pytest.raises(UserError, match="no mask"):
        preview(runtime, f"artifact:{grey}", "clustered", {}, 0)


@pytest.mark.parametrize("family", FAMILY_TITLES)
def test_the_plots_of_a_family(family: str) -> None:
    low, high = basis(family, 2), basis(family, 10)
    assert len(high["functions"]) == (0 if family == MIXTURE else 11)
    assert all(np.abs(values).max() == pytest.approx(1, abs=1e-3) for values in high["functions"])
    assert sum(high["power"]) <= 1.001
    assert high["mean_frequency"] > low["mean_frequency"]


@pytest.mark.parametrize(
    ("mask", "recipe", "errors", "seed"),
    [
        ("phantom:nothing", "clustered", {}, 0),
        ("phantom:mortar:-1", "clustered", {}, 0),
        ("phantom:mortar:99999999999", "clustered", {}, 0),
        ("sample:nothing", "clustered", {}, 0),
        ("artifact:nothing", "clustered", {}, 0),
        ("elsewhere", "clustered", {}, 0),
        ("phantom:mortar", "gaussian", {}, 0),
        ("phantom:mortar", "clustered", {"family": "jacobi"}, 0),
        ("phantom:mortar", "polynomial", {"order": 99}, 0),
        ("phantom:mortar", "polynomial", {"order": float("nan")}, 0),
        ("phantom:mortar", "polynomial", {"deleted": [0.9, 0.1]}, 0),
        ("phantom:mortar", "polynomial", {"deleted": 0.5}, 0),
        ("phantom:mortar", "polynomial", {"blobs": "many"}, 0),
        ("phantom:mortar", "clustered", {"recipe": "polynomial"}, 0),
        ("phantom:mortar", "clustered", {}, -1),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(
    runtime: Runtime, mask: str, recipe: str, errors: dict[str, object], seed: int
) -> None:
    with pytest.raises(UserError) as caught:
        preview(runtime, mask, recipe, errors, seed)
    assert caught.value.what.endswith(".")
