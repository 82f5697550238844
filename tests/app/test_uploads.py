"""Uploads: real files in, limits while streaming, nothing left behind, whatever happens in the middle."""

from __future__ import annotations

import http.client
import io
import os
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pydicom.data import get_testdata_file

from app.routes.uploads import summary
from app.server import create_app
from backend.runtime import Runtime
from backend.settings import MIB, Settings
from tests.serving import Server, serve, until


@pytest.fixture
def runtime(settings: Settings) -> Iterator[Runtime]:
    with Runtime.open(settings.model_copy(update={"max_upload_mib": 2})) as opened:
        yield opened


@pytest.fixture
def client(runtime: Runtime) -> Iterator[TestClient]:
    with TestClient(create_app(runtime), base_url="http://127.0.0.1:7860", raise_server_exceptions=False) as opened:
        yield opened


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def send(client: TestClient, data: bytes | Iterator[bytes], name: str = "upload.png") -> object:
    return client.post("/api/uploads", content=data, headers={"x-file-name": quote(name)})


def left_over(home: Path) -> list[str]:
    """Files under the home folder that are neither the database nor complete artifacts."""
    files = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    keep = ("synthscope.sqlite3", "artifacts/", "cache/", "logs/")
    whole = [name for name in files if name.startswith(keep) and ".part" not in name]
    return sorted(set(files) - set(whole))


def test_a_picture_is_stored_under_an_opaque_id(client: TestClient, runtime: Runtime) -> None:
    answer = send(client, picture(), "Müller, Anna *1950.png")
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert told["kind"] == "image"
    assert told["summary"] == "image, 64×48 px"
    view = runtime.artifacts.view(told["id"])
    assert (view.kind, view.media_type, view.synthetic) == ("upload", "image/png", False)
    assert np.asarray(Image.open(runtime.artifacts.path(view.id))).shape == (48, 64)
    everything = [view, *runtime.audit.events(), answer.text]
    assert "Anna" not in str(everything)
    assert left_over(runtime.settings.home) == []


@pytest.mark.parametrize(
    ("kind", "properties", "told"),
    [
        (
            "dicom",
            {
                "modality": "US",
                "content": "clip",
                "frames": 9,
                "rows": 240,
                "columns": 320,
                "spacing_mm": [0.51, 0.51],
            },
            "DICOM US clip, 9 frames, 320×240 px, 0.51 mm/px",
        ),
        (
            "slide",
            {"rows": 2, "columns": 3, "mpp": [0.499, 0.499], "objective_power": 20.0},
            "whole slide, 3×2 px, 0.499 µm/px, ×20",
        ),
        ("volume", {"shape": [182, 218, 90], "spacing_mm": [1.0, 1.0, 2.0]}, "volume, 182×218×90, 1×1×2 mm"),
        ("arrays", {}, "arrays"),
    ],
)
def test_what_arrived_is_told_in_the_fields_terms(kind: str, properties: dict[str, object], told: str) -> None:
    assert summary(kind, properties) == told


def test_a_scan_loses_its_patient_on_arrival(client: TestClient, runtime: Runtime) -> None:
    from pydicom import dcmread

    source = Path(get_testdata_file("CT_small.dcm"))
    name = str(dcmread(source).PatientName)
    answer = send(client, source.read_bytes(), "CT_small.dcm")
    assert answer.status_code == 201, answer.text
    stored = runtime.artifacts.path(answer.json()["id"]).read_bytes()
    assert name
    assert name.encode() not in stored
    assert answer.json()["notes"]
    assert name not in answer.text


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"", "empty.png"),
        (b"not an image at all" * 50, "scan.dcm"),
        (picture()[:1200], "cut.png"),
        (b"\x7fELF" + bytes(500), "program.png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "drawing.svg"),
        (b"%PDF-1.7 nothing", "report.pdf"),
    ],
)
def test_what_cannot_be_opened_is_refused_in_sentences(
    client: TestClient, runtime: Runtime, data: bytes, name: str
) -> None:
    answer = send(client, data, name)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"what", "why", "what_to_do"}
    assert error["what"].endswith(".")
    assert str(runtime.settings.home) not in answer.text
    assert runtime.artifacts.list() == []
    assert left_over(runtime.settings.home) == []


