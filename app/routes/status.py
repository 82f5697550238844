"""How this installation is doing: health, device, memory, what is installed, what is loaded where."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from app.routes.common import runtime_of
from backend.notices import RESEARCH_ONLY
from backend.provenance import code_version
from backend.settings import MIB, Settings

if TYPE_CHECKING:
    from backend.runtime import Runtime

router = APIRouter()


@router.get("/api/health")
async def health() -> JSONResponse:
    """Answers as soon as the server serves."""
    return JSONResponse({"ok": True, "notice": RESEARCH_ONLY})


@router.get("/api/status")
async def status(request: Request) -> JSONResponse:
    """Device, memory, loaded weights, number of jobs that run or wait, code version."""
    return JSONResponse(await run_in_threadpool(status_json, runtime_of(request)))


@router.get("/api/installed")
async def installed(request: Request) -> JSONResponse:
    """Weights, sample packs and samples that this installation has, or could have."""
    return JSONResponse(await run_in_threadpool(installed_json, runtime_of(request)))


def status_json(runtime: Runtime) -> dict[str, Any]:
    """What changes while the program runs; sizes in MiB."""
    return {
        "device": device_facts(runtime.settings),
        "memory_mib": resident_mib(),
        "weights_budget_mib": runtime.settings.weights_budget_mib,
        "weights": [
            {"name": item.name, "title": item.title, "device": item.device, "mib": round(item.bytes / MIB, 1)}
            for item in runtime.weights.loaded()
        ],
        "jobs_active": len(runtime.jobs.list(active=True, limit=500)),
        "code_version": code_version(),
    }


def installed_json(runtime: Runtime) -> dict[str, Any]:
    """What lies on the disk, ready or not; sizes in MiB."""
    from backend.samples import packs, samples

    listed = samples(settings=runtime.settings)
    return {
        "weights": [
            {
                "name": item.name,
                "title": item.title,
                "mib": round(item.size / MIB, 1),
                "licence": item.licence,
                "shipped": item.shipped,
            }
            for item in runtime.weights.available()
        ],
        "packs": [
            {"name": pack.name, "contents": pack.contents, "installed": pack.installed, "how_to_get": pack.how_to_get}
            for pack in packs()
        ],
        "samples": [
            {"kind": kind, "real": count["real"], "phantom": count["phantom"], "absent": count["absent"]}
            for kind, count in _by_kind(listed).items()
        ],
    }


def _by_kind(samples: list[Any]) -> dict[str, Counter[str]]:
    """Kind → how many real, phantom and absent ones, in the order in which the kinds come."""
    kinds: dict[str, Counter[str]] = {}
    for sample in samples:
        kinds.setdefault(sample.kind, Counter())[sample.label if sample.available else "absent"] += 1
    return kinds


def device_facts(settings: Settings) -> dict[str, Any]:
    """Where models run. Torch is asked only once a job has loaded it; until then the choice is still open."""
    torch = sys.modules.get("torch")
    loaded = torch is not None and hasattr(torch, "cuda")
    chosen: str = settings.device if settings.device != "auto" else ""
    if not chosen and loaded:
        from backend.weights import resolve_device

        chosen = resolve_device("auto")
    return {
        "setting": settings.device,
        "chosen": chosen,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch_loaded": loaded,
    }


def resident_mib() -> float:
    """Resident memory of this process, MiB."""
    import psutil

    return round(psutil.Process().memory_info().rss / MIB, 1)
