"""How this installation is doing: health, device, memory, what is loaded where."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from app.routes.common import runtime_of
from backend.notices import RESEARCH_ONLY
from backend.provenance import code_version
from backend.settings import MIB, Settings

router = APIRouter()


@router.get("/api/health")
async def health() -> JSONResponse:
    """Answers as soon as the server serves."""
    return JSONResponse({"ok": True, "notice": RESEARCH_ONLY})


@router.get("/api/status")
async def status(request: Request) -> JSONResponse:
    """Device, memory, loaded weights, jobs that run or wait, code version."""
    return JSONResponse(await run_in_threadpool(status_json, runtime_of(request)))


def status_json(runtime: Any) -> dict[str, Any]:
    """The same as plain values; sizes in MiB."""
    active = runtime.jobs.list(active=True, limit=200)
    return {
        "device": device_facts(runtime.settings),
        "memory_mib": resident_mib(),
        "weights": [
            {"name": item.name, "device": item.device, "mib": round(item.bytes / MIB, 1)}
            for item in runtime.weights.loaded()
        ],
        "jobs_active": len(active),
        "code_version": code_version(),
    }


def device_facts(settings: Settings) -> dict[str, Any]:
    """Where models run. Torch is asked only once a job has loaded it; until then the choice is still open."""
    torch = sys.modules.get("torch")
    device = settings.device
    chosen = device if device != "auto" else ""
    if not chosen and torch is not None and hasattr(torch, "cuda"):
        chosen = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    return {
        "setting": device,
        "chosen": chosen,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch_loaded": torch is not None,
    }


def resident_mib() -> float:
    """Resident memory of this process, MiB."""
    import psutil

    return round(psutil.Process().memory_info().rss / MIB, 1)
