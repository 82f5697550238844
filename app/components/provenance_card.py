"""The provenance card: who made a thing, when, from what, with which weights, seed and versions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.errors import guarded
from app.components.html import html
from app.components.upload import hidden
from backend.errors import UserError
from backend.jobs.contract import ArtifactView
from backend.notices import RESEARCH_ONLY, SYNTHETIC

if TYPE_CHECKING:
    from backend.runtime import Runtime


class ProvenanceCard:
    """``html`` is the component to list among the outputs, ``render(ids)`` its value."""

    def __init__(self, runtime: Runtime, elem_id: str, artifact_ids: Iterable[str] = ()) -> None:
        self._runtime = runtime
        self._rerun_id = ""
        self._elem_id = elem_id
        ids = tuple(artifact_ids)
        self.html = html(self.render(ids) if ids else "")

    def on_rerun(self, fill: Callable[[dict[str, Any]], Any], outputs: Sequence[gr.components.Component]) -> gr.Textbox:
        """Add 'Run again': ``fill(request)`` gets the request as plain values and sets ``outputs``."""
        self._rerun_id = f"{self._elem_id}-rerun"
        box = hidden(self._rerun_id)

        def restore(artifact_id: str) -> Any:
            artifact_id = artifact_id.partition(" ")[0]
            if not artifact_id:
                return [gr.skip()] * len(outputs) if len(outputs) > 1 else gr.skip()
            return fill(dict(self._runtime.artifacts.view(artifact_id).provenance.request))

        box.change(guarded(restore), [box], list(outputs), show_progress="hidden", api_visibility="private")
        return box

    def render(self, artifact_ids: Iterable[str]) -> str:
        """HTML of one card an artifact; an artifact that is gone says so."""
        cards = []
        for artifact_id in artifact_ids:
            try:
                cards.append(card_html(self._runtime.artifacts.view(artifact_id), self._rerun_id))
            except UserError as error:
                cards.append(f'<section class="ss-card">{escape(error.what)}</section>')
        return "".join(cards)


def card_html(view: ArtifactView, rerun_into: str = "") -> str:
    """One artifact's card. ``rerun_into`` is the element that 'Run again' writes the id into."""
    made = view.provenance
    rows: list[tuple[str, str]] = [
        ("Made by", f"{escape(made.system)} · {escape(made.action)}"),
        ("When", f'<time datetime="{escape(made.made_at)}">{escape(made.made_at.replace("T", " ")[:19])} UTC</time>'),
        ("Who", escape(view.created_by)),
        ("From", _ids(made.parents) or "nothing stored"),
    ]
    if made.seed is not None:
        rows.append(("Seed", f"<code>{made.seed}</code>"))
    if made.sampler:
        rows.append(("Sampler", escape(made.sampler) + (f", {made.steps} steps" if made.steps else "")))
    for name, sha256 in made.weights.items():
        rows.append(("Weights", f'{escape(name)} <code title="SHA-256 {sha256}">{escape(sha256[:12])}</code>'))
    rows.append(("Device", escape(made.device)))
    rows.append(("Code", f"<code>{escape(made.code_version or 'unknown')}</code>"))
    rows.append(("Libraries", escape(", ".join(f"{name} {version}" for name, version in made.versions.items()))))
    rows.append(("File", f'{escape(view.media_type)}, <code title="SHA-256 {view.sha256}">{view.sha256[:12]}</code>'))
    body = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    record = escape(json.dumps(made.as_dict(), indent=2, sort_keys=True))
    again = ""
    if rerun_into:
        again = (
            f'<button type="button" class="ss-button" data-again data-fill="{rerun_into}" '
            f'data-value="{escape(view.id)}">'
            f"Run again with {'these settings' if made.seed is None else 'this seed'}</button>"
        )
    badge = _badge(view)
    return (
        f'<section class="ss-card ss-provenance" aria-label="Provenance"><header><h3>{escape(view.name)}</h3>{badge}'
        f"</header><dl>{body}</dl>"
        f"<details><summary>Request and full record</summary><pre>{record}</pre></details>"
        f'<footer><button type="button" class="ss-button" data-copy="{escape(made.to_json())}">Copy JSON</button>'
        f"{again}"
        f"<small>{escape(RESEARCH_ONLY)}</small></footer></section>"
    )


def _ids(ids: Iterable[str]) -> str:
    return ", ".join(f"<code>{escape(value)}</code>" for value in ids)


def _badge(view: ArtifactView) -> str:
    """What the thing is, in one word: a phantom is never called anything else."""
    if view.properties.get("label") == "phantom":
        return '<span class="ss-badge ss-badge-synthetic" title="Drawn by a program.">phantom</span>'
    if view.synthetic:
        return f'<span class="ss-badge ss-badge-synthetic" title="{escape(SYNTHETIC)}">synthetic</span>'
    words = {"upload": "uploaded", "sample": "real sample"}
    return f'<span class="ss-badge">{words.get(view.kind, "derived")}</span>'
