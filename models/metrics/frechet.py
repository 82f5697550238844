"""Fréchet distance between two sets of features, as Gaussians."""

from __future__ import annotations

import numpy as np


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) of features float [N, d] and [M, d], at least two rows each.

    Heusel et al. 2017, arXiv 1706.08500, equation 6. The trace of the root is the sum of the roots of the eigenvalues
    of the symmetric S₁Σ₂S₁, S₁ = Σ₁^½, which stays real where the covariances are singular. Biased upwards for few
    rows: compare only distances of equal counts. Raises ``ValueError`` for other shapes or values that are not finite.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1] or min(len(first), len(second)) < 2:
        raise ValueError(f"features of shapes {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("features must be finite")
    one, two = np.atleast_2d(np.cov(first, rowvar=False)), np.atleast_2d(np.cov(second, rowvar=False))
    root = _root(one)
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ two @ root), 0, None)).sum()
    apart = float(((first.mean(0) - second.mean(0)) ** 2).sum())
    return max(0.0, apart + float(np.trace(one) + np.trace(two) - 2 * cross))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
