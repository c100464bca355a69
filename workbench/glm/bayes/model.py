"""The posterior of a regression, in coordinates in which it is easy to draw from.

    η = offset + X β + Z r,    β = β̂ + L u + K r,

with r all that varies by group or has a horseshoe prior, and Z its columns. Coordinates θ are u,
logarithms of scales, and for each number of r its multiple of its spread ("not centred",
Papaspiliopoulos et al. 2007) or itself. L L' is the inverse of the information at a quick
estimate β̂, and K r what scoring would make of β as r changes, so that u is about standard normal
whatever the others are. The likelihood sees X L and Z + X K; they are made in float64, and
float32 is enough from there on.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from workbench.glm.bayes import scales
from workbench.glm.bayes.likelihood import likelihood_of
from workbench.glm.bayes.priors import Independent, priors_of, usual_spread
from workbench.glm.bayes.standard import Estimate, Pull, Standard, estimate, standardised
from workbench.glm.config import BayesConfig, PriorConfig
from workbench.glm.families import Family
from workbench.glm.regression import Grouping, Regression

# Starting points are uniform on a cube about the origin, as Stan's are.
FARTHEST = 2.0
# Halvings of those where the density is 0.
HALVINGS = 20
HALF_CAUCHY = PriorConfig("cauchy", scale=1.0)


class Parameter(NamedTuple):
    """A parameter of the model, as results name it.

    Attributes:
      name: as in "beta", "sigma" or "b_county".
      dimensions: its axes, as in ["county", "county_coefficient"].
    """

    name: str
    dimensions: list[str]


class _Point(NamedTuple):
    """What coordinates `[..., D]` stand for.

    Attributes:
      linear: u and r, `[..., P]`.
      scales: positive parameters by name, `[..., k]`.
      logs: their logarithms.
      shrunk: coefficients with horseshoe priors in units of their spread, `[..., h]`, if any.
      groups: b of each grouping, `[..., levels, q]`.
      multiples: the same in units of its spread.
    """

    linear: tf.Tensor
    scales: dict[str, tf.Tensor]
    logs: dict[str, tf.Tensor]
    shrunk: tf.Tensor | None
    groups: list[tf.Tensor]
    multiples: list[tf.Tensor]


class Posterior:
    """The posterior of a regression's parameters.

    Args:
      regression: checked.
      config: of the method.

    Attributes:
      size: D, how many coordinates there are.
      dtype: of coordinates.
      parameters: in the order of `constrained`: "beta"; "local_scale" and "global_scale" of
        horseshoes; "sigma", "shape", "dispersion" or "alpha"; "sd_<factor>" and "b_<factor>".
      coordinates: what the places along a dimension are called.
      data: of rows, in the standard form.
    """

    def __init__(self, regression: Regression, config: BayesConfig):
        self.regression, self.config = regression, config
        self.dtype = tf.as_dtype(config.dtype)
        self._priors = priors_of(regression, config)
        self._scatter = scales.name_of(regression)
        kinds = [prior.kind for prior in self._priors.coefficients]
        self._shrunk = [i for i, kind in enumerate(kinds) if kind == "horseshoe"]
        self._free = [i for i, kind in enumerate(kinds) if kind != "horseshoe"]
        self._form, self._combinations, found = self._standard_form()
        self._prior = Independent([self._priors.coefficients[i] for i in self._free])
        self._lay_out(found.scale)
        self._likelihood = likelihood_of(regression.family, regression.rows, self._form, self.dtype)
        self.data = self._likelihood.data

    def initial(self, chains: int, seed: tf.Tensor) -> tf.Tensor:
        """Starting points `[chains, D]`, farther from each other than draws are; called eagerly.

        Args:
          chains: how many.
          seed: int64 `[2]`, see `Seed`.
        """
        shape = [chains, self.size]
        theta = tf.random.stateless_uniform(shape, seed, -FARTHEST, FARTHEST, self.dtype)
        for _ in range(HALVINGS):
            possible = tf.math.is_finite(self.log_density(theta))
            if tf.reduce_all(possible):
                break
            theta = tf.where(possible[:, None], theta, theta / 2)
        return theta

    def log_density(self, theta: tf.Tensor) -> tf.Tensor:
        """log p(θ | y) up to a constant, `[C]`, of coordinates `[C, D]`."""
        point = self._point(theta)
        likelihood = self._likelihood(point.linear, self._dispersion(point))
        return self._log_prior(point) + self._log_jacobian(point) + likelihood

    def log_prior(self, theta: tf.Tensor) -> tf.Tensor:
        """log p of the parameters, up to a constant, `[..., ]`; `log_jacobian` is not in it."""
        return self._log_prior(self._point(theta))

    def log_jacobian(self, theta: tf.Tensor) -> tf.Tensor:
        """log |∂ parameters / ∂ θ| up to a constant, `[...]`."""
        return self._log_jacobian(self._point(theta))

    def constrained(self, theta: np.ndarray | tf.Tensor) -> dict[str, np.ndarray]:
        """Parameters by name, float64, of coordinates `[..., D]`."""
        point = self._point(tf.cast(theta, tf.float64))
        values = {"beta": self._beta(point)} | point.scales
        for grouping, effects in zip(self.regression.groupings, point.groups, strict=True):
            values[f"b_{grouping.factor}"] = effects
        scalars = [parameter.name for parameter in self.parameters if not parameter.dimensions]
        found = {parameter.name: values[parameter.name].numpy() for parameter in self.parameters}
        return found | {name: found[name][..., 0] for name in scalars}

    def predictor(self, theta: tf.Tensor) -> tf.Tensor:
        """η of every row, `[C, n]`, of coordinates `[C, D]`."""
        design, offset = (
            tf.constant(x, theta.dtype) for x in (self._form.design, self._form.offset)
        )
        return tf.matmul(self._point(theta).linear, design, transpose_b=True) + offset

    def responses(self, theta: tf.Tensor) -> tuple[Family, tf.Tensor]:
        """The distribution of responses for coordinates `[C, D]`, and φ `[C, 1]`."""
        family, phi = scales.applied(self.regression.family, self._dispersion(self._point(theta)))
        return family, phi * tf.ones([theta.shape[0], 1], theta.dtype)

    def log_likelihood(self, theta: tf.Tensor) -> tf.Tensor:
        """log p of every row, seen once, with all constants, `[C, n]`, of coordinates `[C, D]`."""
        family, phi = self.responses(theta)
        rows = self.regression.rows
        response, weight = (tf.constant(x, theta.dtype) for x in (rows.response, rows.weight))
        return family.log_likelihood(response, self.predictor(theta), phi, weight)

    # How coordinates are made.

    def _standard_form(self) -> tuple[Standard, np.ndarray, Estimate]:
        """The linear part, the combinations of its β that have priors, and an estimate."""
        regression, priors, free = self.regression, self._priors, self._free
        rows = regression.rows
        pull = Pull.of(priors.coefficients, _combinations(regression, priors.coefficients))
        found = estimate(regression, priors, pull)
        by_group = [_columns(grouping) for grouping in regression.groupings]
        other = np.concatenate([rows.design[:, self._shrunk], *by_group], 1)
        at = np.zeros(other.shape[1])
        at[: len(self._shrunk)] = found.beta[self._shrunk]
        own = Pull(pull.combinations[np.ix_(free, free)], pull.location[free], pull.precision[free])
        within = rows._replace(design=rows.design[:, free])
        of_free = found._replace(beta=found.beta[free])
        return standardised(within, of_free, own.information, other, at), own.combinations, found

    def _lay_out(self, scale: float) -> None:
        """Gives each kind of coordinate its place, and each parameter its name."""
        regression, priors = self.regression, self._priors
        self._places: dict[str, slice] = {}
        # Of logarithms of scales: where 0 is, and what 1 is.
        self._origins: dict[str, np.ndarray] = {}
        self._units: dict[str, float] = {}
        self.size = 0
        self.parameters = [Parameter("beta", ["coefficient"])]
        self.coordinates = {"coefficient": list(regression.names)}
        self._add("u", len(self._free))
        if shrunk := self._shrunk:
            self._add("shrunk", len(shrunk))
            self._add_scale("local_scale", ["shrunk"], np.ones(len(shrunk)))
            usual = priors.coefficients[shrunk[0]].scale
            self._add_scale("global_scale", [], np.array([usual]))
            self.coordinates["shrunk"] = [regression.names[i] for i in shrunk]
        if priors.dispersion is not None and priors.dispersion.kind != "fixed":
            unit = min(
                1.0, (2.0 if self._scatter != "sigma" else 0.5) / regression.rows.observations
            )
            self._add_scale(str(self._scatter), [], np.array([scale]), unit**0.5)
        for grouping in regression.groupings:
            varying = f"{grouping.factor}_coefficient"
            self.coordinates[grouping.factor] = [str(level) for level in grouping.levels]
            self.coordinates[varying] = list(grouping.names)
            spread = usual_spread(regression, grouping)
            self._add_scale(f"sd_{grouping.factor}", [varying], spread)
            self._add(f"b_{grouping.factor}", len(grouping.levels) * len(grouping.names))
            self.parameters.append(Parameter(f"b_{grouping.factor}", [grouping.factor, varying]))

    def _add_scale(
        self, name: str, dimensions: list[str], origin: np.ndarray, unit: float = 1.0
    ) -> None:
        self._add(name, len(origin))
        self.parameters.append(Parameter(name, dimensions))
        self._origins[name], self._units[name] = np.log(origin), unit

    def _add(self, name: str, size: int) -> None:
        self._places[name] = slice(self.size, self.size + size)
        self.size += size

    # What they stand for.

    def _point(self, theta: tf.Tensor) -> _Point:
        logs = {
            name: tf.constant(origin, theta.dtype) + self._units[name] * self._at(name, theta)
            for name, origin in self._origins.items()
        }
        positive = {name: tf.exp(log) for name, log in logs.items()}
        linear, shrunk = [self._at("u", theta)], None
        if self._shrunk:
            shrunk = self._at("shrunk", theta)
            linear.append(shrunk * positive["local_scale"] * positive["global_scale"])
        groups, multiples = list[tf.Tensor](), list[tf.Tensor]()
        for grouping in self.regression.groupings:
            given = self._at(f"b_{grouping.factor}", theta)
            shape = [*theta.shape[:-1], len(grouping.levels), len(grouping.names)]
            given, name = tf.reshape(given, shape), f"sd_{grouping.factor}"
            spread = positive[name][..., None, :]
            if self.config.centred:
                effects = given * tf.exp(tf.constant(self._origins[name], theta.dtype))
                multiples.append(effects / spread)
            else:
                effects = given * spread
                multiples.append(given)
            groups.append(effects)
            linear.append(tf.reshape(effects, [*theta.shape[:-1], -1]))
        return _Point(tf.concat(linear, -1), positive, logs, shrunk, groups, multiples)

    def _at(self, name: str, theta: tf.Tensor) -> tf.Tensor:
        return theta[..., self._places[name]]

    def _beta(self, point: _Point) -> tf.Tensor:
        """All coefficients, `[..., p]`."""
        dtype, split = point.linear.dtype, len(self._free)
        basis = tf.constant(self._form.basis, dtype)
        free = tf.constant(self._form.origin, dtype) + tf.linalg.matvec(basis, point.linear)
        if not self._shrunk:
            return free
        shrunk = point.linear[..., split : split + len(self._shrunk)]
        back = np.argsort([*self._free, *self._shrunk])
        return tf.gather(tf.concat([free, shrunk], -1), back, axis=-1)

    def _dispersion(self, point: _Point) -> tf.Tensor | None:
        """The value of the parameter of `scales`, `[C, 1]`."""
        prior = self._priors.dispersion
        if prior is None:
            return None
        if prior.kind == "fixed":
            return tf.fill(
                [*point.linear.shape[:-1], 1], tf.constant(prior.location, point.linear.dtype)
            )
        return point.scales[str(self._scatter)]

    # Densities.

    def _log_prior(self, point: _Point) -> tf.Tensor:
        dtype, form, priors = point.linear.dtype, self._form, self._priors
        start = tf.constant(self._combinations @ form.origin, dtype)
        basis = tf.constant(self._combinations @ form.basis, dtype)
        total = self._prior.log_prob(start + tf.linalg.matvec(basis, point.linear))
        if point.shrunk is not None:
            total -= tf.reduce_sum(tf.square(point.shrunk), -1) / 2
            wide = replace(HALF_CAUCHY, scale=priors.coefficients[self._shrunk[0]].scale)
            total += _log_prob([HALF_CAUCHY] * len(self._shrunk), point.scales["local_scale"])
            total += _log_prob([wide], point.scales["global_scale"])
        if priors.dispersion is not None and self._scatter in point.scales:
            total += _log_prob([priors.dispersion], point.scales[self._scatter])
        for grouping, multiples in zip(self.regression.groupings, point.multiples, strict=True):
            name = f"sd_{grouping.factor}"
            total += _log_prob(priors.groups[grouping.factor], point.scales[name])
            total -= tf.reduce_sum(tf.square(multiples), [-2, -1]) / 2
            if self.config.centred:
                total -= len(grouping.levels) * tf.reduce_sum(point.logs[name], -1)
        return total

    def _log_jacobian(self, point: _Point) -> tf.Tensor:
        total = tf.zeros(point.linear.shape[:-1], point.linear.dtype)
        for log in point.logs.values():
            total += tf.reduce_sum(log, -1)
        return total


def _log_prob(priors: Sequence[PriorConfig], values: tf.Tensor) -> tf.Tensor:
    return Independent(priors).log_prob(values)


def _combinations(regression: Regression, priors: Sequence[PriorConfig]) -> np.ndarray:
    """What priors are of: coefficients, or, of an intercept, η at the columns' means."""
    combinations = np.eye(len(priors))
    rows = regression.rows
    weights = np.broadcast_to(rows.frequency, rows.response.shape)
    for i, prior in enumerate(priors):
        if prior.at_means:
            combinations[i] = np.average(rows.design, axis=0, weights=weights)
    return combinations


def _columns(grouping: Grouping) -> np.ndarray:
    """Z of a grouping, `[n, levels * q]`."""
    member = grouping.codes[:, None] == np.arange(len(grouping.levels))
    return (member[:, :, None] * grouping.design[:, None, :]).reshape(len(member), -1)
