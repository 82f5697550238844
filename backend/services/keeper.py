"""Store what one job made, every artifact with the same origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.jobs.contract import JobContext
from backend.provenance import Provenance


@dataclass(frozen=True)
class Keeper:
    """Adds artifacts to one job. ``weights`` maps the names of the networks used to their SHA-256.

    A system adds its own kinds of artifact in a subclass.
    """

    ctx: JobContext
    synthetic: bool
    parents: Sequence[str] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    sampler: str = ""
    steps: int | None = None

    def add(
        self,
        name: str,
        media_type: str,
        write: Callable[[Path, Provenance], None],
        kind: str,
        properties: Mapping[str, Any] | None = None,
    ) -> str:
        """Id of whatever ``write`` puts into the file."""
        view = self.ctx.artifact(
            name,
            media_type,
            write,
            kind=kind,
            synthetic=self.synthetic,
            parents=self.parents,
            seed=self.seed,
            sampler=self.sampler,
            steps=self.steps,
            weights=self.weights,
            properties=properties,
        )
        return view.id
