"""The harness itself: intervals, timings, memory, data folder, the closing line."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks import harness
from tests.benchmarks.__main__ import benchmarks, main, show, table
from tests.benchmarks.harness import (
    Options,
    PeerAbsent,
    Report,
    bootstrap,
    data_folder,
    finite,
    measure,
    peak_memory_mib,
    run_peer,
)


def test_a_bootstrap_interval_has_the_width_that_theory_gives() -> None:
    sample = np.random.default_rng(1).normal(10, 2, 400)
    found = bootstrap(sample)
    half = 1.96 * sample.std() / 20
    assert found.value == pytest.approx(sample.mean())
    assert found.low == pytest.approx(sample.mean() - half, abs=0.03)
    assert found.high == pytest.approx(sample.mean() + half, abs=0.03)
    assert bootstrap(sample) == found
    assert bootstrap([3.0, 3.0, 3.0]) == harness.Interval(3, 3, 3)
    with pytest.raises(ValueError, match="non-empty"):
        bootstrap([])


def test_measure_leaves_the_first_call_out() -> None:
    calls = []

    def slow_at_first() -> None:
        time.sleep(0.2 if not calls else 0.01)
        calls.append(1)

    timing = measure(slow_at_first, repeats=3, warmup=1)
    assert len(calls) == 4
    assert 0.01 <= timing.best <= timing.median < 0.15
    assert timing.percentile(100) == max(timing.seconds)


def test_peak_memory_sees_what_a_process_takes() -> None:
    small = peak_memory_mib("import time; time.sleep(0.3)")
    large = peak_memory_mib(
        "import time; block = bytearray(100 * 2**20); block[::4096] = b'x' * len(block[::4096]); time.sleep(0.3)"
    )
    assert 90 < large - small < 130
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        peak_memory_mib("1 / 0")


def test_the_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.setattr(harness, "ROOT", project)
    assert data_folder() is None
    named = tmp_path / "named"
    named.mkdir()
    monkeypatch.setenv("SYNTHSCOPE_DATA", str(named))
    assert data_folder() == named
    beside = tmp_path / "shared" / "data"
    beside.mkdir(parents=True)
    assert data_folder() == beside
    given = tmp_path / "given"
    given.mkdir()
    assert data_folder(given) == given
    with pytest.raises(FileNotFoundError):
        data_folder(tmp_path / "absent")


def test_the_closing_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report(
        rows=[{"what": "a", "value": 1.23456}, {"what": "b", "more": None}],
        metrics={"a.x": 1.5},
        skipped=["c: its data is absent"],
        versions={"peer": "1"},
    )
    show("house", report, 3.0)
    lines = capsys.readouterr().out.splitlines()
    closing = json.loads(lines[-1])
    assert closing["system"] == "house"
    assert closing["metrics"] == {"a.x": 1.5}
    assert closing["versions"]["peer"] == "1"
    assert closing["versions"]["numpy"] == np.__version__
    assert "skipped: c: its data is absent" in lines
    assert lines[2].split() == ["a", "1.235"]
    with pytest.raises(ValueError, match="JSON"):
        Report(metrics={"a": float("nan")}).json_line("house")
    assert finite(float("inf")) is None


def test_the_table_is_aligned() -> None:
    lines = table([{"name": "x", "n": 1}, {"name": "longer", "n": 22}]).splitlines()
    assert lines == ["name    n", "------  --", "x       1", "longer  22"]


def test_an_absent_peer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "PEER_ENVIRONMENT", tmp_path / "absent")
    with pytest.raises(PeerAbsent, match="make peers"):
        run_peer("print(1)")


def test_a_peer_answers_from_its_own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "peer_python", lambda: Path(sys.executable))
    assert run_peer("import sys, json; print('noise'); print(json.dumps(sys.argv[1:]))", "a", "b") == ["a", "b"]
    with pytest.raises(PeerAbsent, match="nosuchmodule"):
        run_peer("print(1)", needs=["nosuchmodule"])
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        run_peer("1 / 0")


def test_every_benchmark_can_be_called() -> None:
    from importlib import import_module

    for name, module in benchmarks().items():
        assert callable(import_module(module).run), name
    assert "house" in benchmarks()


def test_what_the_command_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["house", "--data", str(tmp_path / "absent")])
    assert end.value.code == 2
    assert "is not a folder" in capsys.readouterr().err
    done = subprocess.run([sys.executable, "-m", "tests.benchmarks", "nothing"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "invalid choice" in done.stderr
    assert Options("house").seed == 0
