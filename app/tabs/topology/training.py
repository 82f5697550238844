"""Your own refiner: train one on clean masks from the page, keep the list of them, and look at the errors it learns."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.html import html
from app.components.training_parts import confirm_html, stopped_html
from app.components.upload_many import arrivals, upload_many
from app.tabs.topology import training_show as show
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.services.topology.laboratory import RECIPES
from backend.services.topology.training import MOST_MINUTES, TrainRefinerRequest
from backend.services.topology.training_list import (
    check_free,
    delete_refiner,
    discard,
    is_stopped,
    refiners,
    stopped,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.components.shell import Shell
    from backend.runtime import Runtime
    from backend.services.topology.training_list import RefinerView

ACTIONS = ("train",)
ACCEPT = ".png,.tif,.tiff,.bmp,.npz,.npy,.nii,.nii.gz,.zip"
SCRATCH = "from scratch"
PHANTOMS = {"phantom": 8, "phantom3d": 6}
INTRODUCTION = """<section class="ss-hero"><p>A refiner that has seen what your structures look like repairs them
better than one that has not. Give clean masks, such as the manual ones you trained your segmenter on: at least three,
better ten or more, all pictures or all volumes. Each step damages a crop of them as the laboratory below shows, and the
network learns to undo it. No image is needed, and nothing leaves this machine.</p></section>"""


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part. No network is loaded before a training starts."""
    html(INTRODUCTION)
    masks, removed, before = shell.hidden("masks"), shell.hidden("masks-out"), shell.hidden("masks-before")
    resumed, asked, answered = shell.hidden("resume"), shell.hidden("ask"), shell.hidden("answer")
    taken, errors = shell.hidden("taken"), shell.hidden("errors")
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            dropped = upload_many(
                "training-masks",
                "Clean masks",
                ACCEPT,
                "PNG, TIFF, NPY, NPZ or NIfTI of two values, the structure the larger; one mask a file, or a ZIP.",
            )
            with gr.Row():
                pictures = gr.Button("Try it with 8 phantom masks", size="sm", elem_id="training-phantoms")
                volumes = gr.Button("Try it with 6 phantom volumes", size="sm", elem_id="training-phantoms-3d")
                clear = gr.Button("Take all out", size="sm", elem_id="training-clear")
            listed = html(show.masks_html(runtime, shell, [], "")[0])
        with gr.Column(scale=2, min_width=280):
            with gr.Row():
                name = gr.Textbox("", label="Name of the refiner", placeholder="my-vessels", max_lines=1, min_width=150)
                minutes = gr.Number(4, label="Minutes", minimum=0.05, maximum=MOST_MINUTES, step=1, min_width=90)
            start = gr.Dropdown(_starts(runtime, 0), value=SCRATCH, label="Start", interactive=True)
            with gr.Row():
                recipe = gr.Dropdown(
                    [(title, key) for key, (title, _) in RECIPES.items()],
                    value="clustered",
                    label="Errors to learn from",
                    min_width=180,
                )
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=80)
            summary = html(show.errors_html(RECIPES["clustered"][0], {}))
            run = gr.Button("Train", variant="primary", interactive=False, elem_id="topology-train")
    job = shell.job("topology", actions=ACTIONS, estimate=False)
    result = html()
    downloads = shell.downloads()
    card = shell.provenance()
    confirm = html()
    table = html()
    html(
        '<section class="ss-section"><h2>Perturbation laboratory</h2><p class="ss-lead">What a refiner learns to undo: '
        "the errors that training draws, one at a time, on a phantom or on a mask of yours. The same seed gives the "
        "same picture.</p></section>"
    )
    laboratory = html(_laboratory([], taken.elem_id or ""))

    def look(text: str, first: str) -> tuple[Any, ...]:
        ids = text.split()
        drawn, dimensions, good = show.masks_html(runtime, shell, ids, removed.elem_id or "")
        offered = _starts(runtime, dimensions)
        kept = first if first in [value for _, value in offered] and first != SCRATCH else offered[0][1]
        return (
            drawn,
            gr.update(choices=offered, value=kept),
            gr.update(interactive=good),
            _laboratory(ids, taken.elem_id or ""),
        )

    def listing() -> str:
        return show.refiners_html(refiners(runtime), stopped(runtime), asked.elem_id or "", resumed.elem_id or "")

    described = [listed, start, run, laboratory]
    shell.on(dropped.change, _arrived, [dropped, before, masks], [masks, before])
    shell.on(pictures.click, lambda: _phantoms(runtime, "phantom"), None, [masks])
    shell.on(volumes.click, lambda: _phantoms(runtime, "phantom3d"), None, [masks])
    shell.on(clear.click, lambda: "", None, [masks])
    shell.on(removed.change, _without, [removed, masks], [masks])
    shell.on(masks.change, look, [masks, start], described)
    shell.on(shell.shown, listing, None, [table])

    def take(text: str) -> tuple[Any, ...]:
        if not text:
            return gr.skip(), gr.skip(), gr.skip()
        chosen = json.loads(text)
        title = RECIPES[chosen["recipe"]][0]
        return chosen["recipe"], json.dumps(chosen["errors"]), show.errors_html(title, chosen["errors"])

    shell.on(taken.change, take, [taken], [recipe, errors, summary])
    shell.on(recipe.input, lambda key: ("", show.errors_html(RECIPES[key][0], {})), [recipe], [errors, summary])

    def request(*values: Any) -> TrainRefinerRequest:
        ids, title, limit, first, key, settings, number = values
        if limit is None or not 0 < limit <= MOST_MINUTES:
            raise UserError("This training time cannot be used.", "", f"Choose up to {MOST_MINUTES:g} minutes.")
        return TrainRefinerRequest(
            masks=tuple(ids.split()),
            name=check_free(runtime, title),
            minutes=float(limit),
            start="" if first == SCRATCH else first,
            recipe=key,
            errors=json.loads(settings or "{}"),
            seed=int(number or 0),
        )

    job.submit(run.click, "train", request, [masks, name, minutes, start, recipe, errors, seed])
    job.submit(resumed.change, "train", lambda wish: _again(runtime, wish), [resumed])

    def done(view: JobView) -> tuple[Any, ...]:
        made = view.result or {}
        files = [made[key] for key in ("archive", "sheet", "table", "curve")]
        return show.result_html(made), downloads.render(files), card.render(files[:1]), listing()

    def ended(view: JobView) -> tuple[Any, ...]:
        title = str(view.request["name"]).strip().lower()
        spent = float(view.request["minutes"])
        kept = is_stopped(runtime, title)
        told = stopped_html(title, spent, view.fraction, view.id, resumed.elem_id or "", kept=kept)
        return told, "", "", listing()

    shown = [result, downloads.html, card.html, table]
    job.finished(done, shown)
    job.finished(ended, shown, (JobState.CANCELLED, JobState.INTERRUPTED))
    shell.on(job.job_id.change, lambda: ("", "", ""), None, shown[:3])
    card.on_rerun(_origin, [masks, name, minutes, start, recipe, errors, summary, seed])

    def question(wish: str) -> str:
        wish = wish.partition(" ")[0]
        return confirm_html(wish, answered.elem_id or "", "topology", "refiner") if wish else ""

    def answer(wish: str) -> tuple[str, str]:
        verb, _, title = wish.partition(" ")[0].partition(":")
        if verb == "delete":
            delete_refiner(runtime, title, actor=LOCAL)
        elif verb == "discard":
            discard(runtime, title, actor=LOCAL)
        return "", listing()

    shell.on(asked.change, question, [asked], [confirm])
    shell.on(answered.change, answer, [answered], [confirm, table])


