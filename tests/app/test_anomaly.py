"""The anomaly routes: a finished detection over HTTP, verdicts on it, its layers and its ZIP, and what is refused."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.tabs.anomaly.settings_box import wishes
from backend.errors import UserError
from backend.identity import COMMAND_LINE, LOCAL
from backend.media.dicom import read_dicom
from backend.media.intake import accept_upload
from backend.media.limits import Limits
from backend.runtime import Runtime
from backend.samples import accept_sample
from backend.services.anomaly.layers import slice_png
from models.anomaly.healthy import RATES
from tests.backend.services.anomaly.scans import ball, oblique, write_volume
from tests.backend.services.anomaly.small_restorer import install, write_small_restorer

SHAPE = (32, 34, 18)
ORIGIN = {"origin": "http://127.0.0.1:7860"}
TABLE = [0.01 * (number + 1) for number in range(len(RATES))]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "restorer"
    write_small_restorer(folder, healthy={"unknown": {"absolute": TABLE, "brighter": TABLE}})
    return folder


@pytest.fixture
def ready(runtime: Runtime, weights: Path) -> Runtime:
    install(runtime.settings, weights)
    return runtime


def _detect(runtime: Runtime, source: str) -> str:
    asked: dict[str, Any] = {"source": source, "names": False, "severities": [0.5], "stride": 64, "threshold": 0.2}
    job = runtime.jobs.wait(runtime.jobs.submit("anomaly", "detect", asked, actor=LOCAL), timeout=120)
    assert job.result is not None, job.error
    return job.id


@pytest.fixture
def job(ready: Runtime, tmp_path: Path) -> str:
    """Id of a finished detection of a ball of brain with a bright spot in it, on an oblique grid."""
    affine = oblique((1.5, 1.4, 3.0), SHAPE)
    path = write_volume(tmp_path / "scan.nii.gz", ball(SHAPE, affine)[0], affine)
    return _detect(ready, accept_upload(ready, path, filename=path.name, actor=COMMAND_LINE).id)


def test_a_detection_is_told_with_its_layers_on_the_voxels_of_the_scan(client: TestClient, job: str) -> None:
    shown = client.get(f"/api/anomaly/{job}").json()
    assert shown["shape"] == list(SHAPE)
    assert not shown["flat"]
    assert [row["label"] for row in shown["findings"]] == list(range(1, shown["count"] + 1))
    assert shown["healthy"] == [list(pair) for pair in zip(TABLE, RATES, strict=True)]
    titles = [step["title"] for step in shown["steps"]]
    assert titles[:4] == ["Read", "Orientation", "Brain mask", "Grey values"]
    texts = {step["title"]: step["text"] for step in shown["steps"]}
    assert "LPS" in texts["Orientation"]
    assert texts["Registration"].startswith("Not asked for")
    assert sum(shown["histogram"]) == pytest.approx(1000 * shown["brain_ml"], rel=0.01)  # voxels of 1 mm
    for address in shown["layers"].values():
        answer = client.get(address)
        assert answer.status_code == 200, address
        image = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.content))
        assert image.shape == SHAPE
        np.testing.assert_allclose(image.affine, oblique((1.5, 1.4, 3.0), SHAPE), atol=1e-3)


def test_verdicts_are_kept_and_audited_and_reach_the_zip(client: TestClient, ready: Runtime, job: str) -> None:
    address = f"/api/anomaly/{job}/findings/1"
    said = client.post(address, json={"verdict": "rejected", "reason": "noise"}, headers=ORIGIN)
    assert said.json() == {"verdicts": {"1": "rejected"}}
    assert client.get(f"/api/anomaly/{job}").json()["findings"][0]["verdict"] == "rejected"
    event = ready.audit.events(limit=1, action="finding.verdict", subject=f"job:{job}")[0]
    assert (event.new["verdict"], event.reason, event.actor) == ("rejected", "noise", LOCAL.name)
    taken = client.post(address, json={"verdict": ""}, headers=ORIGIN)
    assert taken.json() == {"verdicts": {}}
    for body in (b"no", b"[]", b'{"verdict": 3}', b'{"verdict": "perhaps"}'):
        answer = client.post(address, content=body, headers=ORIGIN)
        assert answer.status_code == 400
        assert answer.json()["error"]["what"]
    assert client.post(f"/api/anomaly/{job}/findings/999", json={}, headers=ORIGIN).status_code == 400
    made = ready.jobs.view(job).result or {}
    files = [made["heat"], made["table"]]
    packed = ready.jobs.wait(ready.jobs.submit("anomaly", "pack", {"files": files}, actor=LOCAL), timeout=60)
    archive = zipfile.ZipFile(ready.artifacts.path((packed.result or {})["archive"]))
    assert archive.namelist() == ["heat-map.nii.gz", "findings.csv", "provenance.json"]
    told = json.loads(archive.read("provenance.json"))["files"]
    assert set(told["heat-map.nii.gz"]["weights"]) == {"anomaly/restorer"}
    twice = ready.jobs.wait(ready.jobs.submit("anomaly", "pack", {"files": files[:1] * 2}, actor=LOCAL), timeout=60)
    assert (twice.error or {})["why"] == "Two of them have one name."


def _picture(answer: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(answer)).convert("RGB"), int)


def test_slices_come_upright_with_the_heat_map_where_it_is_above_the_threshold(
    client: TestClient, ready: Runtime, job: str
) -> None:
    address = f"/api/anomaly/{job}/slice.png?axis=z&index=9"
    plain = _picture(client.get(address).content)
    # The ball is brighter to the patient's right, which is on the left of the picture.
    half = plain.shape[1] // 2
    assert plain[:, :half].sum() > 1.1 * plain[:, half:].sum()
    # Voxels are 1.5 by 1.4 mm.
    assert plain.shape[1] / plain.shape[0] == pytest.approx(32 * 1.5 / (34 * 1.4), abs=0.02)
    over = _picture(client.get(f"{address}&opacity=0.8").content)
    top = _picture(client.get(f"{address}&opacity=0.8&threshold=9").content)
    assert np.array_equal(plain, top)
    coloured = (over != plain).any(2).mean()
    lower = _picture(client.get(f"{address}&opacity=0.8&threshold=0.02").content)
    assert 0 < coloured < (lower != plain).any(2).mean()
    # A mark is drawn around the voxel that is asked for: the middle one, here.
    marked = _picture(slice_png(ready, job, "input", "z", 9, at=(16, 17, 9)))
    rows, columns = np.nonzero((marked != plain).any(2))
    assert abs(rows.mean() / plain.shape[0] - 0.5) < 0.05
    assert abs(columns.mean() / plain.shape[1] - 0.5) < 0.05
    for axis, tall in (("x", 18 * 3 / (34 * 1.4)), ("y", 18 * 3 / (32 * 1.5))):
        seen = _picture(client.get(f"/api/anomaly/{job}/slice.png?layer=heat&axis={axis}&index=99").content)
        assert seen.shape[0] / seen.shape[1] == pytest.approx(tall, abs=0.03)


def test_a_slice_that_is_no_brain_is_shown_as_a_picture_and_said_to_be_none(client: TestClient, ready: Runtime) -> None:
    job = _detect(ready, accept_sample(ready, "mr-small", actor=LOCAL).id)
    shown = client.get(f"/api/anomaly/{job}").json()
    assert shown["flat"]
    assert "unlike any brain" in shown["unlike"]
    assert "too thin" in next(step["text"] for step in shown["steps"] if step["title"] == "Registration")
    picture = _picture(client.get(f"/api/anomaly/{job}/slice.png").content)
    sample = ready.artifacts.path(ready.jobs.view(job).request["source"])
    pixels = np.clip(read_dicom(sample, Limits()).pixels[0].astype(float), *shown["window"])
    step = picture.shape[0] // pixels.shape[0]
    small = picture[step // 2 :: step, step // 2 :: step, 0]
    assert np.corrcoef(small.ravel(), pixels.ravel())[0, 1] > 0.98  # neither turned nor mirrored


@pytest.mark.parametrize("tail", ["", "/input.nii.gz", "/slice.png"])
def test_other_jobs_are_not_found(client: TestClient, tail: str) -> None:
    answer = client.get(f"/api/anomaly/nothing{tail}")
    assert answer.status_code == 404
    assert answer.json()["error"]["what"]


def test_settings_of_the_page_become_a_request() -> None:
    values = ["t1", "absolute", "0.1; 0.5,", 2, 16, 0.5, None, 0.02, False, "anomaly/restorer"]
    asked = wishes(tuple(values))
    assert asked["severities"] == (0.1, 0.5)
    assert (asked["rate"], asked["threshold"], asked["names"]) == (0.005, 0.0, False)
    with pytest.raises(UserError, match="severities"):
        wishes(("t1", "absolute", "much", *values[3:]))


def test_corruptions_that_cannot_be_drawn_are_refused(client: TestClient) -> None:
    for query in ("shapes=", "shapes=star", "texture=false&bias=false", "strongest=0", "seed=-1", "sequence=ct"):
        answer = client.get(f"/api/corruption?{query}")
        assert answer.status_code == 400, query
        assert answer.json()["error"]["what"]
