"""Scores of spectra with the normal matrix of each, in NumPy: one matrix product per block."""

from __future__ import annotations

import numpy as np

BLOCK = 512


def exact_scores(fit, flux, ivar):
    """Posterior means, their noise and the reduced chi-square (`models.projection.projection`).

    Everything is batched; the matrices are made in float32 and inverted in float64.
    """
    c = fit.prior.size
    i, j = np.triu_indices(c)
    index = np.zeros((c, c), np.int64)
    index[i, j] = index[j, i] = np.arange(i.size)
    products = fit.basis[:, i] * fit.basis[:, j]
    used = np.isfinite(fit.scatter)
    variance = np.where(used, fit.scatter, np.float32(0.0))
    parts = []
    for start in range(0, flux.shape[0], BLOCK):
        x, w = flux[start : start + BLOCK], np.where(used, ivar[start : start + BLOCK], 0.0)
        weight = (w / (1.0 + w * variance)).astype(np.float32)
        residual = np.where(weight > 0.0, np.clip(x - fit.mean, -1.0, 1.0), 0.0).astype(np.float32)
        gram = (weight @ products).astype(np.float64)[:, index]
        right = (weight * residual @ fit.basis).astype(np.float64)
        covariance = np.linalg.inv(gram + np.diag(1.0 / fit.prior))
        z = np.einsum("nij,nj->ni", covariance, right)
        diagonal = np.einsum("nii->ni", covariance)
        spread = diagonal - np.einsum("nij,j,nij->ni", covariance, 1.0 / fit.prior, covariance)
        residual = residual - z.astype(np.float32) @ fit.basis.T
        chi2 = np.sum(weight * residual**2, axis=1) / np.maximum((weight > 0.0).sum(axis=1), 1)
        parts.append((z, np.sqrt(np.maximum(spread, 0.0)), chi2))
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))