def _arrived(value: str, before: str, text: str) -> tuple[str, str]:
    """The masks with what the drop zone has now and had not before, and without what it has no longer."""
    now, then = [[entry["id"] for entry in arrivals(held) if "id" in entry] for held in (value, before)]
    kept = [mask for mask in text.split() if mask in now or mask not in then]
    return " ".join(dict.fromkeys([*kept, *(mask for mask in now if mask not in then)])), value


def _without(wish: str, text: str) -> Any:
    gone = wish.partition(" ")[0]
    return " ".join(mask for mask in text.split() if mask != gone) if gone else gr.skip()


def _phantoms(runtime: Runtime, kind: str) -> str:
    from backend.services.topology.training_phantoms import phantom_masks

    return " ".join(phantom_masks(runtime, kind, PHANTOMS[kind], actor=LOCAL))


def _starts(runtime: Runtime, dimensions: int) -> list[tuple[str, str]]:
    """Where a training may start, the shipped refiner of those dimensions first (0: any)."""
    fitting: Sequence[RefinerView] = [view for view in refiners(runtime) if dimensions in (0, view.dimensions)]
    known = [
        (f"from {view.name}, {'shipped' if view.shipped else 'your own'}" if dimensions else view.name, view.name)
        for view in fitting
    ]
    return [*known, ("from scratch", SCRATCH)] if dimensions else [("from scratch", SCRATCH), *known]


def _again(runtime: Runtime, wish: str) -> TrainRefinerRequest:
    """The request of a stopped training, to go on with."""
    view = runtime.jobs.view(wish.partition(" ")[0])
    if view.action != "train":
        raise UserError("This job was no training.", "", "Start a training above.")
    values = dict(view.request) | {"resume": True, "masks": tuple(view.request["masks"])}
    check_free(runtime, str(values["name"]))
    return TrainRefinerRequest(**values)


def _origin(made: dict[str, Any]) -> list[Any]:
    """Choices of the training that made an artifact; a name is left to choose, since that one is taken."""
    title = RECIPES[made["recipe"]][0]
    masks, first = " ".join(made["masks"]), made["start"] or SCRATCH
    told = show.errors_html(title, made["errors"])
    return [masks, "", made["minutes"], first, made["recipe"], json.dumps(made["errors"]), told, made["seed"]]


def _laboratory(ids: Sequence[str], take_into: str) -> str:
    own = " ".join(ids[:50])
    return f'<ss-perturbation own="{escape(own)}" take="{escape(take_into)}"></ss-perturbation>'
