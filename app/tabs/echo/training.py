"""Your own generator: train a part of it on a folder of clips from the page, and keep the list of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.html import html
from app.components.training_parts import confirm_html, stopped_html
from app.tabs.echo import training_show as show
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobState, JobView
from backend.services.echo.needs import AUTOENCODER, PARTS, choices
from backend.services.echo.training import MOST_MINUTES, OWN, PHANTOM_CLIPS, TrainEchoRequest

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACTIONS = ("train",)
FOLDER, PHANTOMS = "folder", "phantoms"
SIZES = [("small, for a few cores", "small"), ("large, for a GPU", "large")]
INTRODUCTION = """<section class="ss-hero"><p>The generator has seen phantoms only. Train a part of it on clips of your
own: a folder on the server in the layout of EchoNet-Dynamic (FileList.csv and Videos), or of DICOM, AVI or MP4 clips
beside a CSV with their file names and ejection fractions. The meter finds the beats; a clip counts with 24 frames and
one end-diastole. Nothing leaves this machine.</p></section>"""
NO_FOLDER = '<p class="ss-empty">No folder yet: name one, or take phantoms to try it out.</p>'
DEFAULT = TrainEchoRequest(name="")


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part. No network is loaded before a training starts."""
    html(INTRODUCTION)
    resumed, asked, answered = shell.hidden("resume"), shell.hidden("ask"), shell.hidden("answer")
    roots = runtime.settings.data_roots
    with gr.Row():
        with gr.Column(scale=3, min_width=320):
            source = gr.Radio(
                [("a folder on the server", FOLDER), ("phantoms, to try it out", PHANTOMS)],
                value=FOLDER,
                label="Learn from",
                elem_id="echo-train-source",
            )
            folder = gr.Textbox(
                "",
                label="Folder of clips",
                placeholder="EchoNet-Dynamic" if roots else "no folder is allowed yet",
                info="Inside an allowed folder."
                if roots
                else 'Allow folders with SYNTHSCOPE_DATA_ROOTS, such as ["/data"], and start again.',
                interactive=bool(roots),
                max_lines=1,
            )
            clips = gr.Number(
                DEFAULT.clips,
                label="Phantom clips",
                precision=0,
                minimum=PHANTOM_CLIPS[0],
                maximum=PHANTOM_CLIPS[1],
                info="Drawn when the training starts",
                visible=False,
            )
            facts = html(NO_FOLDER)
        with gr.Column(scale=2, min_width=280):
            part = gr.Dropdown(
                [(title, key) for key, title in PARTS.items()], value=DEFAULT.part, label="Part of the generator"
            )
            with gr.Row():
                name = gr.Textbox("", label="Name of the network", placeholder="my-hearts", max_lines=1, min_width=150)
                minutes = gr.Number(
                    DEFAULT.minutes, label="Minutes", minimum=0.05, maximum=MOST_MINUTES, step=1, min_width=90
                )
            with gr.Row():
                size = gr.Dropdown(SIZES, value=DEFAULT.size, label="Size", min_width=150)
                seed = gr.Number(0, label="Seed", precision=0, minimum=0, min_width=80)
            code = gr.Dropdown(
                choices(runtime.weights, "autoencoder"),
                value=AUTOENCODER,
                label="Autoencoder",
                info="The model works in its code and belongs to it",
                allow_custom_value=True,
            )
            run = gr.Button("Train", variant="primary", elem_id="echo-train")
    job = shell.job("echo", actions=ACTIONS, estimate=False)
    result = html()
    downloads = shell.downloads()
    card = shell.provenance()
    confirm = html()
    table = html()

    def look(text: str, origin: str) -> str:
        from backend.services.echo.training_folder import look_at

        if origin == PHANTOMS:
            return "<p>Hearts drawn by a program, of people who do not exist.</p>"
        if not (text or "").strip():
            return NO_FOLDER
        try:
            return show.facts_html(look_at(text, roots))
        except UserError as error:
            return shell.error(error)

    def listing() -> str:
        return show.networks_html(
            OWN.weights(runtime), OWN.stopped(runtime), asked.elem_id or "", resumed.elem_id or ""
        )

    def appear() -> tuple[Any, str]:
        return gr.update(choices=choices(runtime.weights, "autoencoder")), listing()

    shell.on(folder.change, look, [folder, source], [facts])
    shell.on(
        source.change,
        lambda text, origin: (
            look(text, origin),
            gr.update(visible=origin == FOLDER),
            gr.update(visible=origin == PHANTOMS),
        ),
        [folder, source],
        [facts, folder, clips],
    )
    # An autoencoder has one size, and works in no other one's code.
    shell.on(
        part.change,
        lambda chosen: [gr.update(visible=chosen != "autoencoder")] * 2,
        [part],
        [size, code],
    )
    shell.on(shell.shown, appear, None, [code, table])

    def request(*values: Any) -> TrainEchoRequest:
        origin, text, count, which, title, limit, large, number, owner = values
        if limit is None or not 0 < limit <= MOST_MINUTES:
            raise UserError("This training time cannot be used.", "", f"Choose up to {MOST_MINUTES:g} minutes.")
        return TrainEchoRequest(
            name=OWN.check_free(runtime, title),
            part=which,
            folder="" if origin == PHANTOMS else _kept_name(runtime, text),
            minutes=float(limit),
            size=large,
            autoencoder=owner or AUTOENCODER,
            clips=int(count or 0),
            seed=int(number or 0),
        )

    choice = [source, folder, clips, part, name, minutes, size, seed, code]
    job.submit(run.click, "train", request, choice)
    job.submit(resumed.change, "train", lambda wish: _again(runtime, wish), [resumed])

    def done(view: JobView) -> tuple[Any, ...]:
        made = view.result or {}
        files = [made[key] for key in ("archive", "sheet", "table", "curve") if made.get(key)]
        return show.result_html(made), downloads.render(files), card.render(files[:1]), listing()

    def ended(view: JobView) -> tuple[Any, ...]:
        title = str(view.request["name"]).strip().lower()
        kept = OWN.is_stopped(runtime, title)
        spent = float(view.request["minutes"])
        told = stopped_html(title, spent, view.fraction, view.id, resumed.elem_id or "", kept=kept)
        return told, "", "", listing()

    shown = [result, downloads.html, card.html, table]
    job.finished(done, shown)
    job.finished(ended, shown, (JobState.CANCELLED, JobState.INTERRUPTED))
    shell.on(job.job_id.change, lambda: ("", "", ""), None, shown[:3])
    card.on_rerun(_origin, choice)

    def answer(wish: str) -> tuple[str, str]:
        verb, _, title = wish.partition(" ")[0].partition(":")
        if verb == "delete":
            OWN.delete(runtime, title, actor=LOCAL)
        elif verb == "discard":
            OWN.discard(runtime, title, actor=LOCAL)
        return "", listing()

    def question(wish: str) -> str:
        wish = wish.partition(" ")[0]
        return confirm_html(wish, answered.elem_id or "", OWN.system, OWN.noun) if wish else ""

    shell.on(asked.change, question, [asked], [confirm])
    shell.on(answered.change, answer, [answered], [confirm, table])


def _kept_name(runtime: Runtime, text: str) -> str:
    """The name of the folder as requests keep it, after a look at its table."""
    from backend.services.echo.training_folder import look_at

    if not (text or "").strip():
        raise UserError("No folder is chosen.", "", "Name a folder of clips, or choose phantoms.")
    return look_at(text, runtime.settings.data_roots).name


def _again(runtime: Runtime, wish: str) -> TrainEchoRequest:
    """The request of a stopped training, to go on with."""
    view = runtime.jobs.view(wish.partition(" ")[0])
    if view.action != "train":
        raise UserError("This job was no training.", "", "Start a training above.")
    values = dict(view.request) | {"resume": True}
    OWN.check_free(runtime, str(values["name"]))
    return TrainEchoRequest(**values)


def _origin(made: dict[str, Any]) -> list[Any]:
    """Choices of the training that made an artifact; a name is left to choose, since that one is taken."""
    origin = FOLDER if made["folder"] else PHANTOMS
    names = ("part", "minutes", "size", "seed", "autoencoder")
    which, limit, large, number, owner = (made[name] for name in names)
    return [origin, made["folder"], made["clips"], which, "", limit, large, number, owner]
