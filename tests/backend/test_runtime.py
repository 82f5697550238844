from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobContext, JobEngine
from backend.runtime import Runtime
from backend.settings import Settings


def test_opens_in_an_empty_folder_and_again(settings: Settings) -> None:
    with Runtime.open(settings) as first:
        first.audit.append(actor=LOCAL, action="a", subject="s")
        head = first.audit.head()
    with Runtime.open(settings) as second:
        assert second.audit.verify(head).ok
        assert second.audit.count() == 1
        assert second.settings is settings
        with second.database.read() as session:  # an orderly end leaves no engine behind
            assert session.execute(text("SELECT COUNT(*) FROM engines")).scalar_one() == 1
    assert not list(settings.home.glob("*-wal"))


def test_settings_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHSCOPE_HOME", str(tmp_path / "elsewhere"))
    with Runtime.open() as runtime:
        assert runtime.settings.home == tmp_path / "elsewhere"
        assert (tmp_path / "elsewhere" / "synthscope.sqlite3").is_file()


@pytest.mark.skipif(os.name == "nt", reason="permission bits are a thing of Unix")
def test_others_on_the_machine_cannot_look_in(settings: Settings) -> None:
    settings.home.mkdir(mode=0o755)  # somebody made it beforehand, open to all
    with Runtime.open(settings):
        inside = {path.name: stat.S_IMODE(path.stat().st_mode) for path in settings.home.iterdir()}
    assert all(mode & 0o077 == 0 for mode in inside.values()), inside


def test_opening_loads_nothing_heavy(settings: Settings) -> None:
    program = (
        "import sys; from backend.runtime import Runtime; Runtime.open().close();"
        "print([name for name in ('torch', 'scipy', 'numpy', 'cv2', 'gradio') if name in sys.modules])"
    )
    environment = os.environ | {"SYNTHSCOPE_HOME": str(settings.home)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", done.stderr


def test_home_that_is_a_file_is_explained(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(UserError, match="home folder cannot be used"):
        Runtime.open(Settings(home=tmp_path / "home"))


def test_damaged_database_is_explained_and_untouched(settings: Settings) -> None:
    settings.home.mkdir()
    path = settings.home / "synthscope.sqlite3"
    path.write_bytes(b"something else" * 500)
    with pytest.raises(UserError, match="damaged"):
        Runtime.open(settings)
    assert path.read_bytes() == b"something else" * 500


def test_two_runtimes_share_one_home(settings: Settings) -> None:
    with Runtime.open(settings) as first, Runtime.open(settings) as second:
        first.audit.append(actor=LOCAL, action="a", subject="1")
        second.audit.append(actor=LOCAL, action="a", subject="2")
        assert first.audit.verify().events == 2


def test_engine_has_every_method_of_the_contract(runtime: Runtime) -> None:
    from backend.jobs.context import LocalContext

    for contract, ours in ((JobEngine, type(runtime.jobs)), (JobContext, LocalContext)):
        promised = {name for name in vars(contract) if not name.startswith("_")}
        assert promised <= set(dir(ours))
