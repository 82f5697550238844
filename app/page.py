"""The one HTML page: Gradio's own, with our style sheet and script first and without its links to other sites."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape
from pathlib import Path

import gradio.routes
from jinja2 import BaseLoader, Environment, TemplateNotFound

from backend.notices import RESEARCH_ONLY

INDEX = "frontend/index.html"
# Scripts of the tabs, one a system, served under /static/app/ and loaded with the page as modules.
SCRIPTS = Path(__file__).resolve().parent / "static"
# Read before Gradio's own module: the script chooses light or dark and the tab of the URL before anything is drawn.
_HEAD = (
    '<link rel="icon" type="image/svg+xml" href="/static/theme/icon.svg">'
    f'<meta name="description" content="SynthScope. {escape(RESEARCH_ONLY)}">'
    '<link rel="stylesheet" href="/static/theme/synthscope.css">'
    '<script src="/static/theme/boot.js"></script>'
    '<script type="module" src="/static/theme/synthscope.js"></script>'
)
_SOCIAL = re.compile(r"<meta\b[^>]*?(?:property|name)=\"(?:og|twitter):[^>]*?>\s*", re.DOTALL)
_MANIFEST = re.compile(r"<link rel=\"manifest\"[^>]*>\s*")
_PARENT = re.compile(r"window\.parent\?\.postMessage\([^;]*?\);", re.DOTALL)
_CONFIG = "<script>window.gradio_config"


def head() -> str:
    """What goes into the page's head: icon, style sheet, our script, then the scripts of the tabs."""
    names = sorted(path.name for path in SCRIPTS.glob("*.js")) if SCRIPTS.is_dir() else []
    return _HEAD + "".join(f'<script type="module" src="/static/app/{escape(name)}"></script>' for name in names)


def adapt(source: str) -> str:
    """Gradio's template with our head in it. Raises ``ValueError`` when the template is not the one we know."""
    if _CONFIG not in source or "</head>" not in source:
        raise ValueError("Gradio's page template has changed; app/page.py has to follow it")
    source = _SOCIAL.sub("", source)
    source = _MANIFEST.sub("", source)
    source = _PARENT.sub("", source)
    return source.replace('<script type="module"', head() + '<script type="module"', 1)


class _Pages(BaseLoader):
    """Loads templates as before and adapts the page among them."""

    def __init__(self, loader: BaseLoader) -> None:
        self._loader = loader

    def get_source(self, environment: Environment, template: str) -> tuple[str, str | None, Callable[[], bool] | None]:
        """The template's text, path and freshness check."""
        source, path, fresh = self._loader.get_source(environment, template)
        return (adapt(source) if template == INDEX else source), path, fresh


def install() -> None:
    """Make Gradio serve the adapted page. Safe to call more than once."""
    environment = gradio.routes.templates.env
    if environment.loader is None:
        raise TemplateNotFound(INDEX)
    if not isinstance(environment.loader, _Pages):
        environment.loader = _Pages(environment.loader)
        if environment.cache is not None:
            environment.cache.clear()
