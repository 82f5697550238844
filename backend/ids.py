"""Identifiers that nobody can guess, safe in a URL, a file name and on a command line."""

from __future__ import annotations

import secrets


def new_id() -> str:
    """22 letters, digits, ``-`` and ``_`` (128 random bits) that do not begin with ``-``, as an option would."""
    while (made := secrets.token_urlsafe(16)).startswith("-"):
        pass
    return made
