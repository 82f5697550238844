"""Repair one segmentation: choose it, refine it, see before | after with every changed place."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.html import html
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobView
from backend.samples import accept_sample, samples
from backend.services.topology.requests import (
    DEFAULT_WEIGHTS,
    EVERY_LABEL,
    FILL_BELOW,
    FILL_SHARE,
    REMOVE_BELOW,
    RefineRequest,
    ThresholdRequest,
)

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACTIONS = ("refine", "threshold")
ACCEPT = ".png,.tif,.tiff,.bmp,.npz,.npy,.nii,.nii.gz,.dcm,.jpg,.jpeg"
INTRODUCTION = """<section class="ss-hero"><p>A segmentation can overlap well with the truth and still be wrong where
it matters: a vessel broken in two, two walls joined by a stray pixel. Give the mask or probability map of any
segmenter, in two dimensions; a network that has learnt what breaks, bridges, holes and islands look like repairs it,
and every changed place is shown. It sees the mask only, never the image, so each change is a proposal for you to
judge.</p></section>"""
MEANING = """<details class="ss-card ss-topology-help"><summary>What the numbers mean</summary><dl>
<dt>β₀, pieces</dt><dd>How many separate pieces the mask has. One vessel broken once counts as two.</dd>
<dt>β₁, holes</dt><dd>How many closed loops, that is, patches of background enclosed by the mask. A loop that is broken
anywhere no longer counts; a pinhole counts as one.</dd>
<dt>Connectivity</dt><dd>Foreground pixels that touch at a corner belong together (8-connected); background pixels must
share an edge (4-connected).</dd>
<dt>Dice</dt><dd>Overlap of two masks, 0 to 1. It hardly notices a broken vessel, which is why β₀ and β₁ stand beside
it.</dd></dl></details>"""
NOTHING_CHOSEN = '<p class="ss-empty">Nothing is chosen yet: click a sample, or drop a file.</p>'
READINGS = [
    ("by its content", "auto"),
    ("binary mask", "binary"),
    ("probability", "probability"),
    ("labels", "labels"),
]
KEYS = {
    "C": "Changes on or off",
    "B": "Hold: before in both",
    "N": "Next change",
    "P": "Previous change",
    "+": "Zoom in",
    "-": "Zoom out",
    "0": "Whole image",
    "Arrows": "Move the picture",
}


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a repair starts."""
    html(INTRODUCTION)
    with gr.Accordion("Choose a segmentation", open=True, elem_id="topology-choose") as choice:
        sample = shell.samples(samples("mask", runtime.settings))
        uploaded = shell.upload(
            "Your own mask or probability map",
            accept=ACCEPT,
            hint="PNG, TIFF, NPZ, NPY, NIfTI slice or single-frame DICOM SEG; binary, probability or labels.",
        )
        with gr.Accordion("Options", open=False):
            with gr.Row():
                reading = gr.Dropdown(READINGS, value="auto", label="Read the file")
                input_threshold = gr.Slider(
                    0.05, 0.95, 0.5, step=0.01, label="Threshold of the input", info="Makes 'before' from a probability"
                )
                invert = gr.Checkbox(False, label="Exchange foreground and background")
            with gr.Row():
                weights = gr.Dropdown(_weights(runtime), value=DEFAULT_WEIGHTS, label="Weights")
                remove_below = gr.Number(
                    REMOVE_BELOW, label="Then remove pieces below, px", minimum=0, precision=0, info="0 keeps all"
                )
                fill_below = gr.Number(
                    FILL_BELOW, label="Then fill holes below, px", minimum=0, precision=0, info="0 fills none"
                )
                fill_share = gr.Number(
                    FILL_SHARE, label="Then fill holes below, × median hole", minimum=0, step=0.05, info="0 fills none"
                )
            truth = shell.upload(
                "True mask of the same image, if there is one",
                accept=ACCEPT,
                hint="Only to measure: every repair is compared with it, the network does not see it.",
            )
    source = shell.hidden("source")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            contents = html(NOTHING_CHOSEN)
        with gr.Column(scale=1, min_width=180):
            label = gr.Dropdown([], label="Label to repair", visible=False, interactive=True)
            channel = gr.Dropdown([], label="Map in the file", visible=False, interactive=True)
            run = gr.Button("Repair", variant="primary", interactive=False, elem_id="topology-run")
    # The line above tells how long it takes, because it knows the size.
    job = shell.job("topology", ACTIONS, estimate=False)
    result = html()
    downloads = shell.downloads()
    keep = shell.hidden("keep")
    kept = shell.downloads()
    card = shell.provenance()
    html(MEANING)

    def look(artifact: str, how: str, map_name: str | None) -> tuple[Any, ...]:
        return _look(runtime, shell, artifact, how, map_name or "")

    described = [contents, label, channel, run]
    shown = [result, downloads.html, kept.html, card.html]
    shell.on(sample.change, lambda chosen: _open_sample(runtime, chosen), [sample], [source])
    # The sample is forgotten, so that a click on the same one later counts as a choice again.
    shell.on(uploaded.change, lambda new: (new, "") if new else (gr.skip(), gr.skip()), [uploaded], [source, sample])
    chosen = shell.on(source.change, lambda new, how: look(new, how, ""), [source, reading], described)
    shell.on(chosen.then, lambda: ("", "", "", ""), None, shown)
    shell.on(reading.input, look, [source, reading, channel], described)
    shell.on(channel.input, look, [source, reading, channel], described)

    def request(*values: Any) -> RefineRequest:
        artifact, how, chosen, map_name, cut, name, inverted, piece, hole, share, true = values
        if not artifact:
            raise UserError("No segmentation is chosen.", "", "Click a sample, or upload a mask.")
        return RefineRequest(
            source=artifact,
            reading=how,
            label=None if chosen in (None, "") else int(chosen),
            channel=map_name or "",
            input_threshold=float(cut),
            weights=name,
            invert=bool(inverted),
            remove_below=int(piece or 0),
            fill_below=int(hole or 0),
            fill_share=float(share or 0),
            truth=true or "",
        )

    options = [input_threshold, weights, invert, remove_below, fill_below, fill_share, truth]
    job.submit(run.click, "refine", request, [source, reading, label, channel, *options])
    shell.on(run.click, lambda: gr.update(open=False), None, [choice])

    def show(view: JobView) -> tuple[Any, ...]:
        if view.action != "refine":
            return (gr.skip(),) * (len(shown) + 1)
        made = view.result or {}
        files = [made[name] for name in ("mask", "probability", "change_map", "change_table")]
        viewer = f'<ss-topology job="{escape(view.id)}" keep="{escape(keep.elem_id or "")}"></ss-topology>'
        return viewer, downloads.render(files), "", card.render(files[:1]), gr.update(open=False)

    job.finished(show, [*shown, choice])
    card.on_rerun(lambda made: _origin(runtime, made), [source, reading, *options[:-1]])
    shell.on(keep.change, lambda wish: _keep(runtime, wish, kept, card), [keep], [kept.html, card.html])
    shell.shortcuts("Topology", KEYS)


