"""Samples that open in one click, with thumbnail, source and licence; absent ones say how to get them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import gradio as gr

from app.components.html import html
from app.components.upload import hidden

if TYPE_CHECKING:
    from backend.samples import Sample


def sample_strip(elem_id: str, samples: Sequence[Sample]) -> gr.Textbox:
    """Draw the strip; the hidden textbox gets the id of the sample that was chosen, and fires ``change``."""
    chosen = hidden(elem_id)
    html(strip_html(elem_id, samples))
    return chosen


def strip_html(elem_id: str, samples: Sequence[Sample]) -> str:
    """HTML of the strip."""
    items = "".join(_item(elem_id, sample) for sample in samples)
    return f'<div class="ss-samples" role="group" aria-label="Samples">{items}</div>'


def _item(elem_id: str, sample: Sample) -> str:
    title, licence = escape(sample.title), escape(sample.licence)
    badge = f'<span class="ss-badge">{escape(sample.label)}</span>'
    if not sample.available:
        return (
            f'<div class="ss-sample ss-sample-absent" title="{escape(sample.source)}"><b>{title}</b>'
            f"<small>Not installed. {escape(sample.how_to_get)}</small></div>"
        )
    return (
        f'<button type="button" class="ss-sample" data-fill="{elem_id}" data-value="{escape(sample.id)}" '
        f'title="{escape(sample.source)} · {licence}">'
        f'<img src="/api/samples/{escape(sample.id)}/image" alt="" width="72" height="72" loading="lazy">'
        f"<span><b>{title}</b><small>{badge} {licence}</small></span></button>"
    )
