"""What the ``?`` overlay lists: the keys of the page and of each tab's viewer."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

PAGE = {
    "?": "Show or hide this list",
    "Esc": "Close this list",
    "Alt + 1 … 9": "Go to that tab",
    "Alt + D": "Light or dark",
}


class Shortcuts:
    """Keys by section, in the order they were added."""

    def __init__(self) -> None:
        self._sections: dict[str, dict[str, str]] = {"Everywhere": dict(PAGE)}

    def add(self, section: str, keys: Mapping[str, str]) -> None:
        """Add keys of a section: what to press → what it does."""
        self._sections.setdefault(section, {}).update(keys)

    def html(self) -> str:
        """The overlay, hidden until ``?`` is pressed."""
        parts = []
        for section, keys in self._sections.items():
            rows = "".join(f"<dt>{_keys(key)}</dt><dd>{escape(text)}</dd>" for key, text in keys.items())
            parts.append(f"<section><h3>{escape(section)}</h3><dl>{rows}</dl></section>")
        return (
            '<dialog id="ss-shortcuts" aria-labelledby="ss-shortcuts-title"><header>'
            '<h2 id="ss-shortcuts-title">Keyboard shortcuts</h2>'
            '<button type="button" class="ss-icon" data-close="ss-shortcuts" aria-label="Close">×</button></header>'
            f'<div class="ss-shortcut-sections">{"".join(parts)}</div></dialog>'
        )


def _keys(text: str) -> str:
    return " ".join(part if part in ("+", "…") else f"<kbd>{escape(part)}</kbd>" for part in text.split(" "))
