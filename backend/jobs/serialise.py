"""Requests and results of actions as plain JSON values and back, through pydantic."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from backend.errors import UserError
from backend.jobs.contract import Action
from backend.provenance import canonical_json


@lru_cache(maxsize=256)
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def dump_request(action: Action, request: Any) -> dict[str, Any]:
    """A request, given as its dataclass or as a mapping, as plain JSON values with every field checked.

    Raises ``UserError`` naming the first field that is wrong.
    """
    adapter = _adapter(action.request)
    try:
        values = adapter.dump_python(adapter.validate_python(request), mode="json", warnings=False)
        adapter.validate_python(values)  # an instance is taken as it is; its values must hold up as well
        canonical_json(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "request"
        raise UserError(
            f"The value of {field.replace('_', ' ')!r} cannot be used.",
            f"{first['msg']}.",
            "Correct it and start again.",
        ) from error
    except ValueError as error:
        raise UserError(
            "A number of the request is not finite.", what_to_do="Enter an ordinary number and start again."
        ) from error
    return values


def load_request(action: Action, values: dict[str, Any]) -> Any:
    """The dataclass of a stored request. Raises ``UserError`` when this version of the action does not take it."""
    try:
        return _adapter(action.request).validate_python(values)
    except ValidationError as error:
        raise UserError(
            "The stored request does not fit this version of SynthScope.",
            "The job was queued by another version.",
            "Start it again from its tab.",
        ) from error


def dump_result(action: Action, result: Any) -> dict[str, Any]:
    """A result as plain JSON values. A result of the wrong type is a bug of the action and raises."""
    adapter = _adapter(action.result)
    values = adapter.dump_python(adapter.validate_python(result), mode="json")
    canonical_json(values)
    return values if isinstance(values, dict) else {"value": values}
