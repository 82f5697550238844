"""A finished topology repair over HTTP: its numbers and changes at any threshold, and the layers to draw.

The same addresses serve pictures and volumes; which one a job repaired is in the answer (``volume``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from app.routes.common import found, runtime_of

if TYPE_CHECKING:
    from backend.runtime import Runtime

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
    from backend.services.topology.volume_view import finished_volume, view_volume

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
    solid = await found(_is_volume, runtime, job_id)
    stored: Any = (await found(finished_volume if solid else finished, runtime, job_id))[0]
    tune = replace(stored.compare, **values)
    return JSONResponse(await run_in_threadpool(view_volume if solid else view, runtime, job_id, threshold, tune))


@router.get("/api/topology/{job_id}/slice.png")
async def volume_slice(
    request: Request,
    job_id: str,
    side: str = "after",
    axis: str = "z",
    index: int = 0,
    threshold: float | None = None,
    changes: bool = True,
) -> Response:
    """One slice of a volume, ``before`` or ``after``, as PNG: for browsers that cannot draw volumes."""
    from backend.services.topology.volume_view import finished_volume
    from backend.services.topology.volume_view import volume_slice as draw

    runtime = runtime_of(request)
    await found(finished_volume, runtime, job_id)
    png = await run_in_threadpool(lambda: draw(runtime, job_id, side, axis, index, threshold, changes=changes))
    return Response(png, media_type="image/png")


@router.get("/api/topology/{job_id}/{layer}.nii.gz")
async def volume_layer(request: Request, job_id: str, layer: str, threshold: float | None = None) -> Response:
    """One layer of a volume as NIfTI: ``before``, ``after``, or ``kinds`` with a code where a voxel was changed."""
    from backend.services.topology.volume_view import finished_volume
    from backend.services.topology.volume_view import volume_layer as draw

    runtime = runtime_of(request)
    await found(finished_volume, runtime, job_id)
    data = await run_in_threadpool(draw, runtime, job_id, layer, threshold)
    return Response(data, media_type="application/gzip")


@router.get("/api/topology/{job_id}/{layer}.png")
async def picture(request: Request, job_id: str, layer: str, threshold: float | None = None) -> Response:
    """One layer as PNG: ``before``, ``after``, or ``kinds`` with a small code where a pixel was changed."""
    from backend.services.topology.view import finished
    from backend.services.topology.view import layer as draw

    runtime = runtime_of(request)
    await found(finished, runtime, job_id)
    return Response(await run_in_threadpool(draw, runtime, job_id, layer, threshold), media_type="image/png")


def _is_volume(runtime: Runtime, job_id: str) -> bool:
    """Raises ``UserError`` when there is no such job."""
    return runtime.jobs.view(job_id).action == "refine_volume"
