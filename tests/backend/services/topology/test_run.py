"""The topology jobs on a real engine and store, with a small real refiner."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.media.images import read_image
from backend.media.limits import Limits
from backend.media.marks import read_provenance
from backend.provenance import Provenance
from backend.runtime import Runtime
from backend.services.topology import view as topology_view
from backend.services.topology.requests import Betti, RefineRequest, SimpleRepairs, ThresholdRequest
from backend.services.topology.view import finished, layer, look, view
from backend.settings import Settings
from tests.backend.services.topology.small_refiner import write_small_refiner

WEIGHTS = "topology/small"
Store = Callable[..., str]


@pytest.fixture(autouse=True)
def small_refiner(settings: Settings) -> str:
    """The hash of a small refiner among this installation's own weights."""
    return write_small_refiner(settings.home / "weights" / WEIGHTS)


@pytest.fixture
def store(runtime: Runtime, tmp_path: Path) -> Store:
    """Puts an array into the store as an upload and gives its id."""

    def put(array: np.ndarray, name: str = "mask.png", **properties: str) -> str:
        path = tmp_path / name
        if name.endswith(".npy"):
            np.save(path, array)
        else:
            Image.fromarray(array).save(path)
        origin = Provenance.now(system="uploads", action="accept", synthetic=False)
        return runtime.artifacts.add_file(
            path,
            name=name,
            media_type="image/png",
            kind="upload",
            synthetic=False,
            provenance=origin,
            actor=LOCAL,
            suffix=path.suffix,
            properties=properties,
        ).id

    return put


def net(size: int = 96) -> np.ndarray:
    """A broken net with islands, uint8 0 and 255."""
    mask = np.zeros((size, size), np.uint8)
    mask[8::20, 4:-4] = mask[9::20, 4:-4] = mask[10::20, 4:-4] = 255
    mask[4:-4, 8::20] = mask[4:-4, 9::20] = mask[4:-4, 10::20] = 255
    rng = np.random.default_rng(1)
    for row, column in rng.integers(8, size - 8, (10, 2)):
        mask[row - 2 : row + 3, column - 2 : column + 3] = 0
    mask[::17, ::13] = 255
    return mask


def refined(runtime: Runtime, source: str, **options) -> JobView:
    request = RefineRequest(source=source, weights=WEIGHTS, **options)
    return runtime.jobs.wait(runtime.jobs.submit("topology", "refine", request, actor=LOCAL), timeout=60)


def pixels(runtime: Runtime, artifact: str) -> np.ndarray:
    return read_image(runtime.artifacts.path(artifact), Limits())


def test_a_refinement_stores_all_that_it_says(runtime: Runtime, store: Store, small_refiner: str):
    source = store(net())
    job = refined(runtime, source)
    assert job.state is JobState.DONE, job.error
    _, result = finished(runtime, job.id)
    before, mask = pixels(runtime, result.before) > 127, pixels(runtime, result.mask) > 127
    probability = pixels(runtime, result.probability)
    assert np.array_equal(before, net() > 0)
    assert probability.dtype == np.uint16
    assert result.changed == (before != mask).sum() > 0
    assert result.weights_sha256 == small_refiner
    for artifact in (result.before, result.mask, result.probability, result.change_map, result.change_table):
        made = runtime.artifacts.view(artifact).provenance
        assert (made.system, made.action, made.parents) == ("topology", "refine", (source,))
        assert made.weights == {WEIGHTS: small_refiner}
        assert made.request["source"] == source
        assert read_provenance(runtime.artifacts.path(artifact)) == made


def test_betti_numbers_agree_with_scikit_image(runtime: Runtime, store: Store):
    from skimage.measure import euler_number, label

    _, result = finished(runtime, refined(runtime, store(net())).id)
    for stated, artifact in ((result.before_betti, result.before), (result.after_betti, result.mask)):
        mask = pixels(runtime, artifact) > 127
        pieces = label(mask, connectivity=2).max()
        assert stated == Betti(pieces, pieces - euler_number(mask, connectivity=2))


