"""Which devices jobs may run on, found out without loading torch where the answer is plain."""

from __future__ import annotations

import sys
from pathlib import Path

from backend.settings import Settings


def devices(settings: Settings) -> list[str]:
    """Torch device strings, one worker group each: every CUDA card, else MPS, else the CPU.

    Raises ``UserError`` when the device that the settings name does not exist.
    """
    if settings.device == "cpu" or (settings.device == "auto" and _surely_cpu()):
        return ["cpu"]
    from backend.weights import resolve_device

    device = resolve_device(settings.device)
    if device != "cuda":
        return [device]
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())]


def _surely_cpu() -> bool:
    """Linux without an NVIDIA or AMD kernel driver has nothing that torch could use; elsewhere torch must be asked."""
    return sys.platform == "linux" and not any(
        Path(path).exists() for path in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
    )
