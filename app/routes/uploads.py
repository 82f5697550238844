"""Files arrive here: streamed to a temporary file within the limit, opened for real, de-identified, then stored.

The body of the request is the file itself. Its name comes percent-encoded in ``X-File-Name`` and serves as a hint about
the format only; it is neither stored nor logged, since file names carry patient names.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from app.routes.common import DiskFull, TooLarge, error_response, runtime_of
from backend.errors import UserError
from backend.identity import LOCAL
from backend.settings import MIB

if TYPE_CHECKING:
    from backend.jobs.contract import ArtifactView
    from backend.runtime import Runtime

log = logging.getLogger(__name__)
router = APIRouter()

WRITE_BYTES = 4 * MIB  # written from a worker thread in pieces of this size, so that a slow disk stalls nobody


@router.post("/api/uploads")
async def upload(request: Request) -> JSONResponse:
    """Take one file. Answers 201 and ``{id, kind, summary, media_type, size, notes, properties}``, or 4xx and why."""
    return await _take(request, lambda runtime, body, name: _answer(_accept(runtime, body, name)))


@router.post("/api/uploads/several")
async def upload_several(request: Request) -> JSONResponse:
    """Take one file, or a ZIP whose files are uploads of their own, ordered by name.

    Answers 201 and ``{"files": […]}``, for each file what ``/api/uploads`` answers or ``{"error": …}``, and its name in
    the archive, which its sender knows and the server forgets; or 4xx and why.
    """
    return await _take(request, _accept_several)


async def _take(request: Request, accept: Callable[[Runtime, Path, str], dict[str, object]]) -> JSONResponse:
    """Stream the body to a file of its own, hand it to ``accept`` in a worker thread, and answer with its values."""
    runtime = runtime_of(request)
    filename = Path(unquote(request.headers.get("x-file-name", ""))).name or "upload"
    # The sender may go away at any moment: the folder is removed whichever way the block is left.
    try:
        with runtime.scratch.workdir() as folder:
            body = folder / "body"
            await _receive(request, body, runtime.settings.max_upload_mib * MIB)
            answer = await run_in_threadpool(accept, runtime, body, filename)
    except ClientDisconnect:
        log.info("an upload was broken off by its sender")
        return error_response(UserError("The upload was broken off.", "Its sender went away before the end."))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise DiskFull(
            "The file was not stored.", "The disk of the server is full.", "Make room on it and upload the file again."
        ) from None
    return JSONResponse(answer, status_code=201)


async def _receive(request: Request, target: Path, limit: int) -> None:
    """Stream the body to ``target``. The declared length only refuses early; what is counted is what arrives."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    received, pending = 0, bytearray()
    with target.open("xb") as file:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise _too_large(limit)
            pending += chunk
            if len(pending) >= WRITE_BYTES:
                await run_in_threadpool(file.write, bytes(pending))
                pending.clear()
        await run_in_threadpool(file.write, bytes(pending))
    if not received:
        raise UserError("The file is empty.", "It holds no bytes at all.", "Choose the file again.")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        "The file is too large.",
        f"This installation takes files up to {limit // MIB} MiB.",
        "Upload a smaller file, or raise the setting max_upload_mib.",
    )


def _accept(runtime: Runtime, body: Path, filename: str) -> ArtifactView:
    # Imported on first use: the readers behind it are heavy, and the first page must not wait for them.
    from backend.media.intake import accept_upload

    return accept_upload(runtime, body, filename=filename, actor=LOCAL)


def _accept_several(runtime: Runtime, body: Path, filename: str) -> dict[str, object]:
    from backend.media.intake_several import accept_several

    arrivals = accept_several(runtime, body, filename=filename, actor=LOCAL)
    files = []
    for item in arrivals:
        told = _answer(item.view) if item.view is not None else {"error": item.error.as_dict() if item.error else {}}
        files.append({**told, "name": item.name})
    return {"files": files}


def _answer(view: ArtifactView) -> dict[str, object]:
    properties = dict(view.properties)
    notes = list(properties.pop("notes", ()))
    kind = str(properties.get("kind", view.kind))
    return {
        "id": view.id,
        "kind": kind,
        "summary": summary(kind, properties),
        "media_type": view.media_type,
        "size": view.size,
        "notes": notes,
        "properties": properties,
    }


def summary(kind: str, properties: dict[str, Any]) -> str:
    """What arrived, in the field's terms: ``DICOM US clip, 30 frames, 320×240 px, 0.51 mm/px``."""
    name = {"slide": "whole slide", "arrays": "arrays"}.get(kind, kind)
    if kind == "dicom":
        name = " ".join(filter(None, ("DICOM", properties.get("modality"), properties.get("content"))))
    parts = [name]
    if properties.get("frames", 1) > 1:
        noun = "slices" if properties.get("content") == "volume" else "frames"
        parts.append(f"{properties['frames']} {noun}")
    if "shape" in properties:
        parts.append("×".join(str(length) for length in properties["shape"]))
    elif "rows" in properties and "columns" in properties:
        parts.append(f"{properties['columns']}×{properties['rows']} px")
    if properties.get("mpp"):
        parts.append(f"{properties['mpp'][0]:.3g} µm/px")
    elif properties.get("spacing_mm"):
        spacing = properties["spacing_mm"]
        unit = "mm/px" if len(spacing) == 2 else "mm"
        same = len({f"{value:.3g}" for value in spacing}) == 1
        parts.append(f"{spacing[0]:.3g} {unit}" if same else "×".join(f"{value:.3g}" for value in spacing) + f" {unit}")
    if properties.get("objective_power"):
        parts.append(f"×{properties['objective_power']:g}")
    return ", ".join(parts)
