"""How estimates would scatter: from the model, or from how the rows scatter (sandwiches).

A sandwich is A⁻¹ M A⁻¹, with A the observed information and M the sum of the rows' squared scores:
HC0 to HC3 as MacKinnon & White 1985 have them (for generalised linear models: Zeileis 2006),
clustered as Liang & Zeger 1986 with the correction G/(G - 1) (n - 1)/(n - p). Where the link is not
the canonical one, expected information is another; R's sandwich takes that, statsmodels and Stata
the observed one, which holds when the mean is not quite as the model says, too.

All are kept as a root F, of which the covariance is FF': standard errors, of combinations too, are
lengths then, and none is lost to rounding.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import sparse

from workbench.glm.families import Family, NegativeBinomial
from workbench.glm.inference import algebra
from workbench.glm.inference.rowwise import Rowwise
from workbench.glm.rows import Rows
from workbench.glm.scoring import weighted

# Links under which observed and expected information are the same.
CANONICAL = {
    "gaussian": "identity",
    "binomial": "logit",
    "poisson": "log",
    "gamma": "inverse",
    "inverse_gaussian": "inverse_squared",
}


class Bread(NamedTuple):
    """What sandwiches are made with; estimates are β, or [β, α].

    Attributes:
      root: of the model's own covariance for φ = 1, FF' = A⁻¹.
      whitening: R⁻¹, by which rows' scores are made alike, `[p, p]`.
      outer: A⁻¹ for scores that have been.
      pull_alpha: derivatives of the rows' log-likelihoods by α, `[n]`, where that is estimated.
    """

    root: np.ndarray
    whitening: np.ndarray
    outer: np.ndarray
    pull_alpha: np.ndarray | None = None


def plain(upper: np.ndarray) -> Bread:
    """Of β, from expected information, R'R = X'WX + Λ."""
    inverse = algebra.inverse(upper)
    return Bread(inverse, inverse, inverse)


def observed(
    family: Family, rows: Rows, found: Rowwise, upper: np.ndarray, penalty: np.ndarray
) -> Bread:
    """Of β, for sandwiches."""
    if CANONICAL.get(family.key) == family.link.name:
        return plain(upper)
    whitening = algebra.inverse(upper)
    place = tf.constant(found.eta)
    with tf.GradientTape() as tape:
        tape.watch(place)
        pull = weighted(family, rows._replace(frequency=np.ones(1)), place).residual
    lost = -tape.gradient(pull, place).numpy()
    weight = rows.frequency * lost
    information = whitening.T @ (penalty[:, None] * whitening)
    for part in algebra.blocks(rows.design):
        white = rows.design[part] @ whitening
        information += white.T @ (weight[part, None] * white)
    return Bread(whitening, whitening, whitening @ np.linalg.inv(information))


def with_alpha(
    family: NegativeBinomial, rows: Rows, eta: np.ndarray, upper: np.ndarray, penalty: np.ndarray
) -> Bread:
    """Of [β, α], from what was observed of their joint information.

    The convention of statsmodels' discrete NegativeBinomial and of Stata's nbreg; R's glm.nb takes
    expected information, and α for known.
    """
    whitening = algebra.inverse(upper)
    pull_alpha, twice, mixed, twice_alpha = _derivatives(family, rows, eta)
    frequency = np.broadcast_to(rows.frequency, rows.response.shape)
    size = len(whitening) + 1
    information = np.zeros((size, size))
    for part in algebra.blocks(rows.design):
        white = rows.design[part] @ whitening
        information[:-1, :-1] -= white.T @ ((frequency * twice)[part, None] * white)
        information[:-1, -1] -= white.T @ (frequency * mixed)[part]
    information[:-1, :-1] += whitening.T @ (penalty[:, None] * whitening)
    information[-1, :-1] = information[:-1, -1]
    information[-1, -1] = -np.sum(frequency * twice_alpha)
    back = np.zeros((size, size))
    back[:-1, :-1], back[-1, -1] = whitening, 1.0
    inverse = np.linalg.inv(information)
    return Bread(back @ algebra.square_root(inverse), whitening, back @ inverse, pull_alpha)


def robust(
    kind: str,
    rows: Rows,
    found: Rowwise,
    bread: Bread,
    freedom: float,
    clusters: np.ndarray | None = None,
) -> np.ndarray:
    """The root of a sandwich covariance.

    Args:
      kind: "hc0" to "hc3", or "cluster".
      rows: `[n]` of them; one that was seen f times counts as f rows.
      found: what they have at the estimate.
      bread: of the estimates.
      freedom: n - p, of HC1 and clusters.
      clusters: int32 codes, `[n]`.
    """
    frequency = np.broadcast_to(rows.frequency, rows.response.shape)
    size = bread.outer.shape[1]
    groups = 0 if clusters is None else int(clusters.max()) + 1
    meat, sums = np.zeros((size, size)), np.zeros((groups, size))
    for part in algebra.blocks(rows.design):
        scores = _scores(kind, rows.design[part], found, bread, part)
        if kind == "cluster":
            assert clusters is not None
            sums += _by_group(clusters[part], groups, frequency[part]) @ scores
        else:
            meat += scores.T @ (frequency[part, None] * scores)
    factor = 1.0
    if kind == "cluster":
        assert clusters is not None
        meat, present = sums.T @ sums, len(np.unique(clusters[frequency > 0]))
        factor = present / (present - 1) * (rows.observations - 1) / freedom
    elif kind == "hc1":
        factor = rows.observations / freedom
    return np.sqrt(factor) * bread.outer @ algebra.square_root(meat)


def _scores(kind: str, design: np.ndarray, found: Rowwise, bread: Bread, part: slice) -> np.ndarray:
    """A block's scores, whitened and, by HC2 and HC3, as they would be had rows not fitted."""
    white = design @ bread.whitening
    scores = found.pull[part, None] * white
    if bread.pull_alpha is not None:
        scores = np.column_stack([scores, bread.pull_alpha[part]])
    if kind not in ("hc2", "hc3"):
        return scores
    left = 1 - found.weight[part] * np.sum(white**2, 1)
    # A row that is fitted exactly whatever its response has nothing to say.
    left = np.where(left > 1e-12, left, np.inf)
    return scores / (np.sqrt(left) if kind == "hc2" else left)[:, None]


def _by_group(codes: np.ndarray, groups: int, frequency: np.ndarray) -> sparse.csr_matrix:
    places = (codes, np.arange(len(codes)))
    return sparse.csr_matrix((frequency, places), shape=(groups, len(codes)))


def _derivatives(family: NegativeBinomial, rows: Rows, eta: np.ndarray) -> list[np.ndarray]:
    """Of each row's log-likelihood: by α, by η twice, by both, by α twice."""
    place = tf.constant(eta)
    alpha = tf.fill(place.shape, tf.constant(family.alpha, place.dtype))
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([place, alpha])
        with tf.GradientTape() as inner:
            inner.watch([place, alpha])
            value = NegativeBinomial(alpha, family.link).log_likelihood(
                rows.response, place, 1.0, rows.weight
            )
        pull, pull_alpha = inner.gradient(value, [place, alpha])
    twice, mixed = outer.gradient(pull, [place, alpha])
    twice_alpha = outer.gradient(pull_alpha, alpha)
    return [value.numpy() for value in (pull_alpha, twice, mixed, twice_alpha)]
