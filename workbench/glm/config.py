"""What a user may say about generalised linear models; imports no TensorFlow."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from workbench.core.config import (
    AT_LEAST_ONE,
    NON_NEGATIVE,
    POSITIVE,
    ConfigError,
    Limits,
    located,
    nearest,
    register,
    require,
)

# Each family's links, the first being the usual one; "power(p)" goes with all of them.
LINKS = {
    "gaussian": ("identity", "log", "inverse"),
    "binomial": ("logit", "probit", "cloglog", "cauchit", "log", "identity"),
    "poisson": ("log", "identity", "sqrt"),
    "gamma": ("inverse", "log", "identity"),
    "inverse_gaussian": ("inverse_squared", "inverse", "log", "identity"),
    "negative_binomial": ("log", "identity", "sqrt"),
    "tweedie": ("log", "identity"),
}
SHARE = Limits(low=0, high=1, open_low=True)
PRIORS = (
    "normal",
    "student_t",
    "cauchy",
    "laplace",
    "flat",
    "horseshoe",
    "exponential",
    "jeffreys",
    "fixed",
)


@register("algorithm", "glm", builder="workbench.glm.build:build")
@dataclass
class GlmConfig:
    """A generalised linear model; what it is stands in `glm`, how it is estimated in `method`."""

    family: ClassVar[str] = "glm"
    parts: ClassVar[tuple[str, ...]] = ("dataset", "glm", "method")

    # Of all computations, "float64" or "float32".
    dtype: str = "float64"
    # Numbers of the design matrix that are gone through at once.
    block: int = 2**18

    def __post_init__(self) -> None:
        require(self, dtype=("float64", "float32"), block=Limits(low=1024))


@register("glm", "glm")
@dataclass
class ModelConfig:
    """The model: what is explained by what, and how it is distributed."""

    # In Wilkinson's notation, as in "y ~ x + C(group)"; of successes and failures,
    # "successes + failures ~ x"; in a hierarchical model, "y ~ x + (1 + x | group)". Empty is what
    # the data set is known for.
    formula: str = ""
    # Of the response; empty is what the data set is known for, else gaussian.
    family: str = ""
    # Null is the family's usual one.
    link: str | None = None
    # Columns; null is none.
    offset: str | None = None
    # Its logarithm is a part of the linear predictor.
    exposure: str | None = None
    # How many times a row was seen.
    frequency_weights: str | None = None
    # How many times as precise as others a row is; of shares of successes, their trials.
    variance_weights: str | None = None
    # α of "negative_binomial", V(μ) = μ + α μ²; null estimates it.
    alpha: float | None = None
    # p of "tweedie", V(μ) = μ^p.
    power: float = 1.5

    def __post_init__(self) -> None:
        require(self, family=("", *LINKS), alpha=POSITIVE)
        if self.family and self.link is not None and not self.link.startswith("power("):
            require(self, link=LINKS[self.family])
        if self.family == "tweedie" and self.power in (1, 2):
            other = "poisson" if self.power == 1 else "gamma"
            raise ConfigError(f"power={self.power:g} is family={other}")
        if self.family == "tweedie" and 0 < self.power < 1:
            raise ConfigError(f"power={self.power:g} is no distribution; choose one above 1")

    def check(self) -> None:
        """Whether a formula is one.

        Raises:
          ConfigError: when it says nothing.
        """
        if self.formula and "~" not in self.formula:
            raise ConfigError(
                f"formula={self.formula!r} does not say what is explained by what: "
                'glm.formula="y ~ x1 + x2"'
            )


@register("method", "mle", builder="workbench.glm.mle:build")
@dataclass
class MleConfig:
    """Maximum likelihood by Fisher scoring."""

    # "cholesky" solves the normal equations, "qr" takes more time and loses fewer digits, "auto"
    # is the former for as long as it is safe, "lbfgs" is for thousands of coefficients.
    solver: str = "auto"
    # At most; data that are not in memory are read once in each.
    iterations: int = 50
    # Ends when the next step promises to lower the deviance by less than this share of it.
    tolerance: float = 1e-16
    # Starts from the estimate on this share of the rows, where these are many; 1 on all of them.
    start: float = 1 / 16
    # λ of a ridge penalty, in units of the deviance by which (1/2n) D + (λ/2) Σ β²; the intercept
    # goes free.
    ridge: float = 0.0
    # The covariance of the estimates: "model", "hc0" to "hc3", or "cluster".
    covariance: str = "model"
    # The column that says whose a row is, of "cluster".
    clusters: str | None = None
    # "family" takes φ = 1 for families that have no dispersion; "pearson" estimates it for them too
    # (quasi-likelihood).
    dispersion: str = "family"
    # Tests by the normal distribution, "z", or Student's, "t"; "auto" is "t" for gaussian ones.
    test: str = "z"
    # Of intervals.
    level: float = 0.95

    def __post_init__(self) -> None:
        require(
            self,
            solver=("auto", "cholesky", "qr", "lbfgs"),
            iterations=AT_LEAST_ONE,
            tolerance=POSITIVE,
            start=SHARE,
            ridge=NON_NEGATIVE,
            covariance=("model", "hc0", "hc1", "hc2", "hc3", "cluster"),
            dispersion=("family", "pearson"),
            test=("auto", "z", "t"),
            level=Limits(low=0.5, high=1 - 1e-9),
        )
        if (self.covariance == "cluster") != (self.clusters is not None):
            raise ConfigError("covariance=cluster and clusters=COLUMN go together")


@register("method", "path", builder="workbench.glm.paths.build:build")
@dataclass
class PathConfig:
    """A path of penalised estimates, (1/2n) D + λ Σ v_j (a |β_j| + (1 - a) β_j² / 2), and λ."""

    # "elastic_net", or "group_lasso": the coefficients of a term of the formula are in or out
    # together.
    penalty: str = "elastic_net"
    # a: 1 is the lasso, 0 ridge regression.
    mix: float = 1.0
    # How many λ; from the smallest at which all coefficients are 0 down to `ratio` times it.
    lambdas: int = 100
    # Null is 1e-4, or 0.01 when there are more columns than rows.
    ratio: float | None = None
    # λ themselves, instead.
    values: list[float] | None = None
    # Whether columns are scaled to variance 1 for the penalty's sake; coefficients are those of
    # the columns as they were.
    standardise: bool = True
    # v_j by column, as in {age: 0}; else 1, and 0 for the intercept.
    factors: Any = None
    # Folds of cross-validation, which chooses λ; 0: none, and the last λ counts.
    folds: int = 10
    # "min" of the cross-validated deviance, or the largest λ within one standard error, "1se".
    choose: str = "min"
    # Ends a λ when the next step promises to lower the deviance by less than this share of it.
    tolerance: float = 1e-12
    # Passes over the rows for one λ, at most.
    iterations: int = 1000

    def __post_init__(self) -> None:
        require(
            self,
            penalty=("elastic_net", "group_lasso"),
            mix=Limits(low=0, high=1),
            lambdas=AT_LEAST_ONE,
            ratio=SHARE,
            values=NON_NEGATIVE,
            folds=NON_NEGATIVE,
            choose=("min", "1se"),
            tolerance=POSITIVE,
            iterations=AT_LEAST_ONE,
        )
        if self.folds == 1:
            raise ConfigError("folds=1 leaves nothing to estimate from; take 0, or 2 and more")
        if self.values is not None and not self.values:
            raise ConfigError("values are none; leave them out for a path of lambdas=100")


@dataclass
class PriorConfig:
    """A distribution of a coefficient, or of a scale, which is positive."""

    # "normal", "student_t", "cauchy", "laplace" or "flat"; of coefficients "horseshoe", too
    # (Carvalho, Polson & Scott 2010), whose scale is the global one's; of scales "exponential",
    # "jeffreys", which is flat on the logarithm, and "fixed", which is at `location`.
    kind: str = "normal"
    location: float = 0.0
    # The mean, of "exponential".
    scale: float = 2.5
    # Of "student_t".
    freedom: float = 3.0
    # Of an intercept: that of columns less their means.
    at_means: bool = False

    def __post_init__(self) -> None:
        require(self, kind=PRIORS, scale=POSITIVE, freedom=POSITIVE)
        if self.kind == "fixed" and self.location <= 0:
            raise ConfigError(f"location={self.location:g} is no scale: it must be above 0")


@register("method", "bayes", builder="workbench.glm.bayes.build:build")
@dataclass
class BayesConfig:
    """The posterior, by draws or by an approximation of it."""

    # "chees" (Hoffman et al. 2021), "nuts", "laplace", "advi_mean", "advi_full" or "map".
    sampler: str = "chees"
    chains: int = 64
    # Draws of a chain that are kept, and before them.
    draws: int = 500
    warm_up: int = 500
    # Priors by column or term, as in {default: {kind: normal, scale: 1}, Intercept: {kind: flat}};
    # of the dispersion, as "sigma", "shape", "dispersion" or "alpha", and of the spread of
    # groups, as "sd" or "sd_FACTOR". Where nothing is said they are weak, and of the data's scale.
    priors: Any = None
    # Of the deviations of groups: from the mean by their spread, or both drawn together.
    centred: bool = False
    # The share of proposals to accept on average: closer to 1 where draws diverge.
    acceptance: float = 0.8
    # Of draws; what the data have in common is taken out of them in float64 beforehand.
    dtype: str = "float32"

    def __post_init__(self) -> None:
        require(
            self,
            sampler=("chees", "nuts", "laplace", "advi_mean", "advi_full", "map"),
            chains=AT_LEAST_ONE,
            draws=AT_LEAST_ONE,
            warm_up=AT_LEAST_ONE,
            acceptance=Limits(low=0.1, high=0.99),
            dtype=("float64", "float32"),
        )
        self.priors_by_name()

    def priors_by_name(self) -> dict[str, PriorConfig]:
        """What `priors` says.

        Raises:
          ConfigError: when it is not understood.
        """
        if not isinstance(self.priors or {}, Mapping):
            raise ConfigError(f"priors={self.priors} is no mapping, as in {{x: {{kind: flat}}}}")
        return {str(name): _prior(name, said) for name, said in (self.priors or {}).items()}


def _prior(name: str, said: Any) -> PriorConfig:
    if not isinstance(said, Mapping):
        raise ConfigError(f"priors.{name}={said} is no mapping, as in {{kind: normal, scale: 1}}")
    known = [field.name for field in fields(PriorConfig)]
    for key in said:
        if key not in known:
            raise ConfigError(f"priors.{name}.{key} is unknown{nearest(key, known)}")
    with located(f"priors.{name}"):
        return PriorConfig(**said)
