"""What every benchmark shares: options, report, data folder, timing, intervals, memory, peers.

A benchmark is a module ``tests/benchmarks/<name>.py`` with one function ``run(options: Options) -> Report``. The last
line that ``python -m tests.benchmarks`` prints is one JSON object, ``{"system", "metrics", "versions"}``; nothing in it
is a stored number.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
PEER_ENVIRONMENT = ROOT / ".venv-peers"
PEER_LIST = Path(__file__).with_name("peers.txt")
MIB = 1024 * 1024

VERSIONS = ("torch", "numpy", "scipy", "scikit-image", "opencv-python-headless", "gudhi", "gradio", "fastapi")
"""Distributions named in every report; a benchmark adds its own in ``Report.versions``."""


@dataclass(frozen=True)
class Options:
    """How a benchmark was called. ``data`` is the resolved data folder, or ``None`` when there is none."""

    system: str
    full: bool = False
    data: Path | None = None
    seed: int = 0


@dataclass
class Report:
    """What a benchmark found.

    ``rows`` are the printed table (one mapping a row, columns in order of first appearance), ``metrics`` the flat
    numbers of the JSON line, ``skipped`` one sentence for each case or peer that could not run, ``notes`` what a reader
    must know, ``versions`` those beyond :data:`VERSIONS` (of peers in an environment of their own, for example).
    """

    rows: list[Mapping[str, Any]] = field(default_factory=list)
    metrics: dict[str, float | int | None] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    def json_line(self, system: str) -> str:
        """The closing line. Raises ``ValueError`` when a metric is NaN or infinite, which JSON cannot say."""
        content = {"system": system, "metrics": self.metrics, "versions": {**versions(), **self.versions}}
        return json.dumps(content, allow_nan=False)


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated calls; ``median`` is the one to report."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Middle of the repeats, in seconds."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """Fastest repeat, in seconds."""
        return min(self.seconds)

    def percentile(self, q: float) -> float:
        """The ``q``-th percentile (0 to 100), linearly interpolated, in seconds."""
        return float(np.percentile(self.seconds, q))


@dataclass(frozen=True)
class Interval:
    """A statistic with its bootstrap interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


def versions(names: Sequence[str] = VERSIONS) -> dict[str, str]:
    """Installed versions of the named distributions and of Python; those that are absent are left out."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def data_folder(given: Path | None = None) -> Path | None:
    """Where real benchmark data lies: ``given``, else ``../shared/data`` beside the project, else ``SYNTHSCOPE_DATA``.

    Raises ``FileNotFoundError`` when ``given`` is not a folder; returns ``None`` when nothing is there.
    """
    if given is not None:
        if not given.is_dir():
            raise FileNotFoundError(f"--data {given} is not a folder")
        return given.resolve()
    beside = ROOT.parent / "shared" / "data"
    if beside.is_dir():
        return beside
    named = os.environ.get("SYNTHSCOPE_DATA", "")
    return Path(named).resolve() if named and Path(named).is_dir() else None


def measure(call: Callable[[], object], *, repeats: int = 5, warmup: int = 1) -> Timing:
    """Wall-clock seconds of ``repeats`` calls after ``warmup`` untimed ones."""
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return Timing(tuple(seconds))


def bootstrap(
    values: Sequence[float] | np.ndarray,
    statistic: Callable[..., Any] = np.mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """``statistic`` of ``values`` (shape [N]) with its percentile bootstrap interval (Efron 1979).

    ``statistic`` must take an ``axis`` argument, as numpy's do. Raises ``ValueError`` when there is no value.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size:
        raise ValueError("bootstrap needs a non-empty list of numbers")
    drawn = np.random.default_rng(seed).choice(sample, size=(resamples, sample.size))
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(statistic(drawn, axis=1), [tail, 100 - tail])
    return Interval(float(statistic(sample, axis=0)), float(low), float(high))


def peak_memory_mib(code: str, *, timeout_s: float = 300) -> float:
    """Peak resident memory, in MiB, of a fresh Python process of this environment that runs ``code``.

    Raises ``RuntimeError`` when the process fails.
    """
    import threading

    import psutil

    process = psutil.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            try:
                peak = max(peak, process.memory_info().rss)
            except psutil.Error:
                return
            time.sleep(0.01)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        _, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise RuntimeError(f"the measured process was still running after {timeout_s:g} s") from None
    watcher.join()
    if process.returncode:
        raise RuntimeError(complaint.decode(errors="replace").strip().splitlines()[-1])
    return peak / MIB


def peer_python() -> Path | None:
    """The Python of the peers' own environment (``make peers``), or ``None`` when it has not been made."""
    for place in ("bin/python", "Scripts/python.exe"):
        if (PEER_ENVIRONMENT / place).is_file():
            return PEER_ENVIRONMENT / place
    return None


class PeerAbsent(Exception):
    """A peer cannot run here; the message is the sentence for ``Report.skipped``."""


def run_peer(code: str, *arguments: str, needs: Sequence[str] = (), timeout_s: float = 600) -> Any:
    """Run ``code`` in the peers' environment and return what its last printed line says as JSON.

    ``needs`` are module names that must be importable there. Raises :class:`PeerAbsent` when the environment or a
    module is missing and ``RuntimeError`` when the code fails.
    """
    python = peer_python()
    if python is None:
        raise PeerAbsent("no environment of peers; `make peers` makes it")
    for module in needs:
        probe = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        if subprocess.run([python, "-c", probe], check=False).returncode:
            raise PeerAbsent(f"{module} is not in the peers' environment; `make peers` installs it")
    done = subprocess.run(
        [python, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the peer failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def finite(value: float) -> float | None:
    """``value`` as JSON can say it: ``None`` in place of NaN and infinities."""
    return float(value) if math.isfinite(value) else None