def test_a_declared_length_over_the_limit_is_refused_before_the_body(client: TestClient, runtime: Runtime) -> None:
    answer = send(client, bytes(2 * MIB + 1))
    assert (answer.status_code, answer.json()["error"]["what"]) == (413, "The file is too large.")
    assert left_over(runtime.settings.home) == []


def test_a_length_that_lies_is_found_out_while_streaming(client: TestClient, runtime: Runtime) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 64 * MIB:
            sent += MIB // 4
            yield bytes(MIB // 4)

    answer = send(client, endless())
    assert answer.status_code == 413
    assert left_over(runtime.settings.home) == []


def test_a_bomb_is_refused(client: TestClient, runtime: Runtime) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scan.dcm", bytes(600 * MIB))
    answer = send(client, file.getvalue(), "series.zip")
    assert answer.status_code == 400
    assert left_over(runtime.settings.home) == []


def test_file_names_cannot_lead_anywhere(client: TestClient, runtime: Runtime, tmp_path: Path) -> None:
    for name in ("../../../../evil.png", "/etc/evil.png", "..\\evil.png", "\x00.png", "." * 300, "a" * 9000 + ".png"):
        answer = send(client, picture(), name)
        assert answer.status_code in (201, 400)
    assert not list(tmp_path.rglob("*evil*"))
    assert left_over(runtime.settings.home) == []


# --- faults, on the application in a process of its own ---------------------------------------------------------------


def begin(server: Server, length: int, sent: int) -> socket.socket:
    """A connection that has sent ``sent`` of the ``length`` bytes that it promised."""
    parts = urlsplit(server.url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=20)
    head = (
        f"POST /api/uploads HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {length}\r\nX-File-Name: a.png\r\n\r\n"
    )
    connection.sendall(head.encode() + bytes(sent))
    return connection


def arriving(home: Path) -> list[Path]:
    """Bodies of uploads with something in them. A server at work may remove a folder that is being looked into."""
    folders = os.walk(home / "tmp")  # Passes over a folder that is gone, unlike rglob.
    paths = [Path(folder) / "body" for folder, _, names in folders if "body" in names]
    return [path for path in paths if size_of(path) > 0]


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_a_power_cut_in_the_middle_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serve(home) as server:
        connection = begin(server, 64 * MIB, 20 * MIB)
        until(lambda: arriving(home))
        server.kill()
        connection.close()
    assert arriving(home), "the cut must have come in the middle"
    with serve(home) as server:
        assert arriving(home) == []
        assert left_over(home) == []
        assert server.get("/api/health")["ok"]


def test_a_sender_that_goes_away_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serve(home) as server:
        connection = begin(server, 64 * MIB, 20 * MIB)
        until(lambda: arriving(home))
        connection.close()
        until(lambda: not arriving(home))
        until(lambda: left_over(home) == [])
        assert server.get("/api/health")["ok"]
        assert "Traceback" not in server.log.read_text()


def test_another_server_on_the_same_home_does_not_sweep_what_is_arriving(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with serve(home) as server:
        connection = begin(server, 64 * MIB, 20 * MIB)
        until(lambda: arriving(home))
        with serve(home):
            assert arriving(home)
        connection.close()
        until(lambda: not arriving(home))


def upload(server: Server, size: int) -> tuple[int, bytes]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    connection.request("POST", "/api/uploads", body=bytes(size), headers={"X-File-Name": "a.png"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def check_full_disk(server: Server) -> None:
    """It says so in sentences, stays up, leaves nothing, and takes the next file that fits."""
    status, body = upload(server, 40 * MIB)
    assert status == 507, body
    assert b"disk of the server is full" in body
    until(lambda: left_over(server.home) == [])
    assert server.get("/api/health")["ok"]
    assert upload(server, 10)[0] == 400
    assert "Traceback" not in server.log.read_text()


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(home)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small tmpfs cannot be mounted here")
    try:
        with serve(home) as server:
            check_full_disk(server)
    finally:
        subprocess.run(["umount", str(home)], check=True)


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit is not installed")
def test_a_quota_is_told_like_a_full_disk(tmp_path: Path) -> None:
    limit = ["prlimit", f"--fsize={12 * MIB}"]
    with serve(tmp_path / "home", before=limit) as server:
        check_full_disk(server)