def test_the_change_table_names_every_changed_pixel_once(runtime: Runtime, store: Store):
    job = refined(runtime, store(net()))
    _, result = finished(runtime, job.id)
    with runtime.artifacts.path(result.change_table).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result.change_count
    assert sum(int(row["pixels"]) for row in rows) == result.changed
    codes = np.asarray(Image.open(BytesIO(layer(runtime, job.id, "kinds"))))
    assert (codes > 0).sum() == result.changed
    first = result.changes[0]
    assert (codes[first.y0 : first.y1, first.x0 : first.x1] > 0).sum() >= first.pixels


def test_the_same_request_gives_the_same_pixels(runtime: Runtime, store: Store):
    source = store(net())
    results = [finished(runtime, refined(runtime, source).id)[1] for _ in range(2)]
    for name in ("mask", "probability", "change_map"):
        first, second = (pixels(runtime, getattr(result, name)) for result in results)
        assert np.array_equal(first, second), name
    same = [replace(result, before="", mask="", probability="", change_map="", change_table="") for result in results]
    assert replace(same[0], seconds=0) == replace(same[1], seconds=0)


def test_another_threshold_later_equals_the_same_threshold_at_first(runtime: Runtime, store: Store):
    source = store(net())
    _, result = finished(runtime, refined(runtime, source).id)
    request = ThresholdRequest(before=result.before, probability=result.probability, threshold=0.35)
    job = runtime.jobs.wait(runtime.jobs.submit("topology", "threshold", request, actor=LOCAL), timeout=30)
    assert job.state is JobState.DONE, job.error
    _, direct = finished(runtime, refined(runtime, source, threshold=0.35).id)
    assert np.array_equal(pixels(runtime, job.result["mask"]), pixels(runtime, direct.mask))
    assert job.result["after_betti"] == asdict(direct.after_betti)
    made = runtime.artifacts.view(job.result["mask"]).provenance
    assert made.parents == (result.probability, result.before)
    assert made.weights == {WEIGHTS: result.weights_sha256}
    shown = view(runtime, refined(runtime, source).id, 0.35)
    assert shown["after"] == direct.after_betti.as_dict()


def test_simple_repairs_stand_beside_ours_and_can_be_tuned(runtime: Runtime, store: Store):
    soft = np.clip(net() / 255 * 0.8 + np.random.default_rng(0).random(net().shape) * 0.2, 0, 1)
    job = refined(runtime, store(soft.astype(np.float32), "soft.npy"))
    _, result = finished(runtime, job.id)
    rows = {row.name: row for row in result.comparison}
    assert list(rows) == ["input", "small", "closing", "hysteresis", "fillholes", "refined"]
    assert rows["input"].changed == 0
    assert rows["input"].dice == 1
    assert rows["small"].betti.b0 < rows["input"].betti.b0
    assert rows["refined"].betti == result.after_betti
    tuned = view(runtime, job.id, None, SimpleRepairs(remove_below=0, fill_below=0, fill_share=0, closing_radius=0))
    by_name = {row["name"]: row["cells"] for row in tuned["table"]["rows"]}
    assert by_name["small"] == by_name["closing"] == by_name["fillholes"] == by_name["input"]
    with pytest.raises(UserError, match="out of range"):
        view(runtime, job.id, None, SimpleRepairs(closing_radius=900))


def test_a_truth_gives_errors_against_it(runtime: Runtime, store: Store):
    truth = np.zeros((96, 96), np.uint8)
    truth[20:70, 20:70] = 255
    truth[35:55, 35:55] = 0
    broken = truth.copy()
    broken[40:44] = 0
    _, result = finished(runtime, refined(runtime, store(broken), truth=store(truth, "truth.png")).id)
    assert result.truth == Betti(1, 1)
    errors = result.comparison[0].errors
    assert (errors.b0, errors.b1) == (1, 1)
    assert errors.matching >= 2
    job = refined(runtime, store(broken), truth=store(net(64), "other.png"))
    assert job.error["what"] == "The true mask and the segmentation differ in size."


