"""Errors in the page: a person's mistake as its sentences, a bug as an id whose traceback is in the log."""

from __future__ import annotations

import functools
import logging
import secrets
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from backend.errors import UserError

log = logging.getLogger(__name__)


def error_html(error: UserError) -> str:
    """The sentences of a ``UserError`` as a card to put in place of a result."""
    rest = " ".join(part for part in (error.why, error.what_to_do) if part)
    return (
        f'<div class="ss-error" role="alert"><strong>{escape(error.what)}</strong>'
        f"{f'<span>{escape(rest)}</span>' if rest else ''}</div>"
    )


def toast(error: UserError) -> gr.Error:
    """The same as a notification, for an event handler to raise."""
    rest = " ".join(part for part in (error.why, error.what_to_do) if part)
    # Gradio's page shows the message but not the title of an error that went through its queue.
    return gr.Error(f"<strong>{escape(error.what)}</strong> {escape(rest)}", duration=12, print_exception=False)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The event handler with its ``UserError`` shown as a notification, and any other error logged under an id."""

    @functools.wraps(function)
    def handler(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except UserError as error:
            raise toast(error) from None
        except gr.Error:
            raise
        except Exception:
            error_id = secrets.token_hex(4)
            log.exception("error %s in %s", error_id, getattr(function, "__qualname__", "a handler"))
            bug = UserError(
                "Something went wrong inside SynthScope.",
                "This is a bug, not a mistake of yours.",
                f"The log tells more under the id {error_id}.",
            )
            raise toast(bug) from None

    return handler
