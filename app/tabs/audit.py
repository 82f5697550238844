"""Audit: every change of this installation, who made it, when and why; check the chain; take it with you."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, time
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from app.components.html import html
from app.components.shell import Shell
from backend.errors import UserError

if TYPE_CHECKING:
    from backend.runtime import Runtime
    from backend.store.audit import AuditEventView, Verification

PAGE = 25
ANY = "any"
INTRO = """
<section class="ss-hero"><h1>Audit</h1>
<p>Every change of this installation: who, when, what, from what to what, and why. Events are only ever added, and each
is sealed with the hash of the one before. The chain is tamper-evident: a change behind the program's back shows, as
long as a head hash is kept somewhere else.</p></section>
"""
EXPORT = """
<div class="ss-downloads" role="group" aria-label="Export">
  <a class="ss-button" href="/api/audit/export?format=csv" download>Export CSV</a>
  <a class="ss-button" href="/api/audit/export?format=json" download>Export JSON</a>
</div>
"""
HEADS = ("#", "Time (UTC)", "Actor", "Action", "Subject", "Reason")


def build(runtime: Runtime, shell: Shell) -> None:
    """Lay out the tab."""
    html(INTRO)
    with gr.Row(equal_height=False, elem_classes="ss-bar"):
        text = gr.Textbox(label="Text", placeholder="anywhere in the event", scale=3, min_width=140)
        actor = gr.Textbox(label="Actor", scale=2, min_width=110)
        action = gr.Dropdown([ANY], value=ANY, label="Action", scale=2, min_width=140)
        subject = gr.Textbox(label="Subject", placeholder="id", scale=2, min_width=110)
        since = gr.Textbox(label="From (UTC)", placeholder="YYYY-MM-DD", scale=2, min_width=120)
        until = gr.Textbox(label="To (UTC)", placeholder="YYYY-MM-DD", scale=2, min_width=120)
        apply = gr.Button("Filter", size="sm", min_width=80, scale=0)
    filters = [text, actor, action, subject, since, until]
    # Hidden rather than gr.State, which would hold a connection open for as long as the page is.
    page = shell.hidden("audit-page")
    chosen = shell.hidden("event")
    with gr.Row():
        with gr.Column(scale=3, min_width=480):
            table = html()
            with gr.Row(elem_classes="ss-pager"):
                newer = gr.Button("Newer", size="sm", min_width=90, scale=0)
                older = gr.Button("Older", size="sm", min_width=90, scale=0)
        with gr.Column(scale=2, min_width=340):
            head = gr.Textbox(
                label="Head hash kept elsewhere (optional)",
                placeholder="64 hexadecimal digits: also finds a tail that was cut off",
            )
            verify = gr.Button("Verify now", variant="primary")
            verdict = html()
            html(EXPORT)
            detail = html('<p class="ss-empty">Choose an event to see it whole.</p>')

    def turn(step: int) -> Any:
        def show(number: str, *values: Any) -> tuple[Any, ...]:
            return _page(runtime, int(number or 0) + step, values, chosen.elem_id or "")

        return show

    def restart(*values: Any) -> tuple[Any, ...]:
        return _page(runtime, 0, values, chosen.elem_id or "")

    def enter(*values: Any) -> tuple[Any, ...]:
        choices = [ANY, *runtime.audit.actions()]
        return (gr.Dropdown(choices=choices), *restart(*values))

    outputs = [page, table, newer, older]
    for field in (text, actor, subject, since, until):
        shell.on(field.submit, restart, filters, outputs)
    shell.on(action.input, restart, filters, outputs)
    shell.on(apply.click, restart, filters, outputs)
    shell.on(newer.click, turn(-1), [page, *filters], outputs)
    shell.on(older.click, turn(1), [page, *filters], outputs)
    shell.on(shell.shown, enter, filters, [action, *outputs])
    shell.on(chosen.change, lambda seq: _detail(runtime, seq), [chosen], [detail])
    shell.on(verify.click, lambda value: _verdict(runtime.audit.verify(_hash(value))), [head], [verdict])


def _page(runtime: Runtime, number: int, values: Sequence[Any], into: str) -> tuple[Any, ...]:
    """The page's number, moved to one that exists, its table, and the buttons to newer and older ones."""
    query = _query(*values)
    total = runtime.audit.count(**query)
    number = max(0, min(number, (total - 1) // PAGE))
    events = runtime.audit.events(limit=PAGE, offset=number * PAGE, **query)
    newer, older = number > 0, (number + 1) * PAGE < total
    table = _table(events, number * PAGE, total, into)
    return str(number), table, gr.Button(interactive=newer), gr.Button(interactive=older)


def _query(text: str, actor: str, action: str, subject: str, since: str, until: str) -> dict[str, Any]:
    """The filters of the log, without the empty ones."""
    query: dict[str, Any] = {
        "text": (text or "").strip(),
        "actor": (actor or "").strip(),
        "action": "" if action in (ANY, None) else action,
        "subject": (subject or "").strip(),
        "since": _moment(since, time.min),
        "until": _moment(until, time.max),
    }
    return {name: value for name, value in query.items() if value}


def _moment(value: str, at: time) -> datetime | None:
    """``YYYY-MM-DD`` (the whole day counts) or an ISO 8601 time, as UTC."""
    value = (value or "").strip()
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise UserError(
            "This is not a date.", "A day is written as 2026-03-09.", "Correct it, or leave the field empty."
        ) from None
    if len(value) <= 10:
        moment = datetime.combine(moment.date(), at)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _hash(value: str) -> str | None:
    value = (value or "").strip().lower()
    if value and (len(value) != 64 or set(value) - set("0123456789abcdef")):
        raise UserError("This is not a head hash.", "It has 64 hexadecimal digits.", "Correct it, or leave it empty.")
    return value or None


def _table(events: Sequence[AuditEventView], first: int, total: int, into: str) -> str:
    if not events:
        return '<p class="ss-empty">No event matches.</p>'
    rows = "".join(_row(event, into) for event in events)
    heads = "".join(f'<th scope="col">{name}</th>' for name in HEADS)
    return (
        f'<div class="ss-table-wrap"><table class="ss-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>'
        f"</table></div><p><small>{first + 1:,}–{first + len(events):,} of {total:,}, newest first</small></p>"
    )


def _row(event: AuditEventView, into: str) -> str:
    subject = event.subject if len(event.subject) <= 26 else event.subject[:24] + "…"
    return (
        f'<tr data-fill="{into}" data-value="{event.seq}" tabindex="0" role="button" aria-label="Event {event.seq}">'
        f'<td class="ss-number">{event.seq}</td><td>{event.at:%Y-%m-%d %H:%M:%S}</td><td>{escape(event.actor)}</td>'
        f"<td>{escape(event.action)}</td><td><code>{escape(subject)}</code></td><td>{escape(event.reason)}</td></tr>"
    )


def _detail(runtime: Runtime, seq: str) -> str:
    # Sequence numbers have no gaps, so the event lies this far behind the newest.
    offset = runtime.audit.count() - int(seq) if seq.isdigit() else -1
    found = runtime.audit.events(limit=1, offset=offset) if offset >= 0 else ()
    event = next((item for item in found if item.seq == int(seq)), None)
    if event is None:
        return '<p class="ss-empty">This event is not in the log.</p>'
    rows = (
        ("Time", f"{event.at:%Y-%m-%d %H:%M:%S.%f} UTC"),
        ("Actor", escape(f"{event.actor} ({event.role})")),
        ("Action", escape(event.action)),
        ("Subject", f"<code>{escape(event.subject)}</code>"),
        ("Reason", escape(event.reason) or "none given"),
        ("Before", _value(event.old)),
        ("After", _value(event.new)),
        ("Hash", f"<code>{event.hash}</code>"),
        ("Previous hash", f"<code>{event.previous}</code>"),
    )
    body = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in rows)
    return (
        f'<section class="ss-card ss-provenance" aria-label="Event {event.seq}"><header><h3>Event {event.seq}</h3>'
        f'<button type="button" class="ss-button" data-copy="{event.hash}">Copy hash</button></header>'
        f"<dl>{body}</dl></section>"
    )


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True))}</pre>"


def _verdict(result: Verification) -> str:
    """What the check found, with the head hash to keep elsewhere."""
    if not result.ok:
        where = f"Event {result.broken_at} is the first that does not fit. " if result.broken_at else ""
        return (
            '<div class="ss-error" role="alert"><strong>The chain is broken.</strong>'
            f"<span>{where}{escape(result.reason)}</span></div>"
        )
    noun = "event" if result.events == 1 else "events"
    return (
        f'<div class="ss-ok" role="status"><strong>The chain holds: {result.events:,} {noun}.</strong>'
        f"<span>Head hash <code>{result.head}</code></span><span>"
        f'<button type="button" class="ss-button" data-copy="{result.head}">Copy head hash</button></span></div>'
    )
