"""Estimates of smaller models: null models, models without a term, models with one β held.

Fisher scoring on the host; small beside the fit that it is compared with, which started it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import optimize

from workbench.glm.families import Family, NegativeBinomial
from workbench.glm.inference import algebra, rowwise
from workbench.glm.rows import Rows

ITERATIONS, HALVINGS, ALTERNATIONS = 200, 40, 100
# Share of the deviance, and of β's own size, that is rounding.
LITTLE, NOISE = 1e-14, 1e-28
# log α is sought between these.
LOG_ALPHA = (-18.0, 12.0)


@dataclass(frozen=True, eq=False)
class Optimum:
    """The end of a refit.

    Attributes:
      coefficients: `[p]`.
      eta: the linear predictor, `[n]`.
      pull: derivatives of the rows' log-likelihoods by it for φ = 1, `[n]`, of one copy of each.
      deviance: D.
      objective: D and the penalty on β.
      converged: whether it is one.
      family: with α as it was estimated.
    """

    coefficients: np.ndarray
    eta: np.ndarray
    pull: np.ndarray
    deviance: float
    objective: float
    converged: bool
    family: Family


class _Point(NamedTuple):
    beta: np.ndarray
    rows: rowwise.Rowwise
    objective: float


def maximised(family: Family, rows: Rows, penalty: np.ndarray, start: np.ndarray) -> Optimum:
    """The maximum of the penalised likelihood.

    Args:
      family: with α, where it has one.
      rows: of the smaller model; they may have no columns.
      penalty: the diagonal of Λ, `[p]`.
      start: β to start from, `[p]`; where it is impossible, the family's own start is taken.
    """
    frequency = np.broadcast_to(rows.frequency, rows.response.shape)

    def point(beta: np.ndarray, eta: np.ndarray) -> _Point:
        found = rowwise.at(family, rows, eta)
        objective = float(np.sum(frequency * found.deviance) + np.sum(penalty * beta**2))
        impossible = bool(np.any(found.outside & (frequency > 0))) or not np.isfinite(objective)
        return _Point(beta, found, np.inf if impossible else objective)

    def moved(beta: np.ndarray) -> _Point:
        return point(beta, rowwise.predictor(rows, beta))

    now, converged = moved(start), False
    if not np.isfinite(now.objective):
        now = moved(_first(family, rows, penalty))
    for _ in range(ITERATIONS if np.isfinite(now.objective) else 0):
        upper = algebra.triangle(rows.design, frequency * now.rows.weight, penalty)
        gradient = rows.design.T @ (frequency * now.rows.pull) - penalty * now.beta
        step = algebra.solved(upper, gradient)
        gain = float(gradient @ step)
        size = float(np.sum((upper @ now.beta) ** 2))
        converged = gain <= LITTLE * now.objective or gain <= NOISE * size
        better = _better(moved, now, step)
        if better is None:
            converged = converged or gain <= 1e-8 * now.objective
            break
        now = better
        if converged:
            break
    deviance = float(np.sum(frequency * now.rows.deviance))
    return Optimum(
        now.beta, now.rows.eta, now.rows.pull, deviance, now.objective, converged, family
    )


def maximised_with_alpha(
    family: NegativeBinomial, rows: Rows, penalty: np.ndarray, start: np.ndarray
) -> Optimum:
    """The same over β and α by turns, whose estimates hardly depend on each other."""
    best = -np.inf
    for _ in range(ALTERNATIONS):
        found = maximised(family, rows, penalty, start)
        eta, start = found.eta, found.coefficients
        family, likelihood = _with_best_alpha(family, rows, eta)
        if likelihood - best <= 1e-12 * abs(likelihood):
            break
        best = likelihood
    return maximised(family, rows, penalty, start)


def _with_best_alpha(
    family: NegativeBinomial, rows: Rows, eta: np.ndarray
) -> tuple[NegativeBinomial, float]:
    def lost(log_alpha: float) -> float:
        candidate = NegativeBinomial(float(np.exp(log_alpha)), family.link)
        values = candidate.log_likelihood(rows.response, eta, 1.0, rows.weight).numpy()
        return -float(np.sum(rows.frequency * values))

    found = optimize.minimize_scalar(
        lost, bounds=LOG_ALPHA, method="bounded", options={"xatol": 1e-10}
    )
    return NegativeBinomial(float(np.exp(found.x)), family.link), -float(found.fun)


def _better(moved, now: _Point, step: np.ndarray) -> _Point | None:  # type: ignore[no-untyped-def]
    """The first of ever shorter steps that does no harm."""
    slack = 1e-13 * (1 + abs(now.objective))
    for halving in range(HALVINGS):
        candidate: _Point = moved(now.beta + step / 2**halving)
        if candidate.objective <= now.objective + slack:
            return candidate
    return None


def _first(family: Family, rows: Rows, penalty: np.ndarray) -> np.ndarray:
    """β of the least squares problem at the family's starting means."""
    precision = np.broadcast_to(rows.precision, rows.response.shape)
    average = np.sum(precision * rows.response) / np.sum(precision)
    weight = np.broadcast_to(rows.weight, rows.response.shape)
    eta = np.asarray(family.link.of(family.start(rows.response, weight, average)))
    found = rowwise.at(family, rows, eta)
    frequency = np.broadcast_to(rows.frequency, rows.response.shape)
    weight = frequency * found.weight
    right = rows.design.T @ (frequency * found.pull + weight * (eta - rows.offset))
    return algebra.solved(algebra.triangle(rows.design, weight, penalty), right)
