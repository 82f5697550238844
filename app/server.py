"""The FastAPI parent: our own routes first, then the workbench that Gradio serves."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from app import security
from app.routes import common

if TYPE_CHECKING:
    from backend.runtime import Runtime

ROUTES = ("uploads", "jobs", "artifacts", "status", "audit", "tiles", "topology")


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
    for name in ROUTES:
        if find_spec(f"app.routes.{name}") is not None:
            app.include_router(import_module(f"app.routes.{name}").router)
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
