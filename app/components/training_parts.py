"""What the parts that train a network of one's own show alike: the loss, a stopped training, a question to answer."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

PLOT = (560, 150, 44, 8, 8, 24)  # width, height, left, right, top, bottom


def loss_html(losses: Sequence[float], steps: int) -> str:
    """The loss along ``steps`` of training as SVG, on a logarithmic axis; '' for fewer than two values."""
    from math import log

    if len(losses) < 2:
        return ""
    width, height, left, right, top, bottom = PLOT
    values = [max(value, 1e-6) for value in losses]
    low, high = min(values) / 1.05, max(values) * 1.05
    across = [left + at / (len(values) - 1) * (width - left - right) for at in range(len(values))]

    def down(value: float) -> float:
        return height - bottom - log(value / low) / log(high / low) * (height - top - bottom)

    def points(series: Sequence[float]) -> str:
        return " ".join(f"{x:.1f},{down(value):.1f}" for x, value in zip(across, series, strict=True))

    window = max(5, len(values) // 8)
    smooth = [sum(part) / len(part) for part in (values[max(0, at - window) : at + 1] for at in range(len(values)))]
    marks = "".join(
        f'<text x="{left - 6}" y="{down(value) + 4:.1f}" text-anchor="end">{value:.2g}</text>' for value in (low, high)
    )
    return (
        f"<figure><figcaption>Loss while it trained (lower is better)</figcaption>"
        f'<svg class="ss-loss" viewBox="0 0 {width} {height}" role="img" aria-label="Loss against steps">'
        f'<polyline class="ss-each" points="{points(values)}"/><polyline points="{points(smooth)}"/>{marks}'
        f'<text x="{left}" y="{height - 6}">step 1</text>'
        f'<text x="{width - right}" y="{height - 6}" text-anchor="end">step {steps:,}</text></svg></figure>'
    )


def stopped_html(name: str, minutes: float, fraction: float, job_id: str, resume_into: str, *, kept: bool) -> str:
    """What to do with a training that was stopped; ``kept`` is whether it left a checkpoint."""
    if not kept:
        return (
            f'<section class="ss-card"><p><b>The training of {escape(name)} was stopped before its first checkpoint.'
            f"</b> Nothing was kept; start it again.</p></section>"
        )
    spent = f"{fraction * minutes:.1f} of {minutes:g} minutes"
    return (
        f'<section class="ss-card ss-stopped"><p><b>Stopped after about {spent}; the '
        f"checkpoint of {escape(name)} is kept.</b> There are no finished weights yet.</p><p>"
        f'<button type="button" class="ss-button" data-fill="{resume_into}" data-again data-value="{escape(job_id)}">'
        f"Go on from where it stopped</button></p></section>"
    )


def confirm_html(wish: str, answer_into: str, system: str, noun: str) -> str:
    """The question before something is deleted. ``wish`` is 'delete:NAME' or 'discard:NAME'."""
    verb, _, name = wish.partition(":")
    shown = escape(name)
    question = (
        f"Delete the {noun} {system}/{shown}? Its weights go for good; the audit log keeps its hash and card."
        if verb == "delete"
        else f"Discard the stopped training of {system}/{shown}? Its checkpoint goes for good."
    )
    return (
        f'<section class="ss-card ss-confirm" role="alertdialog" aria-label="Are you sure?"><p><b>{question}</b></p><p>'
        f'<button type="button" class="ss-button" data-fill="{answer_into}" data-again data-value="{escape(wish)}">'
        f"Yes, {verb} it</button> "
        f'<button type="button" class="ss-button" data-fill="{answer_into}" data-again data-value="keep">No, keep it'
        f"</button></p></section>"
    )


def ask_button(into: str, value: str, word: str, label: str) -> str:
    """A button that puts ``value`` into the box ``into``, where a question about it is asked."""
    return (
        f'<button type="button" class="ss-button" data-fill="{into}" data-again data-value="{escape(value)}" '
        f'aria-label="{escape(label)}">{word}</button>'
    )
