"""Health, status, what is installed, and the audit export."""

from __future__ import annotations

import csv

import psutil
from fastapi.testclient import TestClient

from backend.identity import LOCAL
from backend.notices import RESEARCH_ONLY
from backend.runtime import Runtime
from backend.samples import packs


def test_health_carries_the_notice(client: TestClient) -> None:
    assert client.get("/api/health").json() == {"ok": True, "notice": RESEARCH_ONLY}


def test_status_is_of_this_process(client: TestClient) -> None:
    status = client.get("/api/status").json()
    assert status["device"]["setting"] == "cpu"
    assert status["device"]["chosen"] == "cpu"
    assert abs(status["memory_mib"] - psutil.Process().memory_info().rss / 2**20) < 50
    assert status["weights"] == []
    assert status["jobs_active"] == 0


def test_installed_names_every_pack(client: TestClient) -> None:
    installed = client.get("/api/installed").json()
    assert [pack["name"] for pack in installed["packs"]] == [pack.name for pack in packs()]
    kinds = {item["kind"]: item for item in installed["samples"]}
    assert kinds["mask"]["phantom"] >= 1
    assert kinds["image"]["real"] >= 1


def test_no_answer_names_a_folder(client: TestClient, runtime: Runtime) -> None:
    for path in ("/api/status", "/api/installed", "/api/jobs", "/config", "/"):
        assert str(runtime.settings.home) not in client.get(path).text


def test_the_export_is_a_download_that_leaves_nothing_behind(client: TestClient, runtime: Runtime) -> None:
    for number in range(3):
        runtime.audit.append(actor=LOCAL, action="note", subject=f"subject-{number}")
    answer = client.get("/api/audit/export?format=csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="synthscope-audit.csv"'
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert [row["subject"] for row in csv.DictReader(lines)] == ["subject-0", "subject-1", "subject-2"]
    assert len(client.get("/api/audit/export?format=json").json()["chain"]) == 3
    assert client.get("/api/audit/export?format=xml").status_code == 422
    assert list(runtime.scratch.folder.iterdir()) == []


def test_a_bug_shows_an_id_and_no_traceback(app: object, client: TestClient, caplog: object) -> None:
    @app.get("/api/bug")
    def bug() -> None:
        raise KeyError("secret")

    app.router.routes.insert(0, app.router.routes.pop())
    answer = client.get("/api/bug")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    error_id = answer.json()["error"]["what_to_do"].rstrip(".").split()[-1]
    assert any(error_id in record.getMessage() for record in caplog.records)
