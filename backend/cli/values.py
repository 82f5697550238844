"""``key=value`` words of a command line as the fields of a dataclass."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from backend.errors import UserError

T = TypeVar("T")


def parse(kind: type, words: Sequence[str]) -> dict[str, Any]:
    """Words as a mapping that follows the fields of ``kind``; ``compare.radius=3`` reaches into a nested dataclass.

    Values stay text for pydantic to convert, except ``null`` and JSON lists and objects. Raises ``UserError`` for a
    word without ``=``, a field that does not exist, or one that is given twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise UserError(f"{word!r} is not a value.", what_to_do="Write it as key=value.")
        inside, fields = found, kind
        *path, last = key.split(".")
        for step in path:
            _check(fields, step, key)
            inside = inside.setdefault(step, {})
            fields = get_type_hints(fields)[step]
        _check(fields, last, key)
        if last in inside:
            raise UserError(f"{key!r} is given twice.", what_to_do="Give it once.")
        inside[last] = _value(text)
    return found


def fill(kind: type[T], words: Sequence[str], given: Mapping[str, Any]) -> T:
    """An instance of the dataclass from ``given`` values and words, which may not repeat them. Raises ``UserError``."""
    parsed = parse(kind, words)
    for name in given:
        if name in parsed:
            raise UserError(f"{name!r} has an option of its own.", what_to_do=f"Use --{name.replace('_', '-')}.")
    try:
        return TypeAdapter(kind).validate_python({**given, **parsed})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"The value of {field!r} cannot be used.", f"{first['msg']}.") from None


def _check(kind: Any, name: str, key: str) -> None:
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    if name not in names:
        known = ", ".join(names) or "nothing inside it"
        raise UserError(f"There is no value called {key!r}.", what_to_do=f"There are: {known}.")


def _value(text: str) -> Any:
    if text == "null":
        return None
    if text[:1] in "[{" and text:
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text
