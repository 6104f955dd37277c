"""Quadratic terms of the labels, and the labels at which a quadratic form in them is least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.core.arrays import FloatArray

MAX_STEPS = 60
FIRST_DAMPING = 1e-2
SOFTER, HARDER = 0.2, 8.0  # factors on the damping after a step that helped, or did not
TOLERANCE = 1e-9  # scaled labels: shorter steps end the minimisation
MIN_CURVATURE = 1e-10  # of the largest: below this the labels are degenerate


@dataclass(frozen=True, eq=False)
class Minimum:
    """Labels of n spectra at the least cost.

    Parameters
    ----------
    labels, sigma : ndarray, shape (n, k)
        Scaled labels and their formal errors; NaN where the spectrum does not determine them.
    cost : ndarray, shape (n,)
        v A v - 2 b v of these labels.
    """

    labels: FloatArray
    sigma: FloatArray
    cost: FloatArray


def n_terms(n_labels: int) -> int:
    """Return the number of terms for k labels: 1 + k + k (k + 1) / 2."""
    return 1 + n_labels + n_labels * (n_labels + 1) // 2


def terms(labels: FloatArray) -> FloatArray:
    """Return 1, the labels, and the products of all pairs of labels, shape (..., d).

    Parameters
    ----------
    labels : ndarray, shape (..., k)
        Scaled labels.
    """
    i, j = np.triu_indices(labels.shape[-1])
    one = np.ones((*labels.shape[:-1], 1))
    return np.concatenate([one, labels, labels[..., i] * labels[..., j]], axis=-1)


def term_derivatives(labels: FloatArray) -> FloatArray:
    """Return the derivatives of `terms` by the labels, shape (..., d, k)."""
    k = labels.shape[-1]
    i, j = np.triu_indices(k)
    unit = np.eye(k)
    flat = np.broadcast_to(np.eye(k + 1, k, k=-1), (*labels.shape[:-1], k + 1, k))
    products = unit[i] * labels[..., j, None] + unit[j] * labels[..., i, None]
    return np.concatenate([flat, products], axis=-2)


def minimise(gram: FloatArray, right: FloatArray, starts: FloatArray) -> Minimum:
    """Return the labels of each spectrum whose terms v minimise v A v - 2 b v.

    The method of Levenberg and Marquardt (Nocedal & Wright 2006, section 10.3) runs from all
    starting points of all spectra side by side; the least of a spectrum's minima is returned.

    Parameters
    ----------
    gram : ndarray, shape (n, d, d)
        A of each spectrum.
    right : ndarray, shape (n, d)
        b of each spectrum.
    starts : ndarray, shape (m, k)
        Scaled labels to begin with.
    """
    n, (m, k) = gram.shape[0], starts.shape
    labels = np.broadcast_to(starts, (n, m, k)).copy()
    cost = _cost(gram, right, labels)
    damping = np.full((n, m, 1, 1), FIRST_DAMPING)
    # Each search has its own damping, so all take a step in every round.
    for _ in range(MAX_STEPS):
        curvature, descent = _curvature(gram, right, labels)
        diagonal = np.einsum("nmii->nmi", curvature) + 1e-12
        damped = curvature + damping * diagonal[..., None] * np.eye(k)
        step = np.linalg.solve(damped, descent[..., None])[..., 0]
        trial = labels + step
        trial_cost = _cost(gram, right, trial)
        better = trial_cost < cost
        labels = np.where(better[..., None], trial, labels)
        cost = np.where(better, trial_cost, cost)
        damping = np.clip(damping * np.where(better, SOFTER, HARDER)[..., None, None], 1e-9, 1e9)
        if np.abs(step).max(initial=0.0) < TOLERANCE:
            break
    best = np.argmin(cost, axis=1)[:, None]
    labels = np.take_along_axis(labels, best[..., None], axis=1)
    curvature = _curvature(gram, right, labels)[0][:, 0]
    labels, cost = labels[:, 0], np.take_along_axis(cost, best, axis=1)[:, 0]
    eigenvalues = np.linalg.eigvalsh(curvature)
    determined = eigenvalues[:, 0] > MIN_CURVATURE * eigenvalues[:, -1]
    inverse = np.linalg.inv(np.where(determined[:, None, None], curvature, np.eye(k)))
    sigma = np.sqrt(np.einsum("nii->ni", inverse))
    labels, sigma = (np.where(determined[:, None], a, np.nan) for a in (labels, sigma))
    return Minimum(labels, sigma, cost)


def _cost(gram: FloatArray, right: FloatArray, labels: FloatArray) -> FloatArray:
    """Return the cost, shape (n, m), of labels of shape (n, m, k)."""
    v = terms(labels)
    return np.asarray(np.einsum("nmd,nmd->nm", v @ gram - 2.0 * right[:, None], v))


def _curvature(
    gram: FloatArray, right: FloatArray, labels: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the Gauss-Newton curvature (n, m, k, k), half the negative gradient (n, m, k)."""
    derivatives = term_derivatives(labels)
    residual = right[:, None] - terms(labels) @ gram
    curvature = np.swapaxes(derivatives, -1, -2) @ (gram[:, None] @ derivatives)
    return curvature, np.einsum("nmdk,nmd->nmk", derivatives, residual)
