"""Link functions g: from a mean μ to the linear predictor η, and back with its derivative.

McCullagh & Nelder 1989, section 2.2.3. All of them are elementwise, in the dtype they are given.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf
import tensorflow_probability as tfp

from workbench.core.config import ConfigError

Elementwise = Callable[[tf.Tensor], tf.Tensor]

# η beyond which exp(η) is held, so that a step that went too far has a deviance and is halved.
FAR = {tf.float64: 700.0, tf.float32: 80.0}


@dataclass(frozen=True)
class Link:
    """A link function.

    Attributes:
      name: as in "log".
      of: g(μ) = η.
      mean: g⁻¹(η) = μ.
      slope: dμ/dη, from η.
      logs: log μ and log(1 - μ) from η, of links whose means are shares, without cancellation.
    """

    name: str
    of: Elementwise
    mean: Elementwise
    slope: Elementwise
    logs: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]] | None = None


def link(name: str) -> Link:
    """The link of a name: one of `LINKS` or "power(p)".

    Raises:
      ConfigError: when there is none, or p is 0.
    """
    if not name.startswith("power("):
        return LINKS[name]
    try:
        exponent = float(name.removeprefix("power(").removesuffix(")"))
    except ValueError:
        raise ConfigError(f"link={name} is none: write power(p), as in power(0.5)") from None
    if exponent == 0:
        raise ConfigError("link=power(0) is constant; link=log is its limit")
    return power(exponent)


def power(exponent: float) -> Link:
    """η = μ^p, p other than 0."""
    inverse = 1 / exponent
    return Link(
        f"power({exponent:g})",
        lambda mean: mean**exponent,
        lambda eta: eta**inverse,
        lambda eta: inverse * eta ** (inverse - 1),
    )


def _held(eta: tf.Tensor) -> tf.Tensor:
    return tf.minimum(eta, FAR[tf.as_dtype(eta.dtype)])


def _exp(eta: tf.Tensor) -> tf.Tensor:
    return tf.exp(_held(eta))


def _logit_logs(eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    loss = tf.math.softplus(eta)
    return eta - loss, -loss


def _log_logs(eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return eta, tf.math.log(-tf.math.expm1(eta))


def _probit_logs(eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    normal = tfp.distributions.Normal(tf.zeros([], eta.dtype), tf.ones([], eta.dtype))
    return normal.log_cdf(eta), normal.log_cdf(-eta)


def _cloglog_logs(eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    rate = _exp(eta)
    return tfp.math.log1mexp(-rate), -rate


def _cauchit_logs(eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.math.log(_cauchit_mean(eta)), tf.math.log(_cauchit_mean(-eta))


def _cauchit_mean(eta: tf.Tensor) -> tf.Tensor:
    # The angle from the vertical: nothing cancels where the mean is near 0.
    return tf.atan2(tf.ones_like(eta), -eta) / math.pi


def _cloglog_mean(eta: tf.Tensor) -> tf.Tensor:
    return -tf.math.expm1(-_exp(eta))


identity = Link("identity", tf.identity, tf.identity, tf.ones_like, lambda eta: _share_logs(eta))
log = Link("log", tf.math.log, _exp, _exp, _log_logs)
logit = Link(
    "logit",
    lambda mean: tf.math.log(mean) - tf.math.log1p(-mean),
    tf.sigmoid,
    lambda eta: tf.sigmoid(eta) * tf.sigmoid(-eta),
    _logit_logs,
)
probit = Link(
    "probit",
    tf.math.ndtri,
    lambda eta: tf.math.erfc(-eta / math.sqrt(2)) / 2,
    lambda eta: tf.exp(-0.5 * eta * eta) / math.sqrt(2 * math.pi),
    _probit_logs,
)
cloglog = Link(
    "cloglog",
    lambda mean: tf.math.log(-tf.math.log1p(-mean)),
    _cloglog_mean,
    lambda eta: tf.exp(_held(eta) - _exp(eta)),
    _cloglog_logs,
)
cauchit = Link(
    "cauchit",
    lambda mean: tf.tan(math.pi * (mean - 0.5)),
    _cauchit_mean,
    lambda eta: 1 / (math.pi * (1 + eta * eta)),
    _cauchit_logs,
)
inverse = Link("inverse", lambda mean: 1 / mean, lambda eta: 1 / eta, lambda eta: -1 / (eta * eta))
inverse_squared = Link(
    "inverse_squared",
    lambda mean: 1 / (mean * mean),
    tf.math.rsqrt,
    lambda eta: -0.5 * eta**-1.5,
)
sqrt = Link("sqrt", tf.sqrt, tf.square, lambda eta: 2 * eta)


def _share_logs(eta: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.math.log(eta), tf.math.log1p(-eta)


LINKS = {
    found.name: found
    for found in (identity, log, logit, probit, cloglog, cauchit, inverse, inverse_squared, sqrt)
}
