"""Make again what a job made, and tell whether it comes out the same, byte for byte.

The job's action runs once more on its stored request. Nothing new enters the store: each file is written to a scratch
folder with the provenance of the original, so that time and version stamps do not make files differ that are equal.
What the action computes for a provenance itself (weights, seed, sampler, steps, parents) must be equal as well.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.catalogue import CATALOGUE
from backend.errors import UserError
from backend.identity import Actor
from backend.jobs.contract import ArtifactView
from backend.jobs.devices import devices
from backend.jobs.serialise import load_request
from backend.provenance import Provenance, code_version, library_versions

if TYPE_CHECKING:
    import torch

    from backend.runtime import Runtime
    from backend.weights import Weights


@dataclass(frozen=True)
class Replayed:
    """One file that was made again. ``difference`` is '' when it is identical, else one plain sentence."""

    original: ArtifactView
    difference: str

    @property
    def identical(self) -> bool:
        """Whether every byte is equal."""
        return not self.difference


@dataclass(frozen=True)
class Replay:
    """A whole job made again. ``changed`` names what is different here: program, libraries, device."""

    files: tuple[Replayed, ...]
    changed: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether every file is."""
        return all(file.identical for file in self.files)


def replay(
    runtime: Runtime, artifact_id: str, *, actor: Actor, progress: Callable[[float, float, str], None] | None = None
) -> Replay:
    """Make again the job behind an artifact and compare all its files that are still stored.

    ``progress(done, total, note)`` may raise to stop. Raises ``UserError`` when the artifact was brought in rather than
    made, or when something it was made from is gone.
    """
    view = runtime.artifacts.view(artifact_id)
    if view.job_id is None:
        raise UserError("This item was brought in, not made.", what_to_do="Choose something that a system made.")
    made = view.provenance
    action = CATALOGUE.action(made.system, made.action)
    originals = sorted(runtime.artifacts.list(job_id=view.job_id, limit=100_000), key=lambda item: item.created_at)
    with runtime.scratch.workdir() as folder:
        context = _Context(runtime, originals, folder, actor, devices(runtime.settings)[0], progress)
        request = load_request(action, dict(made.request))
        context.seed = int(getattr(request, "seed", None) or 0)
        action.run(request, context)
    return Replay(
        tuple(Replayed(item, context.differences.get(item.id, "It was not made this time.")) for item in originals),
        tuple(_changes(made, context.device)),
    )


class _Context:
    """A job context whose artifacts are compared instead of kept; implements ``backend.jobs.contract.JobContext``."""

    def __init__(
        self,
        runtime: Runtime,
        originals: Sequence[ArtifactView],
        folder: Path,
        actor: Actor,
        device: str,
        progress: Callable[[float, float, str], None] | None,
    ) -> None:
        self._runtime, self._folder, self._progress = runtime, folder, progress
        self._left = list(originals)
        self._generator: torch.Generator | None = None
        self.job_id, self.actor, self.device = originals[0].job_id or "", actor, device
        self.seed = 0
        self.differences: dict[str, str] = {}

    @property
    def generator(self) -> torch.Generator:
        if self._generator is None:
            import torch

            self._generator = torch.Generator(device="cpu").manual_seed(self.seed)
        return self._generator

    @property
    def weights(self) -> Weights:
        return self._runtime.weights

    def progress(self, done: float, total: float, note: str = "", preview: bytes | None = None) -> None:
        if self._progress is not None:
            self._progress(done, total, note)

    def check_cancelled(self) -> None:
        """Nobody but the caller of :func:`replay` can stop it, and does so from its progress callback."""

    def open(self, artifact_id: str) -> Path:
        return self._runtime.artifacts.path(artifact_id)

    def view(self, artifact_id: str) -> ArtifactView:
        return self._runtime.artifacts.view(artifact_id)

    def artifact(
        self,
        name: str,
        media_type: str,
        write: Callable[[Path, Provenance], None],
        *,
        kind: str,
        synthetic: bool,
        parents: Sequence[str] = (),
        seed: int | None = None,
        sampler: str = "",
        steps: int | None = None,
        weights: Mapping[str, str] | None = None,
        properties: Mapping[str, Any] | None = None,
    ) -> ArtifactView:
        original = next((item for item in self._left if (item.name, item.kind) == (name, kind)), None)
        if original is None:
            raise UserError(
                "The job cannot be made again.",
                "It makes something now that it did not make then, or whose original was deleted.",
            )
        self._left.remove(original)
        then = original.provenance
        for what, value, before in (
            ("weights", dict(weights or {}), dict(then.weights)),
            ("parents", tuple(parents), then.parents),
            ("sampler", sampler, then.sampler),
            ("steps", steps, then.steps),
            ("seed", self.seed if seed is None and then.seed is not None else seed, then.seed),
            ("synthetic", synthetic, then.synthetic),
        ):
            if value != before:
                self.differences[original.id] = f"It was made with other {what}."
                return original
        path = self._folder / f"{len(self._left)}{''.join(Path(name).suffixes)}"
        write(path, then)
        same = filecmp.cmp(path, self._runtime.artifacts.path(original.id), shallow=False)
        path.unlink()
        self.differences[original.id] = "" if same else "Its bytes differ."
        return original


def _changes(made: Provenance, device: str) -> list[str]:
    """What is different on this machine, as short phrases."""
    now = library_versions()
    changes = [
        f"{name} was {version}, is {now.get(name, 'absent')}"
        for name, version in made.versions.items()
        if now.get(name) != version
    ]
    if made.device != device:
        changes.append(f"device was {made.device}, is {device}")
    if made.code_version != code_version():
        changes.append(f"program was {made.code_version}, is {code_version()}")
    return changes
