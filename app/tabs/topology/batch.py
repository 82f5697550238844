"""Many files: drop masks or a ZIP of them, repair all with the same settings, look through the table."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.html import html
from app.components.upload_many import arrivals, upload_many
from app.tabs.topology.look import weight_names
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.samples import accept_sample, samples
from backend.services.topology.batch import BatchRequest, CollectRequest, Problem
from backend.services.topology.requests import FILL_BELOW, FILL_SHARE, REMOVE_BELOW
from backend.services.topology.volume import VOLUME_FILL_BELOW, VOLUME_REMOVE_BELOW

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACTIONS = ("batch",)
ACCEPT = ".png,.tif,.tiff,.bmp,.npz,.npy,.nii,.nii.gz,.gz,.dcm,.jpg,.jpeg,.zip"
TRIED = 6  # samples that the one-click trial takes
INTRODUCTION = """<section class="ss-hero"><p>Repair a whole set with the same settings: pictures, volumes and label
maps in any mix. Each result comes back in the format of its file, with its geometry, and all of them in one ZIP with
the change tables and a summary. A file that cannot be repaired says why in its row, and the others go on. Give the true
masks too, and every measure is stated before and after.</p></section>"""
NOTHING_CHOSEN = '<p class="ss-empty">Nothing is chosen yet: drop files, a folder or a ZIP, or try it with samples.</p>'
READINGS = [
    ("by its content", "auto"),
    ("binary mask", "binary"),
    ("probability", "probability"),
    ("labels", "labels"),
]
KEYS = {
    "Enter": "Open or close a row of a batch",
    "Up, Down": "Row above, row below",
    "+, -, 0": "Zoom the open pictures in, out, whole",
    "Esc": "Close the open row",
}


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part. No model is loaded before a batch starts."""
    html(INTRODUCTION)
    with gr.Accordion("Choose the files", open=True, elem_id="batch-choose") as choice:
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                masks = upload_many(
                    "batch-masks",
                    "Masks to repair",
                    ACCEPT,
                    "PNG, TIFF, NPZ, NPY, NIfTI, DICOM SEG, or a ZIP of these; binary, probability or labels.",
                )
                trial = gr.Button("Try it with samples", size="sm", elem_id="batch-samples")
            with gr.Column(scale=2, min_width=280):
                truths = upload_many(
                    "batch-truths",
                    "Their true masks, if there are any",
                    ACCEPT,
                    "One for each file, paired in the order of the names. Only to measure.",
                )
        with gr.Accordion("Options", open=False):
            with gr.Row():
                reading = gr.Dropdown(READINGS, value="auto", label="Read the files")
                input_threshold = gr.Slider(
                    0.05, 0.95, 0.5, step=0.01, label="Threshold of the input", info="Makes 'before' from a probability"
                )
                threshold = gr.Slider(
                    0.05, 0.95, 0.5, step=0.01, label="Threshold of the result", info="On the refined probability"
                )
            with gr.Row():
                each = gr.Checkbox(
                    True, label="Each label by itself", info="Of label maps; otherwise all labels are one foreground"
                )
                invert = gr.Checkbox(
                    False, label="Exchange foreground and background", info="For masks whose structure is the dark part"
                )
            with gr.Row():
                flat, solid = weight_names(runtime, 2), weight_names(runtime, 3)
                weights = gr.Dropdown(flat, value=flat[0], label="Weights for pictures")
                volume_weights = gr.Dropdown(solid, value=solid[0], label="Weights for volumes")
            with gr.Row():
                remove_below = _size(REMOVE_BELOW, "Then remove pieces below, px")
                fill_below = _size(FILL_BELOW, "Then fill holes below, px")
                volume_remove_below = _size(VOLUME_REMOVE_BELOW, "In volumes, pieces below, voxels")
                volume_fill_below = _size(VOLUME_FILL_BELOW, "In volumes, cavities below, voxels")
                fill_share = gr.Number(
                    FILL_SHARE, label="Then fill holes below, × median hole", minimum=0, step=0.05, info="0 fills none"
                )
    chosen = shell.hidden("batch-chosen")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            line = html(NOTHING_CHOSEN)
        with gr.Column(scale=1, min_width=180):
            run = gr.Button("Repair all", variant="primary", interactive=False, elem_id="batch-run")
    job = shell.job("topology", ACTIONS, estimate=False)
    result = html()
    shown_job = shell.hidden("batch-shown")
    pack = gr.Button("Pack what is finished", visible=False, elem_id="batch-pack")
    downloads = shell.downloads()
    card = shell.provenance()

    # Uploads and samples are two ways to fill the same box; the last one counts.
    shell.on(masks.change, lambda value: value, [masks], [chosen])
    shell.on(trial.click, lambda: _samples(runtime), None, [chosen])
    shell.on(chosen.change, lambda value, true: _line(runtime, value, true), [chosen, truths], [line, run])
    shell.on(truths.change, lambda true, value: _line(runtime, value, true), [truths, chosen], [line, run])

    def request(*values: Any) -> BatchRequest:
        files, true, how, cut, after, labels, inverted, name, volume_name, piece, hole, voxels, cavity, share = values
        sources, refused, paired = _paired(files, true)
        return BatchRequest(
            sources=sources,
            truths=paired,
            refused=refused,
            reading=how,
            each_label=bool(labels),
            invert=bool(inverted),
            input_threshold=float(cut),
            threshold=float(after),
            weights=name,
            volume_weights=volume_name,
            remove_below=int(piece or 0),
            fill_below=int(hole or 0),
            volume_remove_below=int(voxels or 0),
            volume_fill_below=int(cavity or 0),
            fill_share=float(share or 0),
        )

    options = [reading, input_threshold, threshold, each, invert, weights, volume_weights]
    cleaning = [remove_below, fill_below, volume_remove_below, volume_fill_below, fill_share]
    job.submit(run.click, "batch", request, [chosen, truths, *options, *cleaning])
    shell.on(
        run.click,
        lambda: (gr.update(open=False), "", "", "", gr.update(visible=False)),
        None,
        [choice, result, downloads.html, card.html, pack],
    )

    def show(view: JobView) -> tuple[Any, ...]:
        table = f'<ss-topology-batch job="{escape(view.id)}"></ss-topology-batch>'
        made = view.result or {}
        files = [made[name] for name in ("archive", "summary") if made.get(name)]
        unpacked = view.state is not JobState.DONE and bool(view.artifacts)
        return (
            table,
            downloads.render(files),
            card.render(files[:1]),
            gr.update(visible=unpacked),
            view.id,
            gr.update(open=False),
        )

    ended = (JobState.DONE, JobState.CANCELLED, JobState.INTERRUPTED)
    job.finished(show, [result, downloads.html, card.html, pack, shown_job, choice], ended)
    shell.on(pack.click, lambda shown: _pack(runtime, shown, downloads, card), [shown_job], [downloads.html, card.html])
    shell.on(
        shell.shown, lambda *names: _weights(runtime, *names), [weights, volume_weights], [weights, volume_weights]
    )
    shell.shortcuts("Topology, many files", KEYS)


