"""Arrows point down: app → backend → models; no torch under app, no gradio below it; the first page stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "transformers", "diffusers", "lightning")
FORBIDDEN = {
    "app": {*HEAVY, "tests"},
    "backend": {"app", "gradio", "gradio_client", "tests"},
    "models": {"app", "backend", "gradio", "gradio_client", "tests", "sqlalchemy", "fastapi", "pydicom"},
}
NEVER = {"torchvision", "cripser", "alibi_detect"}
"""Nowhere in the product: breaks beside a CPU torch, is GPL, is not open source."""
LIGHT_SERVICES = "backend/services"


def files(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py") if "node_modules" not in path.parts)


def imports(tree: ast.AST, package: str) -> Iterator[tuple[str, int]]:
    """Top-level names of everything imported anywhere in a module, with lines; relative imports are of ``package``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (package if node.level else (node.module or "").partition(".")[0]), node.lineno
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__"):
            texts = [word.value for word in node.args[:1] if isinstance(word, ast.Constant)]
            yield from ((str(text).partition(".")[0], node.lineno) for text in texts)


def _name(function: ast.expr) -> str:
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def without_typing(tree: ast.Module) -> ast.Module:
    """The module without what only a type checker reads."""

    class Remove(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            self.generic_visit(node)
            return node.orelse if _name(node.test) == "TYPE_CHECKING" else node

    return Remove().visit(tree)


def violations(source: str, package: str) -> list[tuple[str, int]]:
    """Imports in ``source`` that a module of ``package`` must not have."""
    tree = without_typing(ast.parse(source)) if package == "app" else ast.parse(source)
    return [(name, line) for name, line in imports(tree, package) if name in FORBIDDEN[package] | NEVER]


@pytest.mark.parametrize("package", FORBIDDEN)
def test_arrows_point_down(package: str) -> None:
    listed = files(package)
    assert len(listed) > 5
    for path in listed:
        found = violations(path.read_text(encoding="utf-8"), package)
        assert not found, f"{path.relative_to(ROOT)}: {found}"


@pytest.mark.parametrize(
    ("source", "package", "wrong"),
    [
        ("def f():\n    import torch.nn", "app", ["torch"]),
        ("from torch import nn", "app", ["torch"]),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch", "app", []),
        ("import importlib\nimportlib.import_module('gradio.routes')", "backend", ["gradio"]),
        ("import torch", "backend", []),
        ("from backend.errors import UserError", "models", ["backend"]),
        ("from . import other", "models", []),
        ("import torchvision", "models", ["torchvision"]),
    ],
)
def test_the_check_sees_what_it_must(source: str, package: str, wrong: list[str]) -> None:
    assert [name for name, _ in violations(source, package)] == wrong


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh process has loaded after ``code``."""
    ask = f"{code}\nimport sys; print(' '.join(sorted({{m.partition('.')[0] for m in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_page_loads_no_network_library() -> None:
    loaded = loaded_after("import app.workbench; app.workbench.tabs()")
    assert "gradio" in loaded
    assert not loaded & set(HEAVY)


def test_the_backend_loads_nothing_heavy_on_top() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files(LIGHT_SERVICES)
        if path.name != "__init__.py"
    ]
    loaded = loaded_after("\n".join(f"import {module}" for module in ["backend.runtime", *modules]))
    assert not loaded & {*HEAVY, "skimage", "gradio"}


def test_every_folder_of_code_is_a_package() -> None:
    for package in (*FORBIDDEN, "tests"):
        for path in files(package):
            if "migrations" not in path.parts:  # scripts that Alembic reads by their path
                assert (path.parent / "__init__.py").is_file(), path.parent.relative_to(ROOT)


def test_files_keep_to_one_idea() -> None:
    """Nothing of ours is longer than 450 lines; a longer file holds a second idea."""
    for package in (*FORBIDDEN, "tests"):
        for path in files(package):
            lines = path.read_text(encoding="utf-8").count("\n")
            assert lines <= 450, f"{path.relative_to(ROOT)} has {lines} lines"
