"""Network weights: find, verify, load, keep on a device; the least recently used go first when memory runs short.

A weight is a folder ``<name>/`` with ``model.safetensors``, ``config.json`` (constructor arguments and the SHA-256 of
the file) and ``CARD.md``. Only safetensors is ever read, never pickle. A person's own weights lie under ``weights/`` in
the home folder and come before the shipped ones of the same name. Importing this module does not import torch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from backend.errors import UserError
from backend.settings import MIB, Settings

if TYPE_CHECKING:
    from torch import nn

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).resolve().parent.parent / "assets" / "weights"
MODEL, CONFIG, CARD = "model.safetensors", "config.json", "CARD.md"
CARD_HEADINGS = ("Trained on", "Training", "Measured results", "Limits", "Licence")
"""Headings every ``CARD.md`` must have, in any order and at any depth."""
PARTS = {
    "echo": ("autoencoder", "image", "video", "student", "meter", "regressor"),
    "anomaly": ("restorer", "autoencoder", "ddpm"),
}
"""What is trained apart, of the systems that have several networks; their names begin so."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*){0,3}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class WeightFile:
    """A weight that was found on disk. ``sha256`` is what its config promises; :meth:`verify` tells if it is kept."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    sha256: str
    card: str
    shipped: bool

    @property
    def path(self) -> Path:
        """The safetensors file."""
        return self.folder / MODEL

    @property
    def size(self) -> int:
        """Bytes of the safetensors file."""
        return self.path.stat().st_size

    @property
    def title(self) -> str:
        """First heading of the card, or the name."""
        found = re.search(r"^#\s+(.+)$", self.card, re.MULTILINE)
        return found.group(1).strip() if found else self.name

    @property
    def licence(self) -> str:
        """First line under the card's Licence heading, or '' when it names none."""
        found = re.search(r"^#+\s*Licen[cs]e\b[^\n]*\n+([^#\n][^\n]*)", self.card, re.MULTILINE | re.IGNORECASE)
        return found.group(1).strip() if found else ""

    def read(self) -> bytes:
        """The file's bytes, checked against :attr:`sha256`. Raises ``UserError`` when they differ."""
        data = self.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UserError(
                f"The weights {self.name!r} are not the ones their description names.",
                "Their SHA-256 differs from the one in config.json, so the file was changed or damaged.",
                "Fetch the file again, or train it again with `python -m backend train`.",
            )
        return data

    def verify(self) -> bool:
        """Whether the file on disk has the promised SHA-256."""
        try:
            self.read()
        except UserError:
            return False
        return True


@dataclass(frozen=True)
class LoadedWeight:
    """A network that is held on a device. ``bytes`` counts parameters and buffers; ``last_used`` is Unix time."""

    name: str
    title: str
    device: str
    bytes: int
    last_used: float
    licence: str
    sha256: str


@dataclass
class _Held:
    module: nn.Module
    view: LoadedWeight
    last_used: float


