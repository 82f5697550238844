"""The FastAPI parent: our own routes first, then the workbench that Gradio serves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from starlette.staticfiles import StaticFiles

from app import routes, security
from app.routes import common

if TYPE_CHECKING:
    from backend.runtime import Runtime


def routers() -> Iterator[APIRouter]:
    """The router of every module in ``app.routes`` that has one: a new system's routes need no entry here."""
    for module in iter_modules(routes.__path__, "app.routes."):
        router = getattr(import_module(module.name), "router", None)
        if isinstance(router, APIRouter):
            yield router


def create_app(runtime: Runtime) -> FastAPI:
    """The whole application around an open runtime; the caller closes the runtime after the server has stopped."""
    # Whatever Gradio still writes lies in the home folder, which only its owner can read, not in a shared /tmp.
    os.environ["GRADIO_TEMP_DIR"] = str(runtime.settings.home / "tmp" / "gradio")
    import gradio as gr

    from app import page, theme, workbench

    app = FastAPI(title="SynthScope", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.runtime = runtime
    app.add_middleware(security.Guard, hosts=security.names_served(runtime.settings.host))
    common.install(app)
    for router in routers():
        app.include_router(router)
    app.mount("/static/theme", StaticFiles(directory=theme.FOLDER), name="theme")
    app.mount("/static/app", StaticFiles(directory=page.SCRIPTS, check_dir=False), name="scripts")
    page.install()
    gr.mount_gradio_app(
        app,
        workbench.build(runtime),
        path="/",
        theme=theme.SynthScopeTheme(),
        run_history=False,
        footer_links=[],
        ssr_mode=False,
        show_error=False,
        max_file_size=0,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
    )
    return app
