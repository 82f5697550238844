"""README and program agree: what one names, the other has. ``python -m tests.readme`` prints the tables."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backend.catalogue import CATALOGUE, System
from backend.notices import RESEARCH_ONLY
from backend.weights import CARD, CONFIG, MODEL, SHIPPED, card_gaps
from tests import readme

TEXT = readme.README.read_text(encoding="utf-8")
CODE = readme.code(TEXT)
ROUTE = re.compile(r"^(GET|POST|PUT|PATCH|DELETE) (/\S*)$")
FOLDERS = ("app/", "backend/", "models/", "assets/", "tests/", ".ci/")


def named(pattern: str) -> set[str]:
    """First group of every match in README's code."""
    return {found for token in CODE for found in re.findall(pattern, token)}


def documented_commands() -> dict[readme.Words, list[str]]:
    """Commands that README names, with the options it gives them."""
    found: dict[readme.Words, list[str]] = {}
    for token in CODE:
        for tail in re.findall(r"python -m backend\b([^|&]*)", token):
            words = tail.split()
            plain = [word for word in words if re.fullmatch(r"[a-z]+", word)]
            known = readme.commands()
            command = next((tuple(plain[:n]) for n in (2, 1) if tuple(plain[:n]) in known), tuple(plain[:2]))
            if command:
                found.setdefault(command, []).extend(re.findall(r"(?<!\S)--[a-z-]+", tail))
    return found


def test_make_targets() -> None:
    assert named(r"(?:^|\s)make ([a-z][a-z-]*)(?=\s|$)") == set(readme.make_targets())


def test_commands() -> None:
    documented = documented_commands()
    groups = {words[:1] for words in readme.commands() if len(words) > 1}
    assert set(documented) - groups == set(readme.commands())
    for words, options in documented.items():
        assert words in groups or set(options) <= readme.options(readme.commands()[words]), words


def test_settings() -> None:
    assert named(r"\b(SYNTHSCOPE_[A-Z_]*[A-Z])\b") == set(readme.settings())


def test_routes() -> None:
    documented = {f"{m[1]} {readme.anonymous(m[2].partition('?')[0])}" for token in CODE if (m := ROUTE.match(token))}
    assert documented == {readme.anonymous(route) for route in readme.routes()}


def test_tabs() -> None:
    assert [row["tab"] for row in readme.table(TEXT, "Tab")] == readme.tabs()


def test_benchmarks() -> None:
    documented = named(r"python -m tests\.benchmarks ([a-z]+)")
    assert documented <= readme.benchmarks()
    assert readme.benchmarks() - {"all"} <= documented


def test_modules_that_are_run() -> None:
    for module in named(r"python -m ((?:app|backend|models|tests)[\w.]*)"):
        path = readme.ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for token in CODE:
        for module, tail in re.findall(r"python -m (app(?:\.setup)?)\b([^|&]*)", token):
            source = readme.ROOT / ("app/setup.py" if module == "app.setup" else "app/__main__.py")
            for option in re.findall(r"(?<!\S)--[a-z-]+", tail):
                assert f'"{option}"' in source.read_text(encoding="utf-8"), f"{module} {option}"


@pytest.mark.parametrize("system", list(CATALOGUE), ids=lambda system: system.name)
def test_the_table_of_systems(system: System) -> None:
    rows = readme.table(TEXT, "System")
    (row,) = [row for row in rows if row["system"] == system.title]
    assert row["state"] == system.state
    assert re.search(r"\d{4}\.\d{5}", system.paper)[0] in " ".join(row.values())  # type: ignore[index]
    assert len(rows) == len(CATALOGUE)


def test_paths_exist() -> None:
    for token in CODE:
        if token.startswith(FOLDERS) and re.fullmatch(r"[\w./-]+", token):
            assert (readme.ROOT / token).exists(), token
    for target in re.findall(r"\]\(([^)#\s]+)\)", TEXT):
        if "://" not in target:
            assert (readme.ROOT / target).exists(), target


def test_what_must_be_said() -> None:
    assert RESEARCH_ONLY in TEXT.replace("**", "")
    assert "phantom" in TEXT.lower()


def test_there_is_a_changelog_with_a_version() -> None:
    assert re.search(r"^## \d+\.\d+", (readme.ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("weight", [weight for system in CATALOGUE for weight in system.weights])
def test_every_weight_of_the_catalogue_is_shipped_with_its_card(weight: str) -> None:
    folder = SHIPPED / weight
    for name in (MODEL, CONFIG, CARD):
        assert (folder / name).is_file(), f"{weight} has no {name}"
    assert card_gaps((folder / CARD).read_text(encoding="utf-8")) == []


def test_no_weight_is_shipped_that_the_catalogue_does_not_name() -> None:
    shipped = {file.parent.relative_to(SHIPPED).as_posix() for file in SHIPPED.rglob(MODEL)}
    assert shipped == {weight for system in CATALOGUE for weight in system.weights}


def test_help_of_make_lists_every_target_that_can_be_made() -> None:
    text = (readme.ROOT / "Makefile").read_text(encoding="utf-8")
    phony = set(re.findall(r"^\.PHONY: (.+)$", text, re.MULTILINE)[0].split())
    assert phony == set(readme.make_targets())
    assert set(re.findall(r"^([a-z][\w-]*):", text, re.MULTILINE)) == phony


def test_reading_readme() -> None:
    text = "Use `make run`.\n```\nmake test   # all\npython -m backend x\n```\n"
    text += "| **Tab** | b |\n|--|--|\n| **A** | `c` |\n\n"
    assert readme.code(text) == ["make test", "python -m backend x", "make run", "c"]
    assert readme.table(text, "tab") == [{"tab": "A", "b": "c"}]
    assert readme.table(text, "other") == []
    assert readme.anonymous("/api/jobs/{job_id}/x") == "/api/jobs/{}/x"


def test_the_files_of_the_project_name_no_machine() -> None:
    """Committed text holds no path of the machine it was written on."""
    for path in tracked():
        if path.suffix in (".py", ".md", ".txt", ".toml", ".js", ".css", ".html", "") and path.name != "test_docs.py":
            text = path.read_text(encoding="utf-8", errors="replace")
            assert not re.search(r"/(?:work|farm)/(?:main|shared|\.)", text), path


def tracked() -> list[Path]:
    """Files of the project, without what is installed or made."""
    skip = {"node_modules", "__pycache__", "build", "dist"}
    found, waiting = [], [readme.ROOT]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.name in skip or path.is_symlink() or (path.name.startswith(".") and path.name != ".ci"):
                continue
            (waiting if path.is_dir() else found).append(path)
    return [path for path in found if path.stat().st_size < 1_000_000]