def _origin(runtime: Runtime, made: dict[str, Any]) -> list[Any]:
    """Choices of the refinement that made an artifact; one that was only cut again leads to the refinement before."""
    if "before" in made:
        made = dict(runtime.artifacts.view(made["before"]).provenance.request)
    names = ("source", "reading", "input_threshold", "weights", "invert", "remove_below", "fill_below", "fill_share")
    return [made[name] for name in names]


def _weights(runtime: Runtime) -> list[str]:
    """Names of the refiners on disk; the default stands even where none is, so that the job can say how to get it."""
    names = [weight.name for weight in runtime.weights.available() if weight.name.startswith("topology/")]
    return names or [DEFAULT_WEIGHTS]


def _open_sample(runtime: Runtime, chosen: str) -> Any:
    chosen = chosen.partition(" ")[0]
    return accept_sample(runtime, chosen, actor=LOCAL).id if chosen else gr.skip()


def _look(runtime: Runtime, shell: Shell, artifact: str, how: Any, map_name: str) -> tuple[Any, ...]:
    """What the file holds, in one line, and the choices it needs; a file that is no segmentation says so here."""
    from backend.services.topology.view import look, seconds_per_megapixel

    nothing = gr.update(choices=[], value=None, visible=False)
    if not artifact:
        return NOTHING_CHOSEN, nothing, nothing, gr.update(interactive=False)
    try:
        found, channels, chosen = look(runtime, artifact, reading=how, channel=map_name)
    except UserError as error:
        return shell.error(error), nothing, gr.update(), gr.update(interactive=False)
    size = found.height * found.width / 1e6
    pace = seconds_per_megapixel(runtime)
    expected = (
        f"Takes about {max(1, round(pace * size))} s on this machine."
        if pace is not None
        else "The first repair on this machine measures how long it takes."
    )
    notes = "".join(f"<li>{escape(note)}</li>" for note in found.notes)
    words = {"binary": "binary mask", "probability": "probability map", "labels": "label map"}[found.kind]
    line = (
        f'<div class="ss-card ss-topology-input"><img src="/api/artifacts/{escape(artifact)}/image?side=256" '
        f'alt="The chosen mask">'
        f"<div><b>{words}, {found.width} × {found.height} pixels.</b> {expected}<ul>{notes}</ul></div></div>"
    )
    labels = nothing
    if found.kind == "labels" and len(found.labels) > 1:
        choices = [(f"label {entry.value} ({entry.share:.1%})", entry.value) for entry in found.labels[:200]]
        choices.append(("all labels together", EVERY_LABEL))
        labels = gr.update(choices=choices, value=found.labels[0].value, visible=True)
    maps = gr.update(choices=list(channels), value=chosen, visible=True) if channels else nothing
    return line, labels, maps, gr.update(interactive=True)


def _keep(runtime: Runtime, wish: str, kept: Any, card: Any) -> tuple[Any, Any]:
    """Store the mask at the threshold in view: ``wish`` is 'JOB THRESHOLD …' as the viewer wrote it."""
    from backend.services.topology.view import finished

    parts = wish.split(" ")
    if len(parts) < 2:
        return gr.skip(), gr.skip()
    asked, made = finished(runtime, parts[0])
    wanted = ThresholdRequest(
        before=made.before,
        probability=made.probability,
        threshold=float(parts[1]),
        remove_below=asked.remove_below,
        fill_below=asked.fill_below,
        fill_share=asked.fill_share,
        seed=asked.seed,
    )
    done = runtime.jobs.wait(runtime.jobs.submit("topology", "threshold", wanted, actor=LOCAL), timeout=120)
    if done.result is None:
        error = done.error or {}
        raise UserError(
            error.get("what", "The mask at this threshold was not kept."),
            error.get("why", ""),
            error.get("what_to_do", ""),
        )
    files = [done.result[name] for name in ("mask", "change_map", "change_table")]
    title = f"<p><b>Kept at threshold {wanted.threshold:.2f}</b></p>"
    return title + kept.render(files), card.render(files[:1])
