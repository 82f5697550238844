"""The application as people start it: a process of its own on a free port and a home folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
START_S = 60.0


class Server:
    """A running ``python -m app``. ``url`` has no slash at its end; ``log`` is a file with all it printed."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, home: Path, log: Path) -> None:
        self.process = process
        self.url = url
        self.home = home
        self.log = log

    def get(self, path: str) -> Any:
        """The JSON of a route."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return json.load(answer)

    def kill(self) -> None:
        """End it as a power cut would: no handler runs."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Interrupt it as Ctrl-C does, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@contextmanager
def serve(
    home: Path, environment: Mapping[str, str] | None = None, module: str = "app", before: Sequence[str] = ()
) -> Iterator[Server]:
    """Start ``BEFORE python -m MODULE`` on ``home``, wait until it answers; stop it at the end of the block."""
    home.mkdir(parents=True, exist_ok=True)
    log = home.parent / f"{home.name}-server.log"
    variables = {name: value for name, value in os.environ.items() if not name.startswith("SYNTHSCOPE_")}
    variables |= {"SYNTHSCOPE_HOME": str(home), **(environment or {})}
    command = [*before, sys.executable, "-m", module, "--port", "0", "--no-browser"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield Server(process, _address(process, log), home, log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        text = log.read_text(errors="replace")
        for line in text.splitlines():
            if line.startswith("SynthScope: http"):
                url = line.removeprefix("SynthScope: ").strip()
                if _answers(url):
                    return url
        if process.poll() is not None:
            raise AssertionError(f"the server ended with status {process.returncode}:\n{text}")
        time.sleep(0.05)
    raise AssertionError(f"the server did not answer within {START_S:.0f} s:\n{log.read_text(errors='replace')}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/health", timeout=10) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition, or fail."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
