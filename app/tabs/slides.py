"""The Slides tab: open a whole slide, look at it at every magnification, share the view, take a picture of it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.html import html
from backend.errors import UserError
from backend.identity import LOCAL
from backend.samples import samples
from backend.services.slides import SlideView, library

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACCEPT = ".svs,.ndpi,.scn,.bif,.vms,.mrxs,.tif,.tiff,.dcm,.zip,.png,.jpg,.jpeg"
PICTURES = ("retina", "ihc-colon")
INTRODUCTION = """<div class="ss-lead"><p>A microscope for whole slides: from the section to a nucleus, with scale bar
and magnifications from the file's own µm/px. It opens what scanners write (SVS, NDPI, SCN, BIF, MRXS, DICOM
whole-slide), tiled TIFF and OME-TIFF, and plain pictures. The address of the page always names the view, so that it can
be shared and comes back after a reload. A slide opens in about a second.</p></div>"""
PRIVACY = (
    "Label and macro images of an upload are removed before it is stored, and so are names, dates and numbers that "
    "could identify someone; those of a slide on the server are never shown."
)
KEYS = {
    "Arrows": "Move the slide",
    "+ −": "Zoom in, zoom out",
    "0": "Whole slide",
    "1 … 4": "×5, ×10, ×20, ×40",
    "R": "Rotate by 90°",
    "N": "Overview on or off",
    "I": "Properties",
    "S": "Save the view as PNG",
    "L": "Copy a link to this view",
    "F": "Full screen",
}

Shown = tuple[str, str, str, dict[str, Any]]
"""Viewer, facts, provenance, and whether the list of slides is open."""


def build(runtime: Runtime, shell: Shell) -> None:
    """Lay out the tab. Nothing is opened and no reader is loaded before a slide is chosen."""
    html(INTRODUCTION)
    with gr.Accordion("Choose a slide", open=True, elem_id="ss-slides-choose") as choice:
        pictures = [item for item in samples("image", runtime.settings) if item.id in PICTURES]
        sample = shell.samples([*samples("slide", runtime.settings), *pictures])
        with gr.Row():
            with gr.Column():
                uploaded = shell.upload("Your own slide or picture", accept=ACCEPT, hint="Stays on this machine.")
            with gr.Column():
                path, go = _path_field(runtime)
        html(f"<p><small>{escape(PRIVACY)}</small></p>")
    named = shell.hidden("slide")
    viewer = html(_frame(str(named.elem_id), ""), elem_id="ss-slides-viewer")
    with gr.Row():
        facts = html("")
        card = shell.provenance()
    outputs = [viewer, facts, card.html, choice]

    def shown(view: SlideView) -> Shown:
        provenance = card.render([view.id]) if view.source == "artifact" else ""
        # The list of slides folds away, so that the slide itself is in view.
        return _frame(str(named.elem_id), view.id), _facts(view), provenance, gr.update(open=False)

    def open_sample(sample_id: str) -> Shown:
        return shown(library(runtime).open_sample(sample_id, actor=LOCAL))

    def open_upload(artifact_id: str) -> Shown:
        if not artifact_id:
            return _frame(str(named.elem_id), ""), "", "", gr.update(open=True)
        return shown(library(runtime).open_artifact(artifact_id, actor=LOCAL))

    def open_path(text: str) -> Shown:
        return shown(library(runtime).open_path(text, actor=LOCAL))

    def open_named(slide_id: str) -> Shown:
        # The address of the page may name a sample, an upload or a file of the server; all three are opaque ids.
        if not slide_id:
            raise UserError("No slide was named.", what_to_do="Choose one.")
        return shown(library(runtime).describe(slide_id))

    for event, function, source in (
        (sample.change, open_sample, sample),
        (uploaded.change, open_upload, uploaded),
        (named.change, open_named, named),
        (go.click, open_path, path),
        (path.submit, open_path, path),
    ):
        shell.on(event, function, [source], outputs, show_progress_on=[facts])
    shell.shortcuts("Slides", KEYS)


def _path_field(runtime: Runtime) -> tuple[gr.Textbox, gr.Button]:
    """Field for a path on the server; says how to allow folders when none is."""
    allowed = bool(runtime.settings.slide_roots)
    path = gr.Textbox(
        "",
        label="A slide on the server",
        placeholder="folder/slide.svs" if allowed else "no folder is allowed yet",
        info="Path under an allowed folder."
        if allowed
        else 'Allow folders with SYNTHSCOPE_SLIDE_ROOTS, such as ["/slides"], and start again.',
        interactive=allowed,
        elem_id="ss-slides-path",
    )
    return path, gr.Button("Open", size="sm", interactive=allowed, elem_id="ss-slides-open")


def _frame(into: str, slide_id: str) -> str:
    return f'<ss-slide into="{escape(into)}" slide="{escape(slide_id)}"></ss-slide>'


def _facts(view: SlideView) -> str:
    """The slide in figures."""
    size = f"{view.width:,} × {view.height:,} px".replace(",", "\u202f")
    if view.mpp:
        area = f"{view.width * view.mpp[0] / 1000:.2f} × {view.height * view.mpp[1] / 1000:.2f} mm"
        pixel = f"{view.mpp[0]:.4g} × {view.mpp[1]:.4g} µm/px"
    else:
        area, pixel = "not known", "not in the file: lengths are shown in pixels"
    if view.objective_power:
        objective = f"×{view.objective_power:g}"
    else:
        objective = f"×{view.magnification:.3g}, from µm/px" if view.magnification else "not in the file"
    kind = '<span class="ss-badge ss-badge-synthetic">synthetic</span>' if view.synthetic else ""
    rows = [
        ("Size", size),
        ("Area", area),
        ("Pixel", pixel),
        ("Objective", objective),
        ("Levels", str(len(view.levels))),
        ("Format", f"{view.vendor}, read by {view.reader}"),
    ]
    cells = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    notes = "".join(f"<p><small>{escape(note)}</small></p>" for note in view.notes)
    return (
        f'<section class="ss-card"><header><h3>{escape(view.title)}</h3>{kind}</header>'
        f'<dl class="ss-facts">{cells}</dl>{notes}</section>'
    )
