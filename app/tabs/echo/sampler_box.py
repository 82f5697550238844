"""How a clip is denoised: the samplers that are there, with steps and guidance that suit the one chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from backend.services.echo.making import STEPS
from backend.services.echo.needs import STUDENT, missing

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

SAMPLERS = [("DPM-Solver++ (2M)", "dpm"), ("DDIM", "ddim"), ("Heun, twice the work", "heun")]


def sampler_box(
    runtime: Runtime, shell: Shell, value: str, steps: gr.Slider, guidance: gr.Slider, *, elem_id: str
) -> gr.Dropdown:
    """The dropdown; choosing the student sets ``steps`` and ``guidance``, leaving it gives them back."""
    box = gr.Dropdown(_samplers(runtime), value=value, label="Sampler", elem_id=elem_id)
    before = gr.State(value)
    # Weights come and go while the page is open.
    shell.on(shell.shown, lambda: gr.update(choices=_samplers(runtime)), None, [box])
    shell.on(
        box.input, lambda name, last: (*_suited(runtime, name, last), name), [box, before], [steps, guidance, before]
    )
    return box


def _samplers(runtime: Runtime) -> list[tuple[str, str]]:
    """The samplers, with the student where it is installed."""
    return SAMPLERS if missing(runtime.weights, (STUDENT,)) else [*SAMPLERS, ("Few-step student", "student")]


def _suited(runtime: Runtime, sampler: str, last: str) -> tuple[Any, Any]:
    """Steps and guidance as they suit a sampler that was just chosen; the student's guidance is part of it."""
    if sampler != "student":
        return gr.update(value=STEPS) if last == "student" else gr.skip(), gr.update(interactive=True)
    config = runtime.weights.find(STUDENT).config
    return gr.update(value=config["steps"]), gr.update(value=config["guidance"], interactive=False)
