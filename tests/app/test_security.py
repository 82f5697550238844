"""What the server refuses, and the headers of what it answers."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from app import security
from app.__main__ import main
from backend.errors import UserError

ROUTES = [
    "/",
    "/api/health",
    "/api/status",
    "/api/jobs",
    "/static/theme/synthscope.css",
    "/api/artifacts/none",
    "/config",
]


@pytest.mark.parametrize("path", ROUTES)
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    for name, value in security.HEADERS.items():
        assert answer.headers[name] == value
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'self'" in policy
    assert not re.search(r"https?:|\*", policy)
    data = path.startswith("/api/")
    assert policy.startswith("default-src 'none'" if data else "default-src 'self'")
    assert answer.headers["cache-control"] == ("no-cache" if path.startswith("/static/") else "no-store")


def test_a_refusal_has_the_headers_too(client: TestClient) -> None:
    answer = client.post("/api/uploads", headers={"origin": "https://example.org"})
    assert answer.status_code == 403
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:7860", "LOCALHOST", "[::1]:7860", "127.0.0.1:1"])
def test_names_of_this_machine_are_served(client: TestClient, host: str) -> None:
    assert client.get("/api/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["example.org", "example.org:7860", "localhost.example.org", "127.0.0.1.nip.io", "", "["]
)
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    for path in ("/", "/api/health", "/gradio_api/queue/join"):
        answer = client.get(path, headers={"host": host})
        assert answer.status_code == 421
        assert answer.json()["error"]["what"] == "This name is not served here."


@pytest.mark.parametrize(
    ("bound", "served"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("127.8.9.1", "127.8.9.1")]
)
def test_the_bound_address_is_served_and_an_empty_name_never(bound: str, served: str) -> None:
    names = security.names_served(bound)
    assert security.host_name(f"{served}:7860") in names
    assert "localhost" in names
    assert security.host_name("") not in names
    assert security.host_name(":7860") not in names


@pytest.mark.parametrize("path", ["/api/uploads", "/api/jobs/x/cancel", "/gradio_api/queue/join", "/gradio_api/run/x"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://example.org"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_changes_from_other_sites_are_refused(client: TestClient, path: str, headers: dict[str, str]) -> None:
    answer = client.post(path, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["error"]["what"] == "The request came from another site."


def test_changes_from_our_own_page_pass_the_origin_check(client: TestClient) -> None:
    answer = client.post("/api/jobs/none/cancel", headers={"origin": "http://127.0.0.1:7860"})
    assert answer.status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/upload",
        "/gradio_api/upload_progress",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=https://example.org",
        "/gradio_api/stream/x",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/gradio_api/run-history/records",
        "/gradio_api/vibe-code",
        "/gradio_api/process_recording",
        "/gradio_api/custom_component/x/client/component/index.js",
        "/monitoring",
        "/manifest.json",
    ],
)
def test_routes_of_gradio_that_keep_or_fetch_files_are_closed(client: TestClient, path: str) -> None:
    for call in (client.get, client.post):
        assert call(path).status_code == 403


@pytest.mark.parametrize(
    "path", ["//gradio_api/upload", "/gradio_api//upload", "/%67radio_api/upload", "/x/../gradio_api/upload"]
)
def test_a_closed_route_has_no_other_spelling(client: TestClient, path: str) -> None:
    files = {"files": ("scan.dcm", b"x", "application/dicom")}
    assert client.post(path, files=files).status_code in (403, 404, 405)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_loopback_may_be_bound(host: str) -> None:
    security.check_bind(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.20", "10.0.0.1", "example.org", "", "127.0.0.1.nip.io"])
def test_nothing_else_may_be_bound_while_there_are_no_accounts(host: str) -> None:
    with pytest.raises(UserError, match="no account exists"):
        security.check_bind(host)


def test_the_command_says_so_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "0.0.0.0", "--no-browser"]) == 2
    told = capsys.readouterr().err
    assert "does not listen on 0.0.0.0" in told
    assert "Traceback" not in told


def test_hashed_program_files_may_be_kept_and_pages_may_not(client: TestClient) -> None:
    page = client.get("/").text
    script = re.search(r"assets/index-[\w-]{8}\.js", page)
    assert script
    assert "immutable" in client.get(f"/{script[0]}").headers["cache-control"]
