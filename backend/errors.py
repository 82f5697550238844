"""Errors that a person can act on.

A ``UserError`` is somebody's mistake or a limit of the machine: it is shown in the page and by the command line as it
stands, in one sentence a part, and never carries patient data. Everything else is a bug and keeps its traceback.
"""

from __future__ import annotations


class UserError(Exception):
    """What went wrong, why, and what to do about it: one plain sentence each, no file paths, no patient data."""

    def __init__(self, what: str, why: str = "", what_to_do: str = "") -> None:
        self.what = what
        self.why = why
        self.what_to_do = what_to_do
        super().__init__(" ".join(part for part in (what, why, what_to_do) if part))

    def as_dict(self) -> dict[str, str]:
        """The three sentences by name, for a JSON answer or a database row."""
        return {"what": self.what, "why": self.why, "what_to_do": self.what_to_do}
