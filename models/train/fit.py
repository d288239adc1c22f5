"""Fits models: a logistic regression and explainable boosting, which are additive, and boosted trees to compare with.

Law: the same rows give the same model: seeds are fixed, one thread, no clock.

Used by train.py and fixture.py.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from additive import Additive, Binned, Linear
from calibration import folds, log_loss
from rows import Rows

SEED = 20260101
# Inverse penalties to choose from; among equals the first, which holds the weights back most.
STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
# Share of users, in each bag, on which boosting sees when to stop.
HELD_BACK = 0.15


@dataclass(frozen=True)
class Design:
    """Columns that a logistic regression sees: held within their usual range, standardised, a mean where unknown, and an
    indicator per feature that may be unknown."""

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    varies: np.ndarray
    indicated: np.ndarray
    columns: np.ndarray


def design_of(features: np.ndarray) -> Design:
    """Of the training slice."""
    x = features.astype(np.float64)
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
    columns = np.column_stack([z, unknown[:, indicated].astype(np.float64)])
    return Design(low, high, mean, scale, deviation > 0, indicated, columns)


def regression(columns, train: Rows, strength: float, inside=slice(None)):
    """A fitted regression; `strength` is the inverse of the penalty."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=2000, tol=1e-7).fit(
        columns[inside], train.label[inside], train.weight[inside])


def strength_of(columns, train: Rows) -> float:
    """The penalty with the least log loss over folds of users; few rows need more of it."""
    fold = folds(train.user)
    losses = {}
    for strength in STRENGTHS:
        logit = np.full(len(train), np.nan)
        for number in np.unique(fold):
            inside = fold != number
            if len(np.unique(train.label[inside])) == 2:
                logit[~inside] = regression(columns, train, strength, inside).decision_function(columns[~inside])
        losses[strength] = log_loss(logit, train.label, train.weight)
    return min(losses, key=lambda strength: losses[strength] if np.isfinite(losses[strength]) else np.inf)


def logistic(train: Rows, strength: float | None = None) -> Additive:
    """A logistic regression with a missing indicator per feature; without `strength` it is chosen over folds of users."""
    made = design_of(train.features)
    with threadpool_limits(1):
        fitted = regression(made.columns, train, strength_of(made.columns, train) if strength is None else strength)
    count = train.features.shape[1]
    weight = np.where(made.varies, fitted.coef_[0][:count] / made.scale, 0.0)
    missing = np.zeros(count)
    missing[made.indicated] = fitted.coef_[0][count:]
    terms = tuple(Linear(*(np.float32(part[at]) for part in (made.low, made.high, made.mean, weight, missing)))
                  for at in range(count))
    return Additive("logistic", np.float32(fitted.intercept_[0]), terms)


def bags(users, count: int = 4) -> np.ndarray:
    """Per row and bag: 1 to fit on, -1 to see when to stop. A user's rows, which are alike, are on one side."""
    draw = np.random.default_rng(SEED)
    names, at = np.unique(users, return_inverse=True)
    return np.where(draw.random((count, len(names))) < HELD_BACK, -1, 1).astype(np.int8)[:, at].T


def boosted(train: Rows, names: list, bins: int = 64, threads: int = 1) -> Additive:
    """Explainable boosting without interactions: a step function per feature, NaN a step of its own."""
    from interpret.glassbox import ExplainableBoostingClassifier

    parted = bags(train.user)
    with warnings.catch_warnings():
        # It warns of features that nobody has, and that it cannot draw unknown values.
        warnings.simplefilter("ignore")
        fitted = ExplainableBoostingClassifier(
            feature_names=names, feature_types=["continuous"] * len(names), interactions=0, max_bins=bins,
            outer_bags=parted.shape[1], max_rounds=4000, random_state=SEED, n_jobs=threads,
        ).fit(train.features, train.label, sample_weight=train.weight, bags=parted)
    found = {term[0]: at for at, term in enumerate(fitted.term_features_)}
    terms = []
    for feature in range(len(names)):
        scores = fitted.term_scores_[found[feature]] if feature in found else np.zeros(3)
        cuts = fitted.bins_[feature][0] if feature in found else np.array([])
        # The first score is for the missing, the last for the unseen, which a number never is.
        terms.append(Binned.of(cuts, scores[1:-1], scores[0]))
    return Additive("boosted", np.float32(np.ravel(fitted.intercept_)[0]), tuple(terms))


def trees(train: Rows):
    """Boosted trees that see features together: what the additive models are compared with, never exported.

    The answer takes features and gives raw logits.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    # Its binning fails on a feature that nobody has.
    known = ~np.isnan(train.features).all(axis=0)
    with threadpool_limits(1):
        fitted = HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=300, max_leaf_nodes=15, min_samples_leaf=40, l2_regularization=1.0,
            early_stopping=False, random_state=SEED).fit(train.features[:, known], train.label, train.weight)
    return lambda features: fitted.decision_function(features[:, known])
