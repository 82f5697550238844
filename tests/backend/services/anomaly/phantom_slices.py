"""Slices of a small made-up phantom where the corruption preview looks for its own, so that no template is needed."""

from __future__ import annotations

from pathlib import Path

from backend.services.anomaly.laboratory import PERSON, POSITIONS, kept_at
from backend.training.anomaly_slices import Plan, draw_person, gather, key_of, save
from tests.models.phantoms.brain_atlas import ball_atlas


def write_phantom_slices(home: Path, sequence: str = "flair") -> None:
    """Draw them into the home folder of an installation."""
    plan = Plan(1, POSITIONS, (sequence,))
    drawn = draw_person(PERSON, plan, ball_atlas())
    save(kept_at(home, sequence), key_of("corruption", plan, None), gather([drawn]))
