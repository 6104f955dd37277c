"""Fill in labels that a star lacks with what its other labels let expect.

For models that need all labels of a star to learn from its spectrum. The labels are taken for a
multivariate normal distribution, whose mean and covariance are found from incomplete rows by
expectation and maximisation (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1; Little & Rubin
2002, Statistical Analysis with Missing Data, section 11.2). A missing label becomes its mean under
the condition of the known ones; known labels stay as they are.
"""

from __future__ import annotations

import numpy as np

from models.core.arrays import FloatArray

ROUNDS = 50
TOLERANCE = 1e-4  # change of the covariance, in variances, that ends the rounds
RIDGE = 1e-6  # on the diagonal of the covariance, in squared standard deviations


def fill_labels(labels: FloatArray) -> FloatArray:
    """Return labels with the missing ones filled in.

    Parameters
    ----------
    labels : ndarray, shape (n, k)
        NaN where missing; each label known in some row.

    Returns
    -------
    ndarray, shape (n, k)
        In a row without any label, the means.
    """
    known = np.isfinite(labels)
    center, spread = np.nanmean(labels, axis=0), np.nanstd(labels, axis=0)
    spread = np.where(spread > 0.0, spread, 1.0)
    scaled = np.where(known, (labels - center) / spread, 0.0)
    mean, covariance = np.zeros(labels.shape[1]), np.eye(labels.shape[1])
    patterns, pattern = np.unique(known, axis=0, return_inverse=True)
    if patterns.all():
        return labels.copy()
    for _ in range(ROUNDS):
        previous, conditional = covariance, np.zeros_like(covariance)
        # Expectation: the missing labels given the known ones, for all stars of a pattern at once.
        for number, present in enumerate(patterns):
            rows, absent = np.flatnonzero(pattern.ravel() == number), ~present
            slope = np.linalg.solve(
                covariance[np.ix_(present, present)], covariance[np.ix_(present, absent)]
            )
            scaled[np.ix_(rows, absent)] = (
                mean[absent] + (scaled[np.ix_(rows, present)] - mean[present]) @ slope
            )
            rest = covariance[np.ix_(absent, absent)] - covariance[np.ix_(absent, present)] @ slope
            conditional[np.ix_(absent, absent)] += rows.size * rest
        # Maximisation: mean and covariance of the completed rows, with the variance that remains.
        mean = scaled.mean(axis=0)
        deviation = scaled - mean
        covariance = deviation.T @ deviation + conditional
        covariance = covariance / len(scaled) + RIDGE * np.eye(len(mean))
        if np.abs(covariance - previous).max() < TOLERANCE:
            break
    return np.where(known, labels, center + spread * scaled)
