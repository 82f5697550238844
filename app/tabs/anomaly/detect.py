"""Look at one scan: choose it, detect, see heat-map and findings, judge them, take everything home."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from pydantic import TypeAdapter

from app.components.html import html
from app.components.upload import clear_html
from app.tabs.anomaly.settings_box import say_absent, settings_box, shown_again, weight_names, wishes
from backend.errors import UserError
from backend.identity import LOCAL
from backend.jobs.contract import JobView
from backend.samples import Sample, samples
from backend.services.anomaly.pack import PackRequest
from backend.services.anomaly.requests import DetectRequest, ReviewResult
from backend.services.anomaly.verdicts import review_of, verdicts

if TYPE_CHECKING:
    from app.components.downloads import Downloads
    from app.components.provenance_card import ProvenanceCard
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACTIONS = ("detect",)
ACCEPT = ".nii,.nii.gz,.gz,.dcm,.zip,.png,.tif,.tiff"
FILES = ("heat", "restored", "labels", "mask", "segmentation", "table", "panel")
INTRODUCTION = """<section class="ss-hero"><p>Give a brain MRI, FLAIR, T1 or T2: a network that has learnt to undo
made-up damage restores every slice as if it were healthy, and what it would change is the heat-map. Places above a
threshold become findings with volume, coordinates and region, for you to accept or reject. It knows no disease and was
trained on phantoms, so a finding is a question, not an answer.</p></section>"""
NOTHING_CHOSEN = '<p class="ss-empty">Nothing is chosen yet: click a sample, or drop a scan.</p>'
KEYS = {
    "O": "Heat-map on or off",
    "N": "Next finding",
    "P": "Previous finding",
    "A": "Accept the finding",
    "R": "Reject the finding",
    "X": "Take the verdict back",
    "Arrows": "Move the crosshair in the plane",
    "Page Up, Page Down": "Next and previous slice",
}


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part. No model is loaded before a detection starts."""
    html(INTRODUCTION)
    say_absent(runtime)
    with gr.Accordion("Choose a scan", open=True, elem_id="anomaly-choose") as choice:
        sample = shell.samples(offered(runtime))
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                uploaded = shell.upload(
                    "Your own scan",
                    accept=ACCEPT,
                    hint="NIfTI, a DICOM series as ZIP, one DICOM slice or a grey picture. Names and dates are removed "
                    "on arrival.",
                )
            with gr.Column(scale=2, min_width=280):
                mask = shell.upload(
                    "Its brain mask, if you have one",
                    accept=ACCEPT,
                    hint="On the same voxels. Without it the brain is found here.",
                )
                emptied = html(clear_html(mask))
        with gr.Accordion("Options", open=False, elem_id="anomaly-options"):
            settings = settings_box(runtime)
    source, before = shell.hidden("source"), shell.hidden("before")
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            contents = html(NOTHING_CHOSEN)
        with gr.Column(scale=1, min_width=180):
            run = gr.Button("Detect", variant="primary", interactive=False, elem_id="anomaly-run")
    job = shell.job("anomaly", ACTIONS)
    result = html()
    downloads = shell.downloads()
    shown_job, again = shell.hidden("shown"), shell.hidden("again")
    with gr.Row(visible=False, elem_id="anomaly-after") as after:
        review = gr.Button("Store the findings as judged", size="sm", elem_id="anomaly-review")
        everything = gr.Button("Everything as one ZIP", size="sm", elem_id="anomaly-pack")
    kept = shell.downloads()
    card = shell.provenance()

    shown = [result, downloads.html, kept.html, card.html, after]
    shell.on(sample.change, shell.open_sample, [sample], [source])
    # The sample is forgotten, so that a click on the same one later counts as a choice again.
    shell.on(uploaded.change, lambda new: (new, "") if new else (gr.skip(), gr.skip()), [uploaded], [source, sample])
    chosen = shell.on(source.change, lambda new: _look(runtime, shell, new), [source], [contents, run])
    shell.on(chosen.then, lambda: ("", "", "", "", gr.update(visible=False)), None, shown)
    # A mask belongs to the scan it was given for, and to no other.
    shell.on(
        source.change,
        lambda new, last: (new, clear_html(mask, new)) if last and new != last else (new, gr.skip()),
        [source, before],
        [before, emptied],
    )

    def request(artifact: str, own: str, *values: Any) -> DetectRequest:
        if not artifact:
            raise UserError("No scan is chosen.", "", "Click a sample, or upload a scan.")
        return DetectRequest(source=artifact, mask=own or "", **wishes(values))

    job.submit(run.click, "detect", request, [source, mask, *settings.components])
    shell.on(run.click, lambda: gr.update(open=False), None, [choice])

    def show(view: JobView) -> tuple[Any, ...]:
        files = files_of(view)
        viewer = f'<ss-anomaly job="{escape(view.id)}" again="{escape(again.elem_id or "")}"></ss-anomaly>'
        after_it = gr.update(visible=True)
        return viewer, downloads.render(files), "", card.render(files[:1]), after_it, view.id, gr.update(open=False)

    job.finished(show, [*shown, shown_job, choice])
    # The result asks for findings at another threshold: the same detection with it.
    inputs = [source, mask, *settings.components]
    filled = shell.on(again.change, lambda wish: _with_threshold(runtime, wish), [again], inputs)
    job.submit(filled.then, "detect", request, inputs)
    stored = [kept.html, card.html]
    shell.on(review.click, lambda told: _review(runtime, told, kept, card), [shown_job], stored)
    shell.on(everything.click, lambda told: _pack(runtime, told, kept, card), [shown_job], stored)
    card.on_rerun(lambda asked: [asked.get("source", gr.skip()), *shown_again(asked)], [source, *settings.components])
    # Weights come and go while the page is open; one that is gone is told by the job, in a sentence.
    shell.on(shell.shown, lambda: gr.update(choices=weight_names(runtime)), None, [settings.weights])
    shell.shortcuts("Anomaly", KEYS)


