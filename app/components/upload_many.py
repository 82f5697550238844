"""A drop zone for many files: several at once, a folder, or a ZIP; each becomes an upload of its own.

The hidden textbox gets a JSON list, one entry a file in the order of their names: ``{"id"}`` of the stored artifact, or
the sentences of why it was refused. The files' names stay in the browser.
"""

from __future__ import annotations

import json
from html import escape
from typing import Any

import gradio as gr

from app.components.html import html
from app.components.upload import hidden


def upload_many(elem_id: str, label: str, accept: str, hint: str = "") -> gr.Textbox:
    """Draw the zone; the hidden textbox is '' until files have arrived, and when they are cleared."""
    html(
        f'<ss-upload-many label="{escape(label)}" accept="{escape(accept)}" hint="{escape(hint)}" into="{elem_id}">'
        "</ss-upload-many>"
    )
    return hidden(elem_id)


def arrivals(value: str) -> list[dict[str, Any]]:
    """What the hidden textbox holds; empty for anything that is no such list."""
    try:
        found = json.loads(value or "[]")
    except ValueError:
        return []
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
