"""Jobs as JSON, for the job strip: state, progress, position, estimate, preview, cancel."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from app.routes.common import NotFound, found, runtime_of
from backend.identity import LOCAL
from backend.jobs.contract import JobView

router = APIRouter()


def job_json(view: JobView) -> dict[str, Any]:
    """A job as plain JSON values; ``final`` and ``fraction`` are worked out here so that no page does it again."""
    values = asdict(view)
    values["state"] = view.state.value
    values["final"] = view.state.final
    values["fraction"] = view.fraction
    values["created_at"] = view.created_at.isoformat()
    return values


@router.get("/api/jobs")
async def list_jobs(request: Request, active: bool = False, system: str = "", limit: int = 50) -> JSONResponse:
    """Jobs of this installation, newest first."""
    jobs = runtime_of(request).jobs
    views = await run_in_threadpool(lambda: jobs.list(active=active, system=system, limit=max(1, min(limit, 500))))
    return JSONResponse({"jobs": [job_json(view) for view in views]})


@router.get("/api/estimate")
async def estimate(request: Request, system: str, action: str) -> JSONResponse:
    """``seconds``: how long that action took here before (median), null before the first time."""
    seconds = await found(runtime_of(request).jobs.expected_seconds, system, action)
    return JSONResponse({"seconds": seconds})


@router.get("/api/jobs/{job_id}")
async def one_job(request: Request, job_id: str) -> JSONResponse:
    """One job as it stands, 404 when there is none."""
    return JSONResponse(job_json(await found(runtime_of(request).jobs.view, job_id)))


@router.get("/api/jobs/{job_id}/preview")
async def preview(request: Request, job_id: str) -> Response:
    """The job's last preview as PNG."""
    jobs = runtime_of(request).jobs
    await found(jobs.view, job_id)
    png = await run_in_threadpool(jobs.preview, job_id)
    if png is None:
        raise NotFound("This job has no preview.", "It has not drawn anything yet.")
    return Response(png, media_type="image/png")


@router.post("/api/jobs/{job_id}/cancel")
async def cancel(request: Request, job_id: str) -> JSONResponse:
    """Ask the job to stop at its next step, and answer how it stands."""
    jobs = runtime_of(request).jobs
    await found(jobs.view, job_id)
    await run_in_threadpool(lambda: jobs.cancel(job_id, actor=LOCAL))
    return JSONResponse(job_json(await found(jobs.view, job_id)))