def offered(runtime: Runtime) -> list[Sample]:
    """Brains of the data folder and phantoms, and one slice that is no brain."""
    slices = [item for item in samples("dicom", runtime.settings) if item.id == "mr-small"]
    return [*samples("volume", runtime.settings), *slices]


def files_of(view: JobView) -> list[str]:
    """Artifact ids of what a detection stored."""
    made = view.result or {}
    return [made[name] for name in FILES if made.get(name)]


def _look(runtime: Runtime, shell: Shell, artifact: str) -> tuple[str, Any]:
    """The chosen scan in a line and a picture, and whether it can be looked at."""
    from backend.services.anomaly.view import scan_facts

    if not artifact:
        return NOTHING_CHOSEN, gr.update(interactive=False)
    try:
        view = runtime.artifacts.view(artifact)
        facts = scan_facts(runtime, artifact)
    except UserError as error:
        return shell.error(error), gr.update(interactive=False)
    known = view.properties
    title = escape(str(known.get("title", "Your scan")))
    badge = f' <span class="ss-badge">{escape(str(known["label"]))}</span>' if known.get("label") else ""
    notes = dict.fromkeys([*known.get("notes", ()), *facts["notes"]])
    listed = "".join(f"<li>{escape(str(note))}</li>" for note in notes)
    picture = f'<img src="/api/artifacts/{escape(artifact)}/image?side=256&frame=-1" alt="Middle slice">'
    shown = (
        f'<div class="ss-card ss-scan-input">{picture}<div><p><b>{title}</b>{badge}</p><p>{escape(facts["text"])}</p>'
        f"<ul>{listed}</ul></div></div>"
    )
    return shown, gr.update(interactive=True)


def _with_threshold(runtime: Runtime, wish: str) -> list[Any]:
    """Source, mask and settings of a detection with another threshold; ``wish`` is 'JOB THRESHOLD …'."""
    job_id, threshold = wish.split(" ")[:2]
    asked = {**runtime.jobs.view(job_id).request, "threshold": float(threshold)}
    return [asked["source"], asked["mask"], *shown_again(asked)]


def _review(runtime: Runtime, job_id: str, kept: Downloads, card: ProvenanceCard) -> Any:
    """Store the findings of the shown detection without those that were rejected."""
    if not job_id:
        return gr.skip(), gr.skip()
    files = _reviewed(runtime, job_id)
    known = verdicts(runtime, job_id)
    words = f"{sum(word == 'accepted' for word in known.values())} accepted, " + (
        f"{sum(word == 'rejected' for word in known.values())} rejected and left out"
    )
    return f"<p><b>Stored as judged: {words}.</b></p>{kept.render(files)}", card.render(files[:1])


def _pack(runtime: Runtime, job_id: str, kept: Downloads, card: ProvenanceCard) -> Any:
    """Everything of the shown detection in one ZIP, with the reviewed findings where there are verdicts."""
    if not job_id:
        return gr.skip(), gr.skip()
    files = files_of(runtime.jobs.view(job_id))
    if verdicts(runtime, job_id):
        files += _reviewed(runtime, job_id)
    done = _done(runtime, "pack", PackRequest(tuple(files)), "The results were not packed.")
    archive = [done["archive"]]
    return kept.render(archive), card.render(archive)


def _reviewed(runtime: Runtime, job_id: str) -> list[str]:
    done = _done(runtime, "review", review_of(runtime, job_id), "The findings were not stored.")
    made = TypeAdapter(ReviewResult).validate_python(done)
    return [item for item in (made.labels, made.segmentation, made.table) if item]


def _done(runtime: Runtime, action: str, request: Any, otherwise: str) -> dict[str, Any]:
    """The result of a short job. Raises ``UserError`` with what it says when it fails."""
    job = runtime.jobs.wait(runtime.jobs.submit("anomaly", action, request, actor=LOCAL), timeout=300)
    if job.result is None:
        error = job.error or {"what": otherwise}
        raise UserError(*(error.get(name, "") for name in ("what", "why", "what_to_do")))
    return dict(job.result)