class Weights:
    """The networks of one process, shared by its jobs. All methods are safe to call from any thread."""

    def __init__(self, settings: Settings, *, shipped: Path = SHIPPED) -> None:
        self._settings = settings
        self._roots = ((settings.home / "weights", False), (shipped, True))
        self._held: OrderedDict[tuple[str, str, str], _Held] = OrderedDict()
        self._guard = threading.Lock()
        self._loading: dict[tuple[str, str, str], threading.Lock] = {}

    def find(self, name: str | Path) -> WeightFile:
        """A weight by name (``topology/refiner2d``), or by the path of its folder when ``name`` is a ``Path``.

        Raises ``UserError`` when there is none of that name or it is incomplete.
        """
        if isinstance(name, Path):
            if not (name / MODEL).is_file():
                raise _absent(name.name)
            return _read(name.name, name, shipped=False)
        if not _NAME.fullmatch(name) or ".." in name:
            raise UserError(
                f"{name!r} is not the name of a weight.", what_to_do="Names look like 'topology/refiner2d'."
            )
        for root, shipped in self._roots:
            if (root / name / MODEL).is_file():
                return _read(name, root / name, shipped=shipped)
        raise _absent(name)

    def available(self) -> list[WeightFile]:
        """Every usable weight on disk by name; a person's own hides a shipped one of the same name."""
        found: dict[str, WeightFile] = {}
        for root, shipped in self._roots:
            for file in sorted(root.rglob(MODEL)) if root.is_dir() else ():
                name = file.parent.relative_to(root).as_posix()
                if name in found:
                    continue
                try:
                    found[name] = _read(name, file.parent, shipped=shipped)
                except UserError as error:
                    log.warning("weight left out: %s", error)
        return [found[name] for name in sorted(found)]

    def load(
        self,
        name: str | Path,
        build: Callable[[dict[str, Any]], nn.Module],
        device: str | None = None,
    ) -> nn.Module:
        """The network, in evaluation mode, on ``device`` (default: the one the settings choose).

        ``build`` gets the whole of ``config.json`` and returns the network with any parameters; the verified file then
        replaces all of them. A second call returns the same object. Raises ``UserError`` when the weight is missing,
        has another hash, does not fit the network, or is larger than the memory allowed.
        """
        weight = self.find(name)
        place = resolve_device(device or self._settings.device)
        key = (weight.name, weight.sha256, place)
        with self._guard:
            lock = self._loading.setdefault(key, threading.Lock())
        with lock:  # one load at a time of one weight; others go on meanwhile
            held = self._touch(key)
            if held is not None:
                return held
            module = self._fill(weight, build, place)
            self._keep(key, weight, module, place)
            return module

    def loaded(self) -> list[LoadedWeight]:
        """What is held now, most recently used first."""
        with self._guard:
            return [
                LoadedWeight(**{**held.view.__dict__, "last_used": held.last_used})
                for held in reversed(self._held.values())
            ]

    def unload(self) -> None:
        """Let go of every network; those in use stay alive until their job ends."""
        with self._guard:
            self._held.clear()
        _release_device_memory()

    def autocast(self, device: str) -> AbstractContextManager[Any]:
        """bfloat16 autocast on a CUDA device that has it in hardware, else nothing: elsewhere it saves no time."""
        if not device.startswith("cuda"):
            return nullcontext()
        import torch

        supported = torch.cuda.get_device_capability(torch.device(device)) >= (8, 0)
        return torch.autocast("cuda", torch.bfloat16) if supported else nullcontext()

    @property
    def budget(self) -> int:
        """Bytes that loaded networks may hold on one device."""
        return self._settings.weights_budget_mib * MIB

    def _touch(self, key: tuple[str, str, str]) -> nn.Module | None:
        with self._guard:
            held = self._held.get(key)
            if held is None:
                return None
            held.last_used = time.time()
            self._held.move_to_end(key)
            return held.module

    def _fill(self, weight: WeightFile, build: Callable[[dict[str, Any]], nn.Module], device: str) -> nn.Module:
        if weight.size > self.budget:
            raise self._too_large(weight.name, weight.size)
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            tensors = load(weight.read())
        except SafetensorError:
            raise UserError(
                f"The weights {weight.name!r} cannot be read.", "The file is not in the safetensors format."
            ) from None
        module = build(dict(weight.config))
        try:
            module.load_state_dict(tensors, strict=True)
        except RuntimeError as error:
            log.warning("weight %s does not fit its network: %s", weight.name, error)
            raise UserError(
                f"The weights {weight.name!r} do not fit this network.",
                "Some parameters are missing, unexpected or of another shape.",
                "Use the version of the program that they were trained with, or train them again.",
            ) from None
        module = module.to(device).eval().requires_grad_(False)
        if self._settings.compile_models:
            return cast("nn.Module", torch.compile(module))
        return module

    def _keep(self, key: tuple[str, str, str], weight: WeightFile, module: nn.Module, device: str) -> None:
        size = sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
        if size > self.budget:
            raise self._too_large(weight.name, size)
        now = time.time()
        view = LoadedWeight(weight.name, weight.title, device, size, now, weight.licence, weight.sha256)
        dropped = []
        with self._guard:
            self._held[key] = _Held(module, view, now)
            others = [other for other in self._held if other[2] == device and other != key]
            total = size + sum(self._held[other].view.bytes for other in others)
            for other in others:  # oldest first
                if total <= self.budget:
                    break
                total -= self._held[other].view.bytes
                dropped.append(self._held.pop(other).view.name)
        log.info("loaded weight %s on %s (%d bytes)", weight.name, device, size)
        if dropped:
            log.info("let go of %s to stay within %d MiB", ", ".join(dropped), self._settings.weights_budget_mib)
            _release_device_memory()

    def _too_large(self, name: str, size: int) -> UserError:
        return UserError(
            f"The weights {name!r} need {-(-size // MIB)} MiB.",
            f"Loaded networks may hold {self._settings.weights_budget_mib} MiB on this installation.",
            "Raise SYNTHSCOPE_WEIGHTS_BUDGET_MIB.",
        )


def resolve_device(wanted: str = "auto") -> str:
    """A torch device string that exists here: ``auto`` prefers CUDA, then MPS, then the CPU.

    Raises ``UserError`` when the device asked for is absent or unknown.
    """
    if wanted == "cpu":
        return wanted
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if wanted == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    kind, _, number = wanted.partition(":")
    if kind not in ("cuda", "mps") or (number and not number.isdigit()):
        raise UserError(f"There is no device called {wanted!r}.", what_to_do="Choose auto, cpu, cuda or mps.")
    there = (cuda and int(number or 0) < torch.cuda.device_count()) if kind == "cuda" else mps
    if not there:
        raise UserError(f"This machine has no {wanted!r} device.", what_to_do="Choose auto or cpu.")
    return wanted


def section(card: str, heading: str) -> str:
    """What a card says under a heading of :data:`CARD_HEADINGS`, or ''."""
    found = re.search(rf"^#+\s*{re.escape(heading)}[ \t]*\n(.*?)(?=^#|\Z)", card, re.MULTILINE | re.DOTALL)
    return found.group(1).strip() if found else ""


def card_gaps(card: str) -> list[str]:
    """Headings of :data:`CARD_HEADINGS` that a card lacks."""
    present = {line.lstrip("#").strip().lower() for line in card.splitlines() if line.startswith("#")}
    return [heading for heading in CARD_HEADINGS if heading.lower() not in present]


def _read(name: str, folder: Path, *, shipped: bool) -> WeightFile:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    sha256 = config.get("sha256", "") if isinstance(config, dict) else ""
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise UserError(
            f"The weights {name!r} have no usable description.",
            "Their config.json is missing, is not JSON, or names no SHA-256.",
            "Put back the config.json that was written beside the file.",
        )
    card = folder / CARD
    return WeightFile(name, folder, config, sha256, card.read_text(encoding="utf-8") if card.is_file() else "", shipped)


def _absent(name: str) -> UserError:
    return UserError(f"The weights {name!r} are not installed.", what_to_do=f"Train them with `{train_command(name)}`.")


def train_command(name: str) -> str:
    """The command that trains weights such as ``name``, with the part of the system that its first letters name."""
    system, _, short = name.partition("/")
    part = next((part for part in PARTS.get(system, ()) if short.startswith(part)), "")
    return f"python -m backend train {system}{f' part={part}' if part else ''}"


def _release_device_memory() -> None:
    import sys

    torch = sys.modules.get("torch")  # never the reason for loading it
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
