"""Many scans: drop them or a ZIP of them, look at all with the same settings, one table, one ZIP."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr
from pydantic import TypeAdapter

from app.components.html import html
from app.components.upload_many import arrivals, upload_many
from app.tabs.anomaly.settings_box import say_absent, settings_box, shown_again, wishes
from backend.errors import UserError
from backend.jobs.contract import JobView
from backend.services.anomaly.batch import MOST_SCANS, ScanRow, ScansRequest, ScansResult
from backend.services.anomaly.view import SEQUENCES

if TYPE_CHECKING:
    from app.components.shell import Shell
    from backend.runtime import Runtime

ACTIONS = ("batch",)
ACCEPT = ".nii,.nii.gz,.gz,.dcm,.zip,.png,.tif,.tiff"
INTRODUCTION = """<section class="ss-hero"><p>Look at a whole folder with the same settings. Every scan gets its
heat-map, findings and picture on its own voxels; a table sums them up, and all of it comes in one ZIP. A scan that
cannot be looked at says why in its row, and the others go on.</p></section>"""
NOTHING_CHOSEN = '<p class="ss-empty">Nothing is chosen yet: drop files, a folder or a ZIP of NIfTI files.</p>'
LINKS = (
    ("heat", "heat-map"),
    ("restored", "restored"),
    ("labels", "findings"),
    ("table", "table"),
    ("segmentation", "SEG"),
)


def build(runtime: Runtime, shell: Shell) -> None:
    """Draw the part. No model is loaded before a batch starts."""
    html(INTRODUCTION)
    say_absent(runtime)
    with gr.Accordion("Choose the scans", open=True, elem_id="anomaly-batch-choose") as choice:
        scans = upload_many(
            "anomaly-scans",
            "Scans to look at",
            ACCEPT,
            "NIfTI files, DICOM slices, grey pictures, or a ZIP of these. For a DICOM series use “Look at one”.",
        )
        with gr.Accordion("Options", open=False):
            settings = settings_box(runtime)
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            line = html(NOTHING_CHOSEN)
        with gr.Column(scale=1, min_width=180):
            run = gr.Button("Detect in all", variant="primary", interactive=False, elem_id="anomaly-batch-run")
    job = shell.job("anomaly", ACTIONS)
    result = html()
    downloads = shell.downloads()
    card = shell.provenance()

    shell.on(scans.change, _line, [scans], [line, run])

    def request(value: str, *values: Any) -> ScansRequest:
        sources = tuple(str(entry["id"]) for entry in arrivals(value) if entry.get("id"))
        if not sources:
            raise UserError("No scans are chosen.", "", "Drop some files, or a ZIP of them.")
        return ScansRequest(sources=sources, **wishes(values))

    job.submit(run.click, "batch", request, [scans, *settings.components])
    shell.on(run.click, lambda: (gr.update(open=False), "", "", ""), None, [choice, result, downloads.html, card.html])

    def show(view: JobView) -> tuple[Any, ...]:
        made = TypeAdapter(ScansResult).validate_python(dict(view.result or {}))
        files = [item for item in (made.archive, made.summary) if item]
        return scans_html(made), downloads.render(files), card.render(files[:1]), gr.update(open=False)

    job.finished(show, [result, downloads.html, card.html, choice])
    card.on_rerun(shown_again, settings.components)


def scans_html(made: ScansResult) -> str:
    """The table of a batch: one row a scan, with its picture and its files."""
    lines = "".join(_row(row) for row in made.rows)
    total = len(made.rows)
    words = f"{made.scans} of {total} {'scan was' if total == 1 else 'scans were'} looked at in {made.seconds:.0f} s."
    heads = ("Scan", "Input, restored, heat-map", "Sequence", "Brain", "Findings", "Total", "Largest", "Peak", "Files")
    columns = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        f'<section class="ss-section"><p><b>{words}</b></p><div class="ss-scans"><table><thead><tr>{columns}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div></section>"
    )


def _row(row: ScanRow) -> str:
    name = f'<th scope="row">{row.number} <ss-file-name of="{escape(row.source)}"></ss-file-name></th>'
    if row.problem:
        return f'<tr class="ss-bad-row">{name}<td colspan="8">{escape(row.problem)}</td></tr>'
    links = "".join(
        f'<a href="/api/artifacts/{escape(getattr(row, field))}" download>{title}</a>'
        for field, title in LINKS
        if getattr(row, field)
    )
    largest = f"{row.largest_ml:.2f} ml" + (f", {escape(row.region)}" if row.region else "")
    panel = f"/api/artifacts/{escape(row.panel)}/image"
    cells = [
        f'<a href="{panel}"><img src="{panel}?side=1024" '
        f'alt="Most remarkable slice of scan {row.number}" loading="lazy"></a>',
        SEQUENCES.get(row.sequence, escape(row.sequence)),
        f"{row.brain_ml:,.0f} ml",
        str(row.count),
        f"{row.total_ml:.2f} ml",
        largest if row.count else "–",
        f"{row.peak:.3f}" if row.count else "–",
        links,
    ]
    unlike = f'<tr class="ss-bad-row"><td></td><td colspan="8">{escape(row.unlike)}</td></tr>' if row.unlike else ""
    return f"<tr>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>{unlike}"


def _line(value: str) -> tuple[str, Any]:
    """What has arrived, and whether it can be looked at."""
    listed = arrivals(value)
    if not listed:
        return NOTHING_CHOSEN, gr.update(interactive=False)
    ready = sum(bool(entry.get("id")) for entry in listed)
    refused = len(listed) - ready
    words = f"{ready} {'scan' if ready == 1 else 'scans'} ready"
    if refused:
        words += f"; {refused} refused, see above"
    if ready > MOST_SCANS:
        words += f". One job takes up to {MOST_SCANS}: take some out"
    return f"<p><b>{words}.</b></p>", gr.update(interactive=0 < ready <= MOST_SCANS)
