"""Artifact routes: by opaque id only, as a download, as a lossless picture, with its provenance."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from backend.identity import LOCAL
from backend.jobs.contract import ArtifactView
from backend.provenance import Provenance
from backend.runtime import Runtime

UNKNOWN = ["none", "AAAAAAAAAAAAAAAAAAAAAA", "..%2f..%2fsynthscope.sqlite3", "%2e%2e", "a%00b", "x" * 3000]


def store(runtime: Runtime, name: str, media_type: str, data: bytes, suffix: str) -> ArtifactView:
    return runtime.artifacts.add(
        lambda path: Path(path).write_bytes(data),
        name=name,
        media_type=media_type,
        kind="image",
        synthetic=True,
        provenance=Provenance.now(system="toy", action="draw", synthetic=True, seed=3, request={"seed": 3}),
        actor=LOCAL,
        suffix=suffix,
    )


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 255, (40, 30, 3), dtype=np.uint8)


def test_the_file_itself_comes_as_a_download(runtime: Runtime, client: TestClient, picture: np.ndarray) -> None:
    data = png(picture)
    view = store(runtime, "drawn.png", "image/png", data, ".png")
    answer = client.get(f"/api/artifacts/{view.id}")
    assert answer.content == data
    assert answer.headers["content-disposition"] == 'attachment; filename="drawn.png"'
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'self'; sandbox"
    assert answer.headers["cache-control"] == "no-store"
    part = client.get(f"/api/artifacts/{view.id}", headers={"range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, data[:8])


def test_a_picture_to_look_at_is_lossless(runtime: Runtime, client: TestClient, picture: np.ndarray) -> None:
    view = store(runtime, "drawn.png", "image/png", png(picture), ".png")
    answer = client.get(f"/api/artifacts/{view.id}/image")
    assert answer.headers["content-type"] == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), picture)


def test_a_large_picture_is_made_smaller_to_look_at(runtime: Runtime, client: TestClient) -> None:
    view = store(runtime, "wide.png", "image/png", png(np.zeros((100, 900), np.uint8)), ".png")
    answer = client.get(f"/api/artifacts/{view.id}/image?side=300")
    assert Image.open(io.BytesIO(answer.content)).size == (300, 33)


def test_what_has_no_picture_says_so(runtime: Runtime, client: TestClient) -> None:
    view = store(runtime, "table.csv", "text/csv", b"a,b\n1,2\n", ".csv")
    answer = client.get(f"/api/artifacts/{view.id}/image")
    assert (answer.status_code, answer.json()["error"]["what"]) == (400, "There is no picture of this file.")


def test_a_damaged_picture_is_a_sentence(runtime: Runtime, client: TestClient, picture: np.ndarray) -> None:
    view = store(runtime, "cut.png", "image/png", png(picture)[:200], ".png")
    answer = client.get(f"/api/artifacts/{view.id}/image")
    assert answer.status_code == 400
    assert answer.json()["error"]["what"]


def test_a_dicom_frame_and_a_volume_slice_can_be_looked_at(runtime: Runtime, client: TestClient) -> None:
    import nibabel
    from pydicom.data import get_testdata_file

    ct = store(runtime, "ct.dcm", "application/dicom", Path(get_testdata_file("CT_small.dcm")).read_bytes(), ".dcm")
    shown = Image.open(io.BytesIO(client.get(f"/api/artifacts/{ct.id}/image").content))
    assert shown.size == (128, 128)
    array = np.zeros((10, 20, 6), np.uint8)
    array[2, 15, 3] = 200  # right, anterior in RAS+ after the flip below: radiologists see it upper right
    volume = nibabel.Nifti1Image(array, np.eye(4)).to_bytes()
    view = store(runtime, "brain.nii", "application/x-nifti", volume, ".nii")
    plane = np.asarray(Image.open(io.BytesIO(client.get(f"/api/artifacts/{view.id}/image?frame=3").content)))
    assert plane.shape == (20, 10)
    assert np.unravel_index(plane.argmax(), plane.shape) == (20 - 1 - 15, 10 - 1 - 2)


def test_what_is_known_about_it_names_no_path(runtime: Runtime, client: TestClient, picture: np.ndarray) -> None:
    view = store(runtime, "drawn.png", "image/png", png(picture), ".png")
    info = client.get(f"/api/artifacts/{view.id}/info")
    assert info.json()["provenance"]["seed"] == 3
    assert str(runtime.settings.home) not in info.text
    assert Provenance.from_json(client.get(f"/api/artifacts/{view.id}/provenance").text) == view.provenance


@pytest.mark.parametrize("artifact", UNKNOWN)
@pytest.mark.parametrize("tail", ["", "/info", "/image", "/provenance"])
def test_an_unknown_id_is_a_sentence(client: TestClient, artifact: str, tail: str) -> None:
    answer = client.get(f"/api/artifacts/{artifact}{tail}")
    assert answer.status_code == 404
    assert "SQLite" not in answer.text


def test_ids_are_opaque(runtime: Runtime, picture: np.ndarray) -> None:
    ids = [store(runtime, "drawn.png", "image/png", png(picture), ".png").id for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(r"[\w-]{22,}", value) for value in ids)


def test_thumbnails_of_samples(client: TestClient) -> None:
    answer = client.get("/api/samples/retina/image")
    assert Image.open(io.BytesIO(answer.content)).format == "PNG"
    assert client.get("/api/samples/nothing/image").status_code == 404
