"""Tiny networks for tests."""

from __future__ import annotations

import torch

from models.topology.refiner import Refiner


def tiny(dimensions: int = 2) -> Refiner:
    """An untrained refiner: it gives back what it gets."""
    torch.manual_seed(0)
    return Refiner(dimensions, widths=(8, 16), groups=8)


def shaken(dimensions: int = 2, seed: int = 0) -> Refiner:
    """A refiner with random weights everywhere, so that it changes its input and sees as far as it can."""
    torch.manual_seed(seed)
    model = Refiner(dimensions, widths=(8, 16), groups=8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("head") or ".conv2." in name:
                parameter.normal_(0, 0.2)
    return model.eval()
