"""Plain HTML of our own in the page, without Gradio's article styling around it."""

from __future__ import annotations

from typing import Any

import gradio as gr


def html(value: str = "", **options: Any) -> gr.HTML:
    """A ``gr.HTML`` that runs no script and adds no style. ``value`` must have everything from outside escaped."""
    classes = options.pop("elem_classes", [])
    classes = [classes] if isinstance(classes, str) else list(classes)
    return gr.HTML(value, js_on_load=None, apply_default_css=False, elem_classes=["ss-plain", *classes], **options)
