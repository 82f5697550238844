"""A finished topology repair over HTTP: its numbers and changes at any threshold, and the layers to draw."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from app.routes.common import found, runtime_of

router = APIRouter()


@router.get("/api/topology/{job_id}")
async def result(
    request: Request,
    job_id: str,
    threshold: float | None = None,
    remove_below: int | None = None,
    fill_below: int | None = None,
    fill_share: float | None = None,
    closing_radius: int | None = None,
    hysteresis_low: float | None = None,
    hysteresis_high: float | None = None,
) -> JSONResponse:
    """Betti numbers, changes, comparison and layer addresses; the later parameters tune the simple repairs."""
    from backend.services.topology.view import finished, view

    runtime = runtime_of(request)
    asked: dict[str, Any] = {
        "remove_below": remove_below,
        "fill_below": fill_below,
        "fill_share": fill_share,
        "closing_radius": closing_radius,
        "hysteresis_low": hysteresis_low,
        "hysteresis_high": hysteresis_high,
    }
    values = {name: value for name, value in asked.items() if value is not None}
    stored, _ = await found(finished, runtime, job_id)
    tune = replace(stored.compare, **values)
    return JSONResponse(await run_in_threadpool(view, runtime, job_id, threshold, tune))


@router.get("/api/topology/{job_id}/{layer}.png")
async def picture(request: Request, job_id: str, layer: str, threshold: float | None = None) -> Response:
    """One layer as PNG: ``before``, ``after``, or ``kinds`` with a small code where a pixel was changed."""
    from backend.services.topology.view import finished
    from backend.services.topology.view import layer as draw

    runtime = runtime_of(request)
    await found(finished, runtime, job_id)
    return Response(await run_in_threadpool(draw, runtime, job_id, layer, threshold), media_type="image/png")