def _size(value: int, label: str) -> gr.Number:
    """A count of pixels or voxels, 0 to switch the cleaning off."""
    return gr.Number(value, label=label, minimum=0, precision=0, info="0 switches it off")


def _samples(runtime: Runtime) -> str:
    """The hidden box's value for a handful of mask samples whose truth is known."""
    import json

    found = [item for item in samples("mask", runtime.settings) if item.available and not item.derived][:TRIED]
    if not found:
        raise UserError("No sample is installed.", "", "Drop masks of your own.")
    return json.dumps([{"id": accept_sample(runtime, item.id, actor=LOCAL).id} for item in found])


def _paired(files: str, true: str) -> tuple[tuple[str, ...], tuple[Problem, ...], tuple[str, ...]]:
    """Sources, refused files and true masks out of the hidden boxes. Raises ``UserError`` where they do not pair."""
    given, truths = arrivals(files), arrivals(true)
    if truths and len(truths) != len(given):
        raise UserError(
            f"There are {len(truths)} true masks for {len(given)} files.",
            "They are paired in the order of their names, one for each file.",
            "Give as many true masks as files, or none.",
        )
    for number, entry in enumerate(truths, start=1):
        if not entry.get("id"):
            raise UserError(
                f"True mask {number} cannot be used.", str(entry.get("what", "")), "Leave it out or mend it."
            )
    sources = tuple(entry["id"] for entry in given if entry.get("id"))
    refused = tuple(
        Problem(number, *(str(entry.get(name, "")) for name in ("what", "why", "what_to_do")))
        for number, entry in enumerate(given, start=1)
        if not entry.get("id")
    )
    paired = tuple(truth["id"] for entry, truth in zip(given, truths, strict=False) if entry.get("id"))
    return sources, refused, paired


def _line(runtime: Runtime, files: str, true: str) -> tuple[str, Any]:
    """What is chosen and how long it will take, and whether it can be started."""
    from backend.services.topology.batch_view import expected_seconds

    given, truths = arrivals(files), arrivals(true)
    sources = [entry["id"] for entry in given if entry.get("id")]
    ready = len(sources)
    if not given:
        return NOTHING_CHOSEN, gr.update(interactive=False)
    words = [f"<b>{ready} {'file' if ready == 1 else 'files'} to repair.</b>"]
    if len(given) > ready:
        words.append(f"{len(given) - ready} refused on arrival.")
    if truths and len(truths) != len(given):
        masks = "is 1 true mask" if len(truths) == 1 else f"are {len(truths)} true masks"
        words.append(f"There {masks} for {len(given)} files: give as many, or none.")
    elif truths:
        words.append(f"{len(truths)} true masks, paired in the order of the names.")
    seconds = expected_seconds(runtime, sources)
    if seconds is None:
        words.append("How long it takes is told once this machine has done some.")
    else:
        words.append(f"Takes about {f'{max(1, round(seconds))} s' if seconds < 90 else f'{round(seconds / 60)} min'}.")
    return f'<p class="ss-card">{" ".join(words)}</p>', gr.update(interactive=ready > 0)


def _pack(runtime: Runtime, shown: str, downloads: Any, card: Any) -> tuple[Any, Any]:
    """ZIP and summary of what a cancelled batch had finished."""
    from backend.services.topology.batch_view import finished_masks

    wanted = CollectRequest(finished_masks(runtime, shown))
    done = runtime.jobs.wait(runtime.jobs.submit("topology", "collect", wanted, actor=LOCAL), timeout=300)
    if done.result is None:
        error = done.error or {"what": "The results were not packed."}
        raise UserError(*(error.get(name, "") for name in ("what", "why", "what_to_do")))
    files = [done.result["archive"], done.result["summary"]]
    return downloads.render(files), card.render(files[:1])


def _weights(runtime: Runtime, flat: str, solid: str) -> tuple[Any, Any]:
    """The menus of weights as they are now: "Your own refiner" may have made new ones."""
    updates = []
    for dimensions, name in ((2, flat), (3, solid)):
        names = weight_names(runtime, dimensions)
        updates.append(gr.update(choices=names, value=name if name in names else names[0]))
    return updates[0], updates[1]
