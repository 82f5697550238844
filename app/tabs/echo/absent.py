"""A sentence in front of a part whose weights are not installed."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from app.components.html import html
from backend.services.echo.needs import missing
from backend.weights import train_command

if TYPE_CHECKING:
    from backend.runtime import Runtime


def say_absent(runtime: Runtime, names: tuple[str, ...]) -> None:
    """Draw the sentence where one of the weights ``names`` is missing, else nothing."""
    absent = missing(runtime.weights, names)
    if absent:
        listed = ", ".join(f"<code>{escape(name)}</code>" for name in absent)
        commands = ", ".join(f"<code>{escape(train_command(name))}</code>" for name in absent)
        html(
            f'<section class="ss-card" role="note"><p>This part cannot run yet: {listed} '
            f"{'is' if len(absent) == 1 else 'are'} not among the weights of this version. "
            f"{commands} {'trains it' if len(absent) == 1 else 'train them'}.</p></section>"
        )
