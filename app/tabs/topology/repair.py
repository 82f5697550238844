"""Repair one segmentation: choose it, refine it, see before | after with every changed place."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.html import html
from app.components.upload import clear_html, hidden
from app.tabs.topology.classes_view import classes_files, classes_html
from app.tabs.topology.look import NOTHING_CHOSEN, look, weight_names
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobView
from backend.samples import samples
from backend.services.topology.classes import EACH_LABEL, ClassesRequest
from backend.services.topology.requests import (
    FILL_BELOW,
    FILL_SHARE,
    REMOVE_BELOW,
    RefineRequest,
    ThresholdRequest,
)
from backend.services.topology.volume import VolumeRequest, VolumeThresholdRequest

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

REFINE: dict[type, str] = {RefineRequest: "refine", VolumeRequest: "refine_volume", ClassesRequest: "classes"}
ACTIONS = (*REFINE.values(), "threshold", "threshold_volume")
ACCEPT = ".png,.tif,.tiff,.bmp,.npz,.npy,.nii,.nii.gz,.dcm,.jpg,.jpeg"
INTRODUCTION = """<section class="ss-hero"><p>A segmentation can overlap well with the truth and still be wrong where
it matters: a vessel broken in two, two walls joined by a stray pixel. Give the mask or probability map of any
segmenter, a picture or a volume; a network that has learnt what breaks, bridges, holes and islands look like repairs
it, and every changed place is shown. It sees the mask only, never the image, so each change is a proposal for you to
judge.</p></section>"""
MEANING = """<details class="ss-card ss-topology-help"><summary>What the numbers mean</summary><dl>
<dt>β₀, pieces</dt><dd>How many separate pieces the mask has. One vessel broken once counts as two.</dd>
<dt>β₁, holes</dt><dd>How many closed loops. In a picture each encloses a patch of background; in a volume it is a
tunnel, like that of a ring. A loop that is broken anywhere no longer counts; a pinhole counts as one.</dd>
<dt>β₂, cavities</dt><dd>In a volume: how many hollows are shut off inside the structure, like that of a ball.</dd>
<dt>Connectivity</dt><dd>Foreground elements that touch at a corner belong together (8-connected in pictures, 26 in
volumes); background elements must share an edge or a face (4, 6).</dd>
<dt>Dice</dt><dd>Overlap of two masks, 0 to 1. It hardly notices a broken vessel, which is why β₀ and β₁ stand beside
it.</dd></dl></details>"""
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
    "Arrows": "Move the picture; in a volume, the crosshair",
    "Page Up, Page Down": "Next and previous slice of a volume",
}


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the tab. No model is loaded before a repair starts."""
    html(INTRODUCTION)
    with gr.Accordion("Choose a segmentation", open=True, elem_id="topology-choose") as choice:
        sample = shell.samples(samples("mask", runtime.settings))
        uploaded = shell.upload(
            "Your own mask or probability map",
            accept=ACCEPT,
            hint="A picture or a volume: PNG, TIFF (also stacks), NPZ, NPY, NIfTI or DICOM SEG; binary, probability or "
            "labels.",
        )
        with gr.Accordion("Options", open=False):
            with gr.Row():
                reading = gr.Dropdown(READINGS, value="auto", label="Read the file")
                input_threshold = gr.Slider(
                    0.05, 0.95, 0.5, step=0.01, label="Threshold of the input", info="Makes 'before' from a probability"
                )
                invert = gr.Checkbox(False, label="Exchange foreground and background")
            with gr.Row():
                names = weight_names(runtime, 2)
                # Names come and go while the page is open; one that is gone is told by the job, in a sentence.
                weights = gr.Dropdown(names, value=names[0], label="Weights", allow_custom_value=True)
                remove_below = gr.Number(
                    REMOVE_BELOW,
                    label="Then remove pieces below",
                    minimum=0,
                    precision=0,
                    info="Pixels or voxels; 0 keeps all",
                )
                fill_below = gr.Number(
                    FILL_BELOW,
                    label="Then fill holes below",
                    minimum=0,
                    precision=0,
                    info="Pixels or voxels; 0 fills none",
                )
                fill_share = gr.Number(
                    FILL_SHARE, label="Then fill holes below, × median hole", minimum=0, step=0.05, info="0 fills none"
                )
            cubic = gr.Checkbox(
                True,
                label="Divide long voxels for the network",
                info="Voxels of this volume are no cubes; the result is read back at the given ones",
                visible=False,
            )
            truth = shell.upload(
                "True mask of the same image, if there is one",
                accept=ACCEPT,
                hint="Only to measure: every repair is compared with it, the network does not see it.",
            )
            emptied = html(clear_html(truth))
    source, before, dimensions = shell.hidden("source"), shell.hidden("before"), shell.hidden("dimensions")
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

    described = [contents, label, channel, weights, cubic, dimensions, run, remove_below, fill_below]

    def describe(
        artifact: str, how: str, map_name: str | None, chosen: str, piece: float | None, hole: float | None
    ) -> tuple[Any, ...]:
        return look(runtime, shell, artifact, how, map_name or "").updates(runtime, chosen, (piece, hole))

    shown = [result, downloads.html, kept.html, card.html]
    shell.on(sample.change, shell.open_sample, [sample], [source])
    # The sample is forgotten, so that a click on the same one later counts as a choice again.
    shell.on(uploaded.change, lambda new: (new, "") if new else (gr.skip(), gr.skip()), [uploaded], [source, sample])
    chosen = shell.on(
        source.change,
        lambda new, how, *current: describe(new, how, "", *current),
        [source, reading, weights, remove_below, fill_below],
        described,
    )
    shell.on(chosen.then, lambda: ("", "", "", ""), None, shown)
    # A true mask belongs to the segmentation it was given for, and to no other.
    shell.on(
        source.change,
        lambda new, last: (new, clear_html(truth, new)) if last and new != last else (new, gr.skip()),
        [source, before],
        [before, emptied],
    )
    current = [source, reading, channel, weights, remove_below, fill_below]
    shell.on(reading.input, describe, current, described)
    shell.on(channel.input, describe, current, described)

    def request(*values: Any) -> RefineRequest | VolumeRequest | ClassesRequest:
        artifact, how, chosen, map_name, solid, cubes, cut, name, inverted, piece, hole, share, true = values
        if not artifact:
            raise UserError("No segmentation is chosen.", "", "Click a sample, or upload a mask.")
        if chosen == EACH_LABEL:
            each: dict[str, Any] = {"weights" if solid != "3" else "volume_weights": name}
            each |= {"remove_below": int(piece or 0), "fill_below": int(hole or 0), "fill_share": float(share or 0)}
            return ClassesRequest(source=artifact, channel=map_name or "", cubic=bool(cubes), **each)
        asked: dict[str, Any] = {
            "source": artifact,
            "reading": how,
            "label": None if chosen in (None, "") else int(chosen),
            "channel": map_name or "",
            "input_threshold": float(cut),
            "weights": name,
            "invert": bool(inverted),
            "remove_below": int(piece or 0),
            "fill_below": int(hole or 0),
            "fill_share": float(share or 0),
            "truth": true or "",
        }
        return VolumeRequest(**asked, cubic=bool(cubes)) if solid == "3" else RefineRequest(**asked)

    options = [input_threshold, weights, invert, remove_below, fill_below, fill_share, truth]
    job.submit(run.click, REFINE, request, [source, reading, label, channel, dimensions, cubic, *options])
    shell.on(run.click, lambda: gr.update(open=False), None, [choice])

    def show(view: JobView) -> tuple[Any, ...]:
        if view.action not in REFINE.values():
            return (gr.skip(),) * (len(shown) + 1)
        if view.action == "classes":
            files = classes_files(view)
            return classes_html(view), downloads.render(files), "", card.render(files[:1]), gr.update(open=False)
        made = view.result or {}
        names = ("mask", "own", "probability", "change_map", "change_table")
        files = [made[name] for name in names if made.get(name)]
        element = "ss-topology" if view.action == "refine" else "ss-topology-volume"
        viewer = f'<{element} job="{escape(view.id)}" keep="{escape(keep.elem_id or "")}"></{element}>'
        return viewer, downloads.render(files), "", card.render(files[:1]), gr.update(open=False)

    job.finished(show, [*shown, choice])
    card.on_rerun(lambda made: _origin(runtime, made), [source, reading, *options[:-1]])
    shell.on(keep.change, lambda wish: _keep(runtime, wish, kept, card), [keep], [kept.html, card.html])
    # "Your own refiner" makes new weights, and hands a name over here.
    wished = hidden("topology-use-weights")
    shell.on(wished.change, lambda wish: _wished(runtime, wish), [wished], [weights])
    shell.on(shell.shown, lambda solid, name: _weights(runtime, solid, name), [dimensions, weights], [weights])
    shell.shortcuts("Topology", KEYS)


