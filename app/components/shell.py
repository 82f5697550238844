"""What tabs share. Every tab module has ``build(runtime, shell)``, which runs inside its ``gr.Tab``.

A whole tab, thinnest form::

    from backend.services.topology.requests import RefineRequest

    def build(runtime: Runtime, shell: Shell) -> None:
        chosen = shell.samples(samples("mask"))               # hidden gr.Textbox: id of the sample
        mask = shell.upload("Segmentation mask", accept=".png,.tif,.npz,.dcm,.nii,.nii.gz")   # hidden: artifact id
        seed = gr.Number(0, label="Seed", precision=0)
        run = gr.Button("Refine", variant="primary")
        job = shell.job("topology", actions=("refine",))      # strip: bar, ETA, preview, cancel; survives a reload
        picture = html()                                      # app.components.html: our own markup, unstyled
        downloads = shell.downloads()
        card = shell.provenance()

        shell.on(chosen.change, shell.open_sample, [chosen], [mask])
        job.submit(run.click, "refine", lambda mask, seed: RefineRequest(mask=mask, seed=int(seed)), [mask, seed])

        def show(view: JobView) -> tuple[str, str, str]:      # called when the job is done, also after a reload
            ids = view.artifacts
            return image_html(ids[0], "Refined mask"), downloads.render(ids), card.render(ids)

        job.finished(show, [picture, downloads.html, card.html])
        card.on_rerun(lambda request: request["seed"], [seed])
        shell.shortcuts("Topology", {"T": "Toggle the overlay"})

Rules that follow from how Gradio and the server work:

- Hidden textboxes fire ``.change`` only (``.input`` needs a key press).
- Gradio's own file, image and download components do not work here on purpose: their cache can be read by every user,
  so ``/gradio_api/upload`` and ``/gradio_api/file=`` are closed. Pictures are ``<img>`` of
  ``/api/artifacts/{id}/image`` in a ``gr.HTML`` (:func:`image_html`), files come by :meth:`Shell.downloads`.
- A ``gr.HTML`` patches its old elements when its value changes; elements that keep state of their own belong into an
  iframe or a custom element.
- A tab's own script is ``app/static/<system>.js``: every ``.js`` there is served under ``/static/app/`` and loaded with
  the page as a module. ``synthscope.fill(elem_id, value)`` hands a value to a hidden textbox.
- Use :meth:`Shell.on` instead of ``event(...)``: it shows a ``UserError`` as its sentences, hides a bug behind an id,
  and keeps the endpoint out of the public API.
- Only the selected tab is in the page, and a tab's values are ids, never models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.downloads import Downloads
from app.components.errors import error_html, guarded
from app.components.job_strip import JobSlot
from app.components.provenance_card import ProvenanceCard
from app.components.sample_strip import sample_strip
from app.components.shortcuts import Shortcuts
from app.components.upload import hidden, upload
from backend.errors import UserError
from backend.identity import LOCAL
from backend.samples import accept_sample

if TYPE_CHECKING:
    from backend.runtime import Runtime
    from backend.samples import Sample


class Shell:
    """One for the whole page; hands every part an element id of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._shown: Callable[..., Any] | None = None
        self.keys = Shortcuts()
        self._count = 0

    def _id(self, part: str) -> str:
        self._count += 1
        return f"ss-{part}-{self._count}"

    @property
    def shown(self) -> Callable[..., Any]:
        """Event of the tab that is being built: it came into view. For :meth:`on`, to fetch what may have changed."""
        if self._shown is None:
            raise RuntimeError("no tab is being built")
        return self._shown

    def enter(self, tab: gr.Tab) -> None:
        """Tell which tab is being built (done by the workbench)."""
        self._shown = tab.select

    def on(
        self,
        event: Callable[..., Any],
        function: Callable[..., Any],
        inputs: Sequence[gr.components.Component] | None = None,
        outputs: Sequence[gr.components.Component] | None = None,
        **options: Any,
    ) -> Any:
        """``event(function, inputs, outputs)`` with errors shown as sentences and the endpoint kept private."""
        options.setdefault("show_progress", "hidden")
        options.setdefault("api_visibility", "private")
        return event(guarded(function), inputs, outputs, **options)

    def hidden(self, part: str = "value") -> gr.Textbox:
        """A hidden textbox for a script of the tab to write an id into (``synthscope.fill(elem_id, value)``)."""
        return hidden(self._id(part))

    def upload(self, label: str, accept: str = "", hint: str = "") -> gr.Textbox:
        """Drop zone; the hidden textbox gets the id of the stored artifact. ``accept`` as in an HTML file input."""
        return upload(self._id("upload"), label, accept, hint)

    def samples(self, samples: Sequence[Sample]) -> gr.Textbox:
        """Strip of samples; the hidden textbox gets the id of the chosen *sample*, for :meth:`open_sample`."""
        return sample_strip(self._id("samples"), samples)

    def open_sample(self, chosen: str) -> Any:
        """Id of the artifact of a sample, for a hidden box of artifact ids; ``chosen`` is what the strip wrote."""
        chosen = chosen.partition(" ")[0]
        return accept_sample(self.runtime, chosen, actor=LOCAL).id if chosen else gr.skip()

    def job(self, system: str, actions: Sequence[str] = (), *, estimate: bool = True) -> JobSlot:
        """Strip of one job of ``system`` (of one of ``actions``, when given); see :class:`JobSlot`.

        ``estimate`` says before the first job how long the first of ``actions`` takes; a tab that knows better by the
        size of what was chosen switches it off.
        """
        return JobSlot(self.runtime, system, actions, self._id("job"), estimate)

    def provenance(self, artifact_ids: Iterable[str] = ()) -> ProvenanceCard:
        """Cards that tell where artifacts came from; ``.html`` is the component, ``.render(ids)`` its value."""
        return ProvenanceCard(self.runtime, self._id("provenance"), artifact_ids)

    def downloads(self, artifact_ids: Iterable[str] = ()) -> Downloads:
        """Download buttons; ``.html`` is the component, ``.render(ids)`` its value."""
        return Downloads(self.runtime, artifact_ids)

    def error(self, error: UserError) -> str:
        """HTML of the error's sentences, to put in place of a result."""
        return error_html(error)

    def shortcuts(self, section: str, keys: Mapping[str, str]) -> None:
        """List keys of a tab's viewer in the ``?`` overlay."""
        self.keys.add(section, keys)


def image_html(artifact_id: str, alt: str, frame: int = 0) -> str:
    """An artifact as a lossless picture, for a ``gr.HTML``."""
    source = f"/api/artifacts/{escape(artifact_id)}/image?frame={frame}"
    return f'<img class="ss-image" src="{source}" alt="{escape(alt)}" draggable="false">'
