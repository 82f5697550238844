"""The application with one more system, whose jobs a test can hold at any step: ``python -m tests.browser.toy``."""

from __future__ import annotations

import sys
from html import escape

import gradio as gr

from app.components.html import html
from app.components.shell import Shell
from backend.catalogue import CATALOGUE, System
from backend.jobs.contract import JobView
from backend.runtime import Runtime
from tests.backend.jobs.actions import FailRequest, StepsRequest

TOY = System(
    name="toy",
    title="Toy",
    paper="",
    summary="Takes steps.",
    state="working",
    service="tests.backend.jobs.actions",
    tab="tests.browser.toy",
)


def build(runtime: Runtime, shell: Shell) -> None:
    """A tab with everything that the shell offers."""
    file = shell.upload("A file", accept=".png,.dcm", hint="Anything")
    told = html()
    folder = gr.Textbox(label="Folder")
    steps = gr.Number(3, label="Steps", precision=0)
    start = gr.Button("Start")
    fail = gr.Button("Fail")
    job = shell.job("toy", actions=("steps", "fail"))
    result = html()
    downloads = shell.downloads()
    card = shell.provenance()
    shell.shortcuts("Toy", {"T": "Toggle"})
    shell.on(file.change, lambda value: f"<p>got {escape(value)}</p>", [file], [told])
    job.submit(
        start.click, "steps", lambda where, count: StepsRequest(int(count), where or "", store=True), [folder, steps]
    )
    job.submit(fail.click, "fail", lambda: FailRequest("mistake"))

    def show(view: JobView) -> tuple[str, str, str]:
        taken = (view.result or {})["taken"]
        return f"<p>took {taken} steps</p>", downloads.render(view.artifacts), card.render(view.artifacts[:1])

    job.finished(show, [result, downloads.html, card.html])
    card.on_rerun(lambda request: request["steps"], [steps])


if __name__ == "__main__":
    from app.__main__ import main

    CATALOGUE.register(TOY)
    sys.exit(main())
