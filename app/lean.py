"""Make Gradio start quickly and keep to this machine. Runs before the first ``import gradio`` of the package.

Gradio writes a ``.pyi`` stub beside every component's source while it is being imported, which takes more than a second
on two cores and fails in a read-only installation. The stubs serve people who write Gradio apps in an editor, not
people who use one, so the function that writes them is replaced while its module loads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
_STUB_WRITER = "gradio.component_meta"


class _WithoutStubs(Loader):
    """Loads the module as usual, then takes its stub writer away."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module object that the usual loader would make."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module and replace ``create_or_modify_pyi``."""
        self._loader.exec_module(module)
        module.create_or_modify_pyi = lambda component_class, class_name, events: None  # type: ignore[attr-defined]


class _Finder(MetaPathFinder):
    """Answers for one module name only."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The usual spec of the stub writer's module with our loader around its own."""
        if name != _STUB_WRITER:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _WithoutStubs(spec.loader)
        return spec


def prepare() -> None:
    """Set Gradio's quiet switches and leave out its stub writing. Safe to call more than once."""
    for key, value in QUIET.items():
        os.environ[key] = value
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
