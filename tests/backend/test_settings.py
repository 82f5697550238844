"""Settings: argument, environment, file, default, in that order; nothing unknown is let pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.settings import Settings, default_home, get_settings


def write(home: Path, text: str) -> None:
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.toml").write_text(text)


def test_order_of_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().port == 7860
    write(default_home(), "port = 1111\nmax_frames = 7\n")
    assert Settings().port == 1111
    monkeypatch.setenv("SYNTHSCOPE_PORT", "2222")
    assert Settings().port == 2222
    assert Settings(port=3333).port == 3333
    assert Settings().max_frames == 7


def test_home_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHSCOPE_HOME", str(tmp_path / "there"))
    assert Settings().home == tmp_path / "there"
    assert Settings().sqlalchemy_url == f"sqlite:///{tmp_path / 'there' / 'synthscope.sqlite3'}"


def test_a_database_url_replaces_the_file() -> None:
    assert Settings(database_url="postgresql://u@h/db").sqlalchemy_url == "postgresql://u@h/db"


@pytest.mark.parametrize("text", ["prot = 1\n", "port = 70000\n", 'device = "gpu"\n', "job_workers = 0\n"])
def test_wrong_files_are_refused(text: str) -> None:
    write(default_home(), text)
    with pytest.raises(ValidationError):
        Settings()


def test_lists_of_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNTHSCOPE_SLIDE_ROOTS", f'["{tmp_path.as_posix()}"]')
    assert Settings().slide_roots == [tmp_path]


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_they_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = get_settings()
    monkeypatch.setenv("SYNTHSCOPE_PORT", "2222")
    assert get_settings() is first
