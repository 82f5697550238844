"""Audit: every change of this installation, who made it, when and why; check the chain; take it with you."""

from __future__ import annotations

from typing import TYPE_CHECKING

import gradio as gr

from app.components.shell import Shell

if TYPE_CHECKING:
    from backend.runtime import Runtime


def build(runtime: Runtime, shell: Shell) -> None:
    """Lay out the tab."""
    verify = gr.Button("Verify now")
    out = gr.HTML("", js_on_load=None)

    def check() -> str:
        result = runtime.audit.verify()
        return f"<p>{'The chain holds' if result.ok else 'Broken'}: {result.events} events</p>"

    shell.on(verify.click, check, None, [out])
