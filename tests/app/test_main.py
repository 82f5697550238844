"""``python -m app``: start, address, taken port, clean end by either signal."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import pytest

from app.__main__ import main
from tests.serving import serve


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    with serve(tmp_path / "home") as server:
        assert server.url.startswith("http://127.0.0.1:")
        server.process.send_signal(number)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log.read_text()
    # The last writer put its log back into the database: nothing of an open database is left.
    assert not (tmp_path / "home" / "synthscope.sqlite3-wal").exists()


def test_a_taken_port_is_told_before_anything_is_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--port", str(port), "--no-browser"]) == 2
    told = capsys.readouterr().err
    assert f"Port {port} cannot be used." in told
    assert "Traceback" not in told
    assert not (tmp_path / "home" / "synthscope.sqlite3").exists()


def test_a_home_that_cannot_be_used_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home").write_text("a file, not a folder")
    assert main(["--port", "0", "--no-browser"]) == 2
    told = capsys.readouterr().err
    assert "cannot be" in told
    assert "Traceback" not in told


def test_two_servers_may_share_a_home(tmp_path: Path) -> None:
    with serve(tmp_path / "home") as first, serve(tmp_path / "home") as second:
        assert first.url != second.url
        assert first.get("/api/health") == second.get("/api/health")
