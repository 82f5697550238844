"""Our own drop zone. It posts to ``/api/uploads``, so that nothing of a patient passes through Gradio's cache."""

from __future__ import annotations

from html import escape

import gradio as gr

from app.components.html import html


def upload(elem_id: str, label: str, accept: str, hint: str = "") -> gr.Textbox:
    """Draw the drop zone; the hidden textbox gets the id of the stored artifact, and '' when it is cleared."""
    html(
        f'<ss-upload label="{escape(label)}" accept="{escape(accept)}" hint="{escape(hint)}" into="{elem_id}">'
        "</ss-upload>"
    )
    return hidden(elem_id)


def clear_html(box: gr.Textbox, turn: str = "") -> str:
    """For a component of :func:`app.components.html.html`: empties the drop zone of ``box`` when ``turn`` is another.

    Gradio can change the hidden textbox but not what the drop zone shows.
    """
    return f'<ss-clear into="{escape(box.elem_id or "")}" turn="{escape(turn or "0")}"></ss-clear>'


def hidden(elem_id: str) -> gr.Textbox:
    """A textbox that scripts of ours write an id into; it stays in the page, unseen, and fires ``change``."""
    return gr.Textbox("", visible="hidden", elem_id=elem_id, interactive=True, container=False, show_label=False)
