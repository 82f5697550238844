"""What every route shares: the runtime, and errors as JSON sentences."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from backend.errors import UserError

if TYPE_CHECKING:
    from backend.runtime import Runtime

log = logging.getLogger(__name__)
T = TypeVar("T")


class NotFound(UserError):
    """A person asked for something that does not exist: answered with 404."""


class TooLarge(UserError):
    """A body over the limit: answered with 413."""


class DiskFull(UserError):
    """No room for what arrives: answered with 507."""


STATUS: dict[type[UserError], int] = {NotFound: 404, TooLarge: 413, DiskFull: 507}


def runtime_of(request: Request) -> Runtime:
    """The one runtime of this process."""
    return request.app.state.runtime


def error_response(error: UserError, status: int | None = None) -> JSONResponse:
    """``{"error": {"what", "why", "what_to_do"}}`` with the status that fits the error."""
    return JSONResponse({"error": error.as_dict()}, status_code=status or STATUS.get(type(error), 400))


async def found(call: Callable[..., T], *arguments: object) -> T:
    """Run a look-up in a worker thread; a ``UserError`` from it means that there is no such thing (404)."""
    try:
        return await run_in_threadpool(call, *arguments)
    except UserError as error:
        raise NotFound(error.what, error.why, error.what_to_do) from None


def install(app: FastAPI) -> None:
    """Answer a ``UserError`` with its sentences, and a bug with an id whose traceback is in the log."""

    @app.exception_handler(UserError)
    async def _user_error(request: Request, error: UserError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(Exception)
    async def _bug(request: Request, error: Exception) -> JSONResponse:
        error_id = secrets.token_hex(4)
        log.error("error %s in a %s request", error_id, request.method, exc_info=error)
        sentence = UserError(
            "Something went wrong inside SynthScope.",
            "This is a bug, not a mistake of yours.",
            f"The log tells more under the id {error_id}.",
        )
        return error_response(sentence, 500)
