"""Tiles over HTTP: our own server beside two peers, the same slides, tiles, quality and clients, all caches cold."""

from __future__ import annotations

import json
import os
import random
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil

from backend.tiles.codec import JPEG_QUALITY
from backend.tiles.geometry import OVERLAP, TILE_SIZE, Pyramid
from tests.benchmarks.harness import ROOT, PeerAbsent, peer_python

CLIENTS = 4
PEERS = ("openslide", "large_image")
NEEDS = {"openslide": ("openslide",), "large_image": ("large_image_source_openslide",)}
PEER_PACKAGES = (
    "openslide-python",
    "openslide-bin",
    "large-image",
    "large-image-source-openslide",
    "pillow",
    "uvicorn",
)
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Run:
    """One cold pass over a slide's tiles. Times in seconds; ``cpu`` is the server's processor time."""

    wall: float
    cpu: float
    latencies: tuple[float, ...]
    bytes: int

    @property
    def rate(self) -> float:
        """Tiles a second."""
        return len(self.latencies) / self.wall


@dataclass
class Contender:
    """The passes of one server, by slide."""

    name: str
    runs: dict[str, list[Run]] = field(default_factory=dict)

    def rate(self, slides: Sequence[str]) -> float:
        """Tiles a second over the named slides: median over the repeats."""
        return statistics.median(
            sum(len(run.latencies) for run in repeat) / sum(run.wall for run in repeat)
            for repeat in self._repeats(slides)
        )

    def latency_ms(self, slides: Sequence[str], q: float) -> float:
        """The ``q``-th percentile of a request in ms: median over the repeats."""
        return statistics.median(
            float(np.percentile([s for run in repeat for s in run.latencies], q)) * 1e3
            for repeat in self._repeats(slides)
        )

    def cpu_ms(self, slides: Sequence[str]) -> float:
        """The server's processor time a tile in ms: median over the repeats."""
        return statistics.median(
            sum(run.cpu for run in repeat) / sum(len(run.latencies) for run in repeat) * 1e3
            for repeat in self._repeats(slides)
        )

    def _repeats(self, slides: Sequence[str]) -> list[tuple[Run, ...]]:
        return list(zip(*(self.runs[slide] for slide in slides), strict=True))


def tile_list(width: int, height: int, seed: int) -> list[tuple[int, int, int]]:
    """Every (level, column, row) of a slide in a random order, the same for every contender."""
    tiles = list(Pyramid(width, height).tiles())
    random.Random(seed).shuffle(tiles)
    return tiles


def check_peer(name: str) -> Path:
    """The Python that can run a peer. Raises :class:`PeerAbsent`."""
    python = peer_python()
    if python is None:
        raise PeerAbsent(f"{name}: no environment of peers; `make peers` makes it")
    for module in NEEDS[name]:
        probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        if subprocess.run([python, "-c", probe], check=False).returncode:
            raise PeerAbsent(f"{name}: {module} is not in the peers' environment; `make peers` installs it")
    return python


def peer_versions() -> dict[str, str]:
    """Versions in the peers' environment of what a peer's speed depends on; empty when there is none."""
    python = peer_python()
    if python is None:
        return {}
    code = (
        "import importlib.metadata as m, json, sys\n"
        "found = {d.metadata['Name'].lower(): d.version for d in m.distributions()}\n"
        "print(json.dumps({'peers.' + n: found[n] for n in sys.argv[1:] if n in found}))"
    )
    done = subprocess.run([python, "-c", code, *PEER_PACKAGES], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(contender: Contender, slides: dict[str, Path], seed: int) -> None:
    """One cold start of a contender's server, and one pass over every slide."""
    with _server(contender.name, slides) as (port, process, ids):
        for name in slides:
            facts = _get_json(port, f"/api/slides/{ids[name]}/info")
            tiles = tile_list(facts["width"], facts["height"], seed)
            paths = [f"/api/slides/{ids[name]}/tiles/{level}/{column}_{row}.jpg" for level, column, row in tiles]
            contender.runs.setdefault(name, []).append(_fetch(port, process, paths))


def _fetch(port: int, server: psutil.Process, paths: Sequence[str]) -> Run:
    clients = []
    for index in range(CLIENTS):
        client = subprocess.Popen(
            [sys.executable, "-S", str(HERE / "house_client.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert client.stdin is not None
        client.stdin.write(json.dumps({"port": port, "paths": paths[index::CLIENTS]}) + "\n")
        client.stdin.flush()
        clients.append(client)
    for client in clients:
        assert client.stdout is not None
        if client.stdout.readline().strip() != "ready":
            raise RuntimeError("a tile client did not start")
    before = _cpu(server)
    for client in clients:
        assert client.stdin is not None
        client.stdin.write("go\n")
        client.stdin.flush()
    answers = [json.loads(client.communicate(timeout=300)[0]) for client in clients]
    cpu = _cpu(server) - before
    failed = sum(answer["failed"] for answer in answers)
    if failed:
        raise RuntimeError(f"{failed} of {len(paths)} tiles did not come")
    wall = max(answer["end"] for answer in answers) - min(answer["start"] for answer in answers)
    latencies = tuple(seconds for answer in answers for seconds in answer["seconds"])
    return Run(wall, cpu, latencies, sum(answer["bytes"] for answer in answers))


@contextmanager
def _server(name: str, slides: dict[str, Path]) -> Iterator[tuple[int, psutil.Process, dict[str, str]]]:
    """A fresh server process, ready: its port, the process, and the id of every slide there."""
    with TemporaryDirectory() as home:
        port = free_port()
        if name == "ours":
            command = [sys.executable, "-m", "app", "--port", str(port), "--no-browser"]
            roots = json.dumps(sorted({str(path.parent) for path in slides.values()}))
            environment = {**os.environ, "SYNTHSCOPE_HOME": home, "SYNTHSCOPE_SLIDE_ROOTS": roots}
            ids = _register(Path(home), slides)
        else:
            given = [f"{key}={path}" for key, path in slides.items()]
            options = [str(value) for value in (port, TILE_SIZE, OVERLAP, JPEG_QUALITY)]
            command = [str(check_peer(name)), str(HERE / "house_peer.py"), name, *options, *given]
            environment, ids = dict(os.environ), {key: key for key in slides}
        with started(command, environment) as process:
            wait_until_open(port, process)
            for slide_id in ids.values():
                _get_json(port, f"/api/slides/{slide_id}/info")  # opens the slide, as a viewer does first
            yield port, process, ids


def _register(home: Path, slides: dict[str, Path]) -> dict[str, str]:
    """Opaque ids of slides on this machine's disk, as the Slides tab hands them out."""
    from backend.services.slide_paths import PathRegistry

    registry = PathRegistry(home / "slide_paths.json", tuple(path.parent for path in slides.values()))
    return {name: registry.register(str(path)) for name, path in slides.items()}


@contextmanager
def started(command: Sequence[str], environment: dict[str, str]) -> Iterator[psutil.Process]:
    """A child process that is ended when the block is left."""
    process = psutil.Popen(
        list(command), cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_open(port: int, process: psutil.Process, timeout: float = 60) -> None:
    """Return when something answers HTTP on the port. Raises ``RuntimeError`` when the process ends or time is up."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended: {process.stderr.read().strip().splitlines()[-1:]}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # it answers, if only to say that there is no such route
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not answer in time")


def _get_json(port: int, path: str) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return json.load(answer)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
