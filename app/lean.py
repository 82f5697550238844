"""Make Gradio start quickly and keep to this machine. Runs before the first ``import gradio`` of the package.

Two things that Gradio does while it is imported are of no use here and cost a third of its time:

- it writes a ``.pyi`` stub beside every component's source, for people who write Gradio apps in an editor; this takes
  more than a second on two cores and fails in a read-only installation;
- it imports pandas for a cache decorator that may be given data frames; pandas is now imported when that happens.

Both are met where they are, while the one module concerned is loaded; nothing of Gradio's own is copied or changed on
the disk, and an upgrade that moves these places loses the gain and nothing else.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}


class _Late(ModuleType):
    """Stands for a module until something of it is needed."""

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self.__name__), name)


def _import_pandas_late(name: str, *arguments: Any, **named: Any) -> ModuleType:
    return _Late(name) if name == "pandas" else builtins.__import__(name, *arguments, **named)


def _before_caching(module: ModuleType) -> None:
    # Import statements look for __import__ among the built-in names of their own module.
    module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import_pandas_late}


def _after_component_meta(module: ModuleType) -> None:
    module.create_or_modify_pyi = lambda component_class, class_name, events: None  # type: ignore[attr-defined]


def _nothing(module: ModuleType) -> None:
    return


# Module → what to do before and after it is loaded.
_PLACES: dict[str, tuple[Callable[[ModuleType], None], Callable[[ModuleType], None]]] = {
    "gradio.component_meta": (_nothing, _after_component_meta),
    "gradio.caching": (_before_caching, _nothing),
}


class _Around(Loader):
    """Loads a module as usual, with something done before and after."""

    def __init__(self, loader: Loader, name: str) -> None:
        self._loader = loader
        self._before, self._after = _PLACES[name]

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module object that the usual loader would make."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module between the two."""
        self._before(module)
        self._loader.exec_module(module)
        self._after(module)


class _Finder(MetaPathFinder):
    """Answers for the modules in ``_PLACES`` only."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The usual spec with our loader around its own."""
        if name not in _PLACES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Around(spec.loader, name)
        return spec


def prepare() -> None:
    """Set Gradio's quiet switches and shorten its import. Safe to call more than once."""
    os.environ.update(QUIET)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
