"""The audit log as a file to keep elsewhere."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from app.routes.common import runtime_of

router = APIRouter()
TYPES = {"csv": "text/csv", "json": "application/json"}


@router.get("/api/audit/export")
async def export(request: Request, format: Literal["csv", "json"] = "csv") -> FileResponse:
    """Every event of the log, oldest first, with its hashes, as CSV or JSON."""
    runtime = runtime_of(request)
    workdir = runtime.scratch.workdir()
    folder = workdir.__enter__()
    try:
        path = folder / f"audit.{format}"
        await run_in_threadpool(lambda: runtime.audit.export(path, format=format))
    except BaseException:
        workdir.__exit__(None, None, None)
        raise
    # The file goes once it is sent, or the connection is gone.
    done = BackgroundTask(workdir.__exit__, None, None, None)
    return FileResponse(path, media_type=TYPES[format], filename=f"synthscope-audit.{format}", background=done)
