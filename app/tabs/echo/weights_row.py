"""Which weights make the clips: one choice a part of the generator, the default first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.upload import hidden
from backend.errors import UserError
from backend.services.echo.needs import DEFAULTS, choices, part_of

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

FIELDS = tuple(DEFAULTS)
TITLES = {"autoencoder": "Autoencoder", "image": "Weights of the image model", "video": "Weights of the video model"}
WISH = "echo-use-weights"  # the box of "Generate" that takes the name of weights


def weights_row(runtime: Runtime, shell: Shell, *, wished: bool = False) -> list[gr.Dropdown]:
    """One dropdown a field of :data:`FIELDS`, in that order; with ``wished``, :data:`WISH` chooses in them too."""
    with gr.Row():
        # Names come and go while the page is open; one that is gone is told by the job, in a sentence.
        boxes = [
            gr.Dropdown(
                choices(runtime.weights, part), value=DEFAULTS[part], label=TITLES[part], allow_custom_value=True
            )
            for part in FIELDS
        ]
    shell.on(shell.shown, lambda *values: _again(runtime, values), boxes, boxes)
    if wished:
        wish = hidden(WISH)
        shell.on(wish.change, lambda text: _wished(runtime, text), [wish], boxes)
    return boxes


def _again(runtime: Runtime, values: tuple[Any, ...]) -> list[Any]:
    """The lists anew; a choice that is still there is left alone."""
    found = []
    for part, value in zip(FIELDS, values, strict=True):
        names = choices(runtime.weights, part)
        found.append(gr.update(choices=names) if value in names else gr.update(choices=names, value=DEFAULTS[part]))
    return found


def _wished(runtime: Runtime, text: str) -> list[Any]:
    """Choose the weights that ``text`` names ('NAME …'), and the autoencoder that they belong to."""
    name = text.partition(" ")[0]
    try:
        weight = runtime.weights.find(name) if name else None
    except UserError:
        weight = None
    if weight is None:
        return [gr.skip()] * len(FIELDS)
    chosen = {part_of(weight): name}
    wanted = weight.config.get("autoencoder_sha256")
    owners = [other for other in choices(runtime.weights, "autoencoder") if _sha256(runtime, other) == wanted]
    if wanted and owners:
        chosen["autoencoder"] = owners[0]
    return [
        gr.update(choices=choices(runtime.weights, part), value=chosen[part]) if part in chosen else gr.skip()
        for part in FIELDS
    ]


def _sha256(runtime: Runtime, name: str) -> str:
    try:
        return runtime.weights.find(name).sha256
    except UserError:
        return ""