def test_the_page_gets_sentences_layers_and_nothing_of_other_jobs(runtime: Runtime, store: Store):
    source = store(net())
    job = refined(runtime, source)
    shown = view(runtime, job.id)
    json.dumps(shown, allow_nan=False)
    assert "separate piece" in shown["summary"][0]
    assert sum(kind["count"] for kind in shown["kinds"]) == shown["change_count"]
    for name in ("before", "after", "kinds"):
        assert Image.open(BytesIO(layer(runtime, job.id, name, 0.4))).size == (96, 96)
    with pytest.raises(UserError, match="must lie between 0 and 1"):
        view(runtime, job.id, 1.5)
    with pytest.raises(UserError, match="no such layer"):
        layer(runtime, job.id, "secret")
    failed = refined(runtime, store(np.zeros((64, 64), np.uint8)))
    with pytest.raises(UserError, match="no finished refinement"):
        view(runtime, failed.id)


def test_a_large_layer_is_shrunk_without_losing_a_changed_pixel(monkeypatch):
    monkeypatch.setattr(topology_view, "LARGEST_LAYER", 1000)
    layer_of_one = np.zeros((101, 99), np.uint8)
    layer_of_one[100, 98] = 5
    small = topology_view._shrunk(layer_of_one)
    assert topology_view._step(layer_of_one.size) == 4
    assert small.shape == (26, 25)
    assert np.argwhere(small).tolist() == [[25, 24]]


def test_looking_at_a_file_names_its_labels_before_anything_runs(runtime: Runtime, store: Store):
    labels = np.zeros((64, 64), np.uint8)
    labels[10:30, 10:50] = 1
    labels[40:50, 10:50] = 2
    contents, channels, _ = look(runtime, store(labels))
    assert contents.kind == "labels"
    assert [entry.value for entry in contents.labels] == [1, 2]
    assert channels == ()


@pytest.mark.parametrize(
    ("array", "options", "sentence"),
    [
        (np.zeros((64, 64), np.uint8), {}, "The mask is empty."),
        (np.full((64, 64), 255, np.uint8), {}, "The whole image is foreground."),
        (net(), {"threshold": 1.5}, "A threshold of 1.5 cannot be used."),
        (net(), {"remove_below": -1}, "A size below zero cannot be used."),
        (net() // 51, {"reading": "labels", "label": 9}, "There is no label 9 in this map."),
        (net(8 * 12)[:12], {}, "The mask is too small: 96 × 12 pixels."),
    ],
)
def test_each_mistake_fails_with_its_sentence_and_stores_nothing(
    runtime: Runtime, store: Store, array: np.ndarray, options: dict, sentence: str
):
    job = refined(runtime, store(array), **options)
    assert job.state is JobState.FAILED
    assert job.error["what"] == sentence
    assert job.artifacts == ()


def test_an_unknown_artifact_or_weight_is_a_sentence_too(runtime: Runtime, store: Store):
    assert refined(runtime, "nothing").state is JobState.FAILED
    request = RefineRequest(source=store(net()), weights="topology/none")
    job = runtime.jobs.wait(runtime.jobs.submit("topology", "refine", request, actor=LOCAL), timeout=30)
    assert job.state is JobState.FAILED
    assert "topology/none" in job.error["what"]


def test_a_cancelled_refinement_stops_between_windows_and_stores_nothing(runtime: Runtime, store: Store):
    big = np.tile(net(), (26, 26))
    job_id = runtime.jobs.submit("topology", "refine", RefineRequest(source=store(big), weights=WEIGHTS), actor=LOCAL)
    while runtime.jobs.view(job_id).note != "Refining window by window":
        assert not runtime.jobs.view(job_id).state.final
    runtime.jobs.cancel(job_id, actor=LOCAL)
    job = runtime.jobs.wait(job_id, timeout=30)
    assert job.state is JobState.CANCELLED
    assert job.done < job.total
    assert job.artifacts == ()


def test_importing_the_service_loads_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys, backend.services.topology; print([m for m in ('torch','scipy','numpy','cv2') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_pinholes_are_filled_even_where_they_are_the_usual_hole():
    from models.metrics.betti import betti_numbers
    from models.topology.repairs import tidy

    solid = np.zeros((96, 96), bool)
    solid[10:86, 10:86] = True
    solid[30:60, 30:60] = False
    pierced = solid.copy()
    pierced[14:28:4, 14:80:4] = False
    assert betti_numbers(pierced)[1] > 60
    assert np.array_equal(tidy(pierced, 64, 0.15, least=32), solid)
    assert not np.array_equal(tidy(pierced, 64, 0.15), solid)