def _weights(runtime: Runtime, solid: str, name: str) -> Any:
    names = weight_names(runtime, 3 if solid == "3" else 2)
    # A value that is still there is left alone: another event may just be setting it.
    return gr.update(choices=names) if name in names else gr.update(choices=names, value=names[0])


def _wished(runtime: Runtime, wish: str) -> Any:
    name = wish.partition(" ")[0]
    names = next((names for names in (weight_names(runtime, n) for n in (2, 3)) if name in names), None)
    return gr.update(choices=names, value=name) if names else gr.skip()


def _origin(runtime: Runtime, made: dict[str, Any]) -> list[Any]:
    """Choices of the refinement that made an artifact; one that was only cut again leads to the refinement before."""
    if "before" in made:
        made = dict(runtime.artifacts.view(made["before"]).provenance.request)
    names = ("source", "reading", "input_threshold", "weights", "invert", "remove_below", "fill_below", "fill_share")
    # Refining each label by itself has fewer choices; those it does not have stay as they are.
    return [made.get(name, gr.skip()) for name in names]


def _keep(runtime: Runtime, wish: str, kept: Any, card: Any) -> tuple[Any, Any]:
    """Store the mask at the threshold in view: ``wish`` is 'JOB THRESHOLD …' as the viewer wrote it."""
    from backend.services.topology.view import finished
    from backend.services.topology.volume_view import finished_volume

    parts = wish.split(" ")
    if len(parts) < 2:
        return gr.skip(), gr.skip()
    solid = runtime.jobs.view(parts[0]).action == "refine_volume"
    asked, made = finished_volume(runtime, parts[0]) if solid else finished(runtime, parts[0])
    cut = VolumeThresholdRequest if solid else ThresholdRequest
    wanted = cut(
        before=made.before,
        probability=made.probability,
        threshold=float(parts[1]),
        remove_below=asked.remove_below,
        fill_below=asked.fill_below,
        fill_share=asked.fill_share,
        seed=asked.seed,
    )
    action = "threshold_volume" if solid else "threshold"
    done = runtime.jobs.wait(runtime.jobs.submit("topology", action, wanted, actor=LOCAL), timeout=120)
    if done.result is None:
        error = done.error or {}
        raise UserError(
            error.get("what", "The mask at this threshold was not kept."),
            error.get("why", ""),
            error.get("what_to_do", ""),
        )
    files = [done.result[name] for name in ("mask", "own", "change_map", "change_table") if done.result.get(name)]
    title = f"<p><b>Kept at threshold {wanted.threshold:.2f}</b></p>"
    return title + kept.render(files), card.render(files[:1])
