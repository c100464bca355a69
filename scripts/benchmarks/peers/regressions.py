"""The rows that every side of the GLM suite gets, made anew by each from the same seed."""

import numpy as np


def rows(family: str, count: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A design of standard normal columns, float64, and responses of a model that holds."""
    draws = np.random.default_rng(0)
    design = draws.standard_normal([count, columns])
    effects = draws.standard_normal(columns) / columns**0.5
    eta = design @ effects
    if family == "binomial":
        return design, (draws.random(count) < 1 / (1 + np.exp(-1.4 * eta))).astype(float)
    mean = np.exp(0.3 * eta)
    if family == "poisson":
        return design, draws.poisson(mean).astype(float)
    if family == "gamma":
        return design, draws.gamma(2, mean / 2)
    effects[columns // 10 :] = 0  # sparse, of paths
    return design, design @ effects + draws.standard_normal(count)


def deviance(family: str, y: np.ndarray, eta: np.ndarray) -> float:
    """D at a linear predictor under the logarithmic or logistic link, the same for all sides."""
    if family == "binomial":
        return float(2 * np.sum(np.logaddexp(0, eta) - y * eta))
    mean = np.exp(eta)
    if family == "poisson":
        logs = np.where(y > 0, y * (np.log(np.maximum(y, 1)) - eta), 0)
        return float(2 * np.sum(logs - (y - mean)))
    if family == "gamma":
        return float(2 * np.sum(y / mean - 1 - np.log(y / mean)))
    return float(np.sum((y - eta) ** 2))


def posterior(count: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """A logistic regression as large as the one of german credits: unlike columns, some related."""
    draws = np.random.default_rng(1)
    own = draws.standard_normal([count, columns - 1])
    shared = own @ draws.standard_normal([columns - 1, columns - 1])
    design = np.column_stack([np.ones(count), (own + shared / shared.std(0)) / 2])
    effects = draws.standard_normal(columns) / 2
    return design, (draws.random(count) < 1 / (1 + np.exp(-design @ effects))).astype(float)
