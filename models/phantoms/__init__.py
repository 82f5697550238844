"""Procedural populations with known ground truth. A phantom is always called a phantom."""
