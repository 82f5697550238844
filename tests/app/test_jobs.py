"""Job routes on real jobs of a small system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.server import create_app
from backend.identity import LOCAL
from backend.runtime import Runtime
from backend.settings import Settings
from tests.backend.jobs.actions import catalogue
from tests.serving import until


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    with Runtime.open(settings, catalogue=catalogue()) as opened:
        yield opened


@pytest.fixture
def client(runtime: Runtime) -> Iterator[TestClient]:
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:7860") as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a job says which step it is at and waits; let go at the end."""
    made = tmp_path / "steps"
    made.mkdir()
    yield made
    (made / "go").touch()


def test_a_job_as_json_from_start_to_end(runtime: Runtime, client: TestClient, folder: Path) -> None:
    (folder / "go-0").touch()
    job = runtime.jobs.submit("toy", "steps", {"steps": 2, "folder": str(folder)}, actor=LOCAL)
    until((folder / "at-1").exists)
    running = client.get(f"/api/jobs/{job}").json()
    assert (running["state"], running["final"], running["done"], running["fraction"]) == ("running", False, 1, 0.5)
    assert running["has_preview"]
    preview = client.get(f"/api/jobs/{job}/preview")
    assert preview.content.startswith(b"\x89PNG")
    assert preview.headers["content-type"] == "image/png"
    (folder / "go").touch()
    runtime.jobs.wait(job, 20)
    done = client.get(f"/api/jobs/{job}").json()
    assert (done["state"], done["final"], done["result"]) == ("done", True, {"taken": 2})
    assert [item["id"] for item in client.get("/api/jobs").json()["jobs"]] == [job]
    assert client.get("/api/jobs?active=true").json()["jobs"] == []
    assert client.get("/api/jobs?system=slides").json()["jobs"] == []
    assert client.get("/api/estimate?system=toy&action=steps").json()["seconds"] > 0


def test_cancel_by_post_only(runtime: Runtime, client: TestClient, folder: Path) -> None:
    job = runtime.jobs.submit("toy", "steps", {"folder": str(folder)}, actor=LOCAL)
    until((folder / "at-0").exists)
    assert client.get(f"/api/jobs/{job}/cancel").status_code in (404, 405)
    assert client.post(f"/api/jobs/{job}/cancel").status_code == 200
    (folder / "go").touch()
    assert runtime.jobs.wait(job, 20).state == "cancelled"
    assert client.post(f"/api/jobs/{job}/cancel").status_code == 200


def test_a_job_without_preview_says_so(runtime: Runtime, client: TestClient) -> None:
    job = runtime.jobs.submit("toy", "spin", {"steps": 1}, actor=LOCAL)
    runtime.jobs.wait(job, 20)
    answer = client.get(f"/api/jobs/{job}/preview")
    assert (answer.status_code, answer.json()["error"]["what"]) == (404, "This job has no preview.")


@pytest.mark.parametrize("job", ["none", "AAAAAAAAAAAAAAAAAAAAAA", "..%2f..%2fsecret", "%00", "x" * 5000])
def test_an_unknown_job_is_a_sentence(client: TestClient, job: str) -> None:
    for answer in (
        client.get(f"/api/jobs/{job}"),
        client.get(f"/api/jobs/{job}/preview"),
        client.post(f"/api/jobs/{job}/cancel"),
    ):
        assert answer.status_code == 404
        assert "Traceback" not in answer.text


def test_an_unknown_action_has_no_estimate(client: TestClient) -> None:
    answer = client.get("/api/estimate?system=toy&action=fly")
    assert answer.status_code in (200, 404)
    assert answer.json().get("seconds") is None


def test_a_mistake_in_a_query_is_no_bug(client: TestClient) -> None:
    assert client.get("/api/jobs?limit=many").status_code == 422
    assert client.get("/api/jobs?limit=-5").status_code == 200
