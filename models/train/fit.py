"""Fits additive models: a logistic regression and explainable boosting; then calibrates on the validation split.

Law: the same rows give the same model: seeds are fixed, one thread, no clock.

Used by train.py and fixture.py.
"""

import dataclasses
import warnings

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from additive import Additive, Binned, Linear, sigmoid
from rows import Rows

SEED = 20260101
# With fewer positives than this, two calibration parameters would be fitted to noise.
CALIBRATION_POSITIVES_MIN = 20


def logistic(train: Rows, c: float = 1.0) -> Additive:
    """A standardised logistic regression with a missing indicator per feature; a mean imputes, so it contributes 0."""
    from sklearn.linear_model import LogisticRegression

    x = train.features.astype(np.float64)
    unknown = np.isnan(x)
    with warnings.catch_warnings():
        # A feature that nobody has: all its rows are NaN, and the line below says 0.
        warnings.simplefilter("ignore", category=RuntimeWarning)
        low, high = np.nanpercentile(x, [0.5, 99.5], axis=0)
        low, high = np.nan_to_num(low), np.nan_to_num(high)
        held = np.clip(x, low, high)
        mean, deviation = np.nan_to_num(np.nanmean(held, axis=0)), np.nan_to_num(np.nanstd(held, axis=0))
    scale = np.where(deviation > 0, deviation, 1.0)
    z = np.where(unknown, 0.0, (held - mean) / scale)
    indicated = np.flatnonzero(unknown.any(axis=0))
    design = np.column_stack([z, unknown[:, indicated].astype(np.float64)])
    with threadpool_limits(1):
        fitted = LogisticRegression(C=c, max_iter=2000, tol=1e-7).fit(design, train.label, train.weight)
    weight = np.where(deviation > 0, fitted.coef_[0][: x.shape[1]] / scale, 0.0)
    missing = np.zeros(x.shape[1])
    missing[indicated] = fitted.coef_[0][x.shape[1]:]
    terms = tuple(Linear(*(np.float32(part[at]) for part in (low, high, mean, weight, missing)))
                  for at in range(x.shape[1]))
    return Additive("logistic", np.float32(fitted.intercept_[0]), terms)


def boosted(train: Rows, names: list, bins: int = 64, bags: int = 4, threads: int = 1) -> Additive:
    """Explainable boosting without interactions: a step function per feature, NaN a step of its own."""
    from interpret.glassbox import ExplainableBoostingClassifier

    with warnings.catch_warnings():
        # It warns of features that nobody has, and that it cannot draw unknown values.
        warnings.simplefilter("ignore")
        fitted = ExplainableBoostingClassifier(
            feature_names=names, feature_types=["continuous"] * len(names), interactions=0, max_bins=bins,
            outer_bags=bags, max_rounds=4000, random_state=SEED, n_jobs=threads,
        ).fit(train.features, train.label, sample_weight=train.weight)
    found = {term[0]: at for at, term in enumerate(fitted.term_features_)}
    terms = []
    for feature in range(len(names)):
        scores = fitted.term_scores_[found[feature]] if feature in found else np.zeros(3)
        cuts = fitted.bins_[feature][0] if feature in found else np.array([])
        # The first score is for the missing, the last for the unseen, which a number never is.
        terms.append(Binned.of(cuts, scores[1:-1], scores[0]))
    return Additive("boosted", np.float32(np.ravel(fitted.intercept_)[0]), tuple(terms))


def calibrate(model: Additive, valid: Rows) -> Additive:
    """Platt's calibration: a line on the logit, fitted on rows that training did not see; rising, or none at all."""
    if valid.positives < CALIBRATION_POSITIVES_MIN or len(valid) - valid.positives < CALIBRATION_POSITIVES_MIN:
        return model
    logit, label, weight = model.logit(valid.features), valid.label.astype(np.float64), valid.weight

    def loss(at):
        z = at[0] * logit + at[1]
        gradient = weight * (sigmoid(z) - label)
        value = np.sum(weight * (np.logaddexp(0.0, z) - label * z))
        return value / weight.sum(), np.array([gradient @ logit, gradient.sum()]) / weight.sum()

    with threadpool_limits(1):
        found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS", options={"gtol": 1e-8})
    slope, intercept = (float(part) for part in found.x)
    if not (np.isfinite(found.x).all() and slope > 0):
        return model
    return dataclasses.replace(model, slope=slope, intercept=intercept)
