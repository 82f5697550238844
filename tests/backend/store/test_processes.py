from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backend.store.processes import ProcessIdentity
from backend.store.scratch import OLD_S, Scratch


def identity_of(process: subprocess.Popen[str]) -> ProcessIdentity:
    identity = ProcessIdentity.parse(process.stdout.readline().strip())
    assert identity is not None
    return identity


@pytest.fixture
def sleeper() -> subprocess.Popen[str]:
    program = (
        "from backend.store.processes import ProcessIdentity;"
        "import time; print(ProcessIdentity.current(), flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_this_process_lives() -> None:
    current = ProcessIdentity.current()
    assert current.pid == os.getpid()
    assert current.alive() is True
    assert ProcessIdentity.parse(str(current)) == current


def test_killed_process_is_dead_even_as_a_zombie(sleeper: subprocess.Popen[str]) -> None:
    identity = identity_of(sleeper)
    assert identity.alive() is True
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT) if hasattr(os, "waitid") else sleeper.wait()
    assert identity.alive() is False
    sleeper.wait()
    assert identity.alive() is False


def test_number_used_again_is_not_the_same_process() -> None:
    current = ProcessIdentity.current()
    assert replace(current, started=current.started - 1000).alive() is False


def test_process_of_another_machine_cannot_be_judged() -> None:
    assert replace(ProcessIdentity.current(), place="0" * 16).alive() is None


@pytest.mark.parametrize("text", ["", "a.b.c", "a.1", "a.1.2.3", "x"])
def test_other_names_are_not_processes(text: str) -> None:
    assert ProcessIdentity.parse(text) is None


def test_workdir_is_empty_and_goes_whatever_happens(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "tmp")
    with scratch.workdir() as folder:
        assert list(folder.iterdir()) == []
        (folder / "sub").mkdir()
        (folder / "sub" / "file").write_bytes(b"x")
        assert scratch.sweep() == 0  # its owner lives

    def fail() -> None:
        with scratch.workdir() as folder:
            (folder / "file").write_bytes(b"x")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert list(scratch.folder.iterdir()) == []


def test_scratch_sweep_takes_the_dead_and_the_old_only(tmp_path: Path, sleeper: subprocess.Popen[str]) -> None:
    scratch = Scratch(tmp_path / "tmp")
    identity = identity_of(sleeper)
    elsewhere = replace(identity, place="0" * 16)
    for name in (f"{identity}.aa", f"{elsewhere}.bb", f"{elsewhere}.cc", "unsigned", "unsigned-old"):
        (scratch.folder / name).mkdir()
    for name in (f"{elsewhere}.cc", "unsigned-old"):
        path = scratch.folder / name
        old = path.stat().st_mtime - OLD_S - 1
        os.utime(path, (old, old))
    assert scratch.sweep() == 2
    sleeper.kill()
    sleeper.wait()
    assert scratch.sweep() == 1
    assert sorted(path.name for path in scratch.folder.iterdir()) == sorted([f"{elsewhere}.bb", "unsigned"])
