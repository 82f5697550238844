"""Identifiers."""

from __future__ import annotations

import re

from backend.ids import new_id


def test_ids_are_of_one_shape_differ_and_are_no_option_on_a_command_line() -> None:
    made = {new_id() for _ in range(5000)}  # one in 64 would begin with "-" if nothing prevented it
    assert len(made) == 5000
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{21}", one) for one in made)
