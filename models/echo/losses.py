"""What the echo meters are trained to make small."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Batch = tuple[Tensor, ...]


def outline_loss(model: nn.Module, batch: Batch) -> Tensor:
    """For frames (N, 1, H, W) and labels (N, H, W), int64: cross-entropy plus 1 − soft Dice averaged over labels."""
    frames, labels = batch
    logits = model(frames).float()
    probability = torch.softmax(logits, 1)
    truth = F.one_hot(labels, logits.shape[1]).movedim(-1, 1).float()
    # Summed over the batch, so that a label that a frame lacks is not a label without overlap.
    overlap = (probability * truth).sum((0, 2, 3))
    dice = (2 * overlap + 1) / (probability.sum((0, 2, 3)) + truth.sum((0, 2, 3)) + 1)
    return F.cross_entropy(logits, labels) + 1 - dice[1:].mean()


def ejection_loss(model: nn.Module, batch: Batch) -> Tensor:
    """For clips (N, 1, T, H, W), ejection fractions in % (N,) and volumes (N, T) in shares of end-diastole."""
    clips, ef, volumes = batch
    found, course = model.both(clips)  # type: ignore[operator]
    return F.smooth_l1_loss(found.float() / 10, ef / 10) + 10 * F.mse_loss(course.float(), volumes)
