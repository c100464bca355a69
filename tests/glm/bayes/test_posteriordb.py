"""Posteriors of posteriordb, whose means and deviations are known from 10,000 draws of Stan's."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import arviz as az
import numpy as np
import pytest

from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.datasets.tables.config import PosteriordbConfig
from workbench.datasets.tables.frame import FrameTable
from workbench.datasets.tables.posteriordb import build
from workbench.glm.bayes.learner import Sampler
from workbench.glm.bayes.model import Posterior
from workbench.glm.config import BayesConfig, ModelConfig
from workbench.glm.formula import regression_of

FLAT = {"kind": "flat"}
HALF_CAUCHY = {"kind": "cauchy", "scale": 2.5}
# Draws for which a deviation's error is well below 5%.
LONG = {"chains": 64, "warm_up": 300, "draws": 500}


def by_order(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stan's beta[1], beta[2], … and sigma."""
    beta = values["beta"]
    return {f"beta[{i + 1}]": beta[..., i] for i in range(beta.shape[-1])} | {
        "sigma": values["sigma"]
    }


def alpha_and_beta(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        "alpha": values["beta"][..., 0],
        "beta": values["beta"][..., 1],
        "sigma": values["sigma"],
    }


def centred(values: dict[str, np.ndarray], design: np.ndarray) -> dict[str, np.ndarray]:
    slopes = values["beta"][..., 1:]
    found = {f"b[{i + 1}]": slopes[..., i] for i in range(slopes.shape[-1])}
    return found | {"Intercept": values["beta"] @ design.mean(0), "sigma": values["sigma"]}


def schools(values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    mean = values["beta"][..., 0]
    effects = values["b_school"][..., 0]
    found = {f"theta[{i + 1}]": mean + effects[..., i] for i in range(8)}
    return found | {"mu": mean, "tau": values["sd_school"][..., 0]}


@dataclass
class Case:
    """A model of posteriordb's.

    Attributes:
      formula: of its regression.
      priors: as its Stan program has them; `kilpisjarvi`'s are among its data.
      named: parameters as Stan names them, from ours and the design.
      glm: what else the model says.
    """

    formula: str
    priors: dict[str, Any] = field(default_factory=lambda: {"default": FLAT, "sigma": FLAT})
    named: Callable[..., dict[str, np.ndarray]] = lambda values, _: by_order(values)
    glm: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)


KIDSCORE = {"default": FLAT, "sigma": HALF_CAUCHY}
NES = "partyid7 ~ real_ideo + race_adj + C(age_discrete) + educ1 + gender + income"
CASES = {
    "kidiq-kidscore_momhs": Case("kid_score ~ mom_hs", KIDSCORE),
    "kidiq-kidscore_momiq": Case("kid_score ~ mom_iq", KIDSCORE),
    "kidiq-kidscore_interaction": Case("kid_score ~ mom_hs * mom_iq", KIDSCORE),
    "earnings-logearn_height": Case("log(earn) ~ height"),
    "earnings-logearn_interaction": Case("log(earn) ~ height * male"),
    "mesquite-logmesquite": Case(
        "log(weight) ~ log(diam1) + log(diam2) + log(canopy_height) + log(total_height)"
        " + log(density) + group"
    ),
    "mesquite-logmesquite_logvolume": Case("log(weight) ~ log(diam1 * diam2 * canopy_height)"),
    "nes1972-nes": Case(NES),
    "nes2000-nes": Case(NES),
    "sblrc-blr": Case(
        "y ~ 0 + X1 + X2 + X3 + X4 + X5",
        {"default": {"kind": "normal", "scale": 10}, "sigma": {"kind": "normal", "scale": 10}},
    ),
    "kilpisjarvi_mod-kilpisjarvi": Case("y ~ x", {}, lambda values, _: alpha_and_beta(values)),
    "diamonds-diamonds": Case(
        "Y ~ " + " + ".join(f"X{i}" for i in range(2, 26)),
        {
            "default": {"kind": "normal", "scale": 1},
            "Intercept": {"kind": "student_t", "location": 8, "scale": 10, "at_means": True},
            "sigma": {"kind": "student_t", "scale": 10},
        },
        centred,
    ),
    "eight_schools-eight_schools_noncentered": Case(
        "y ~ 1 + (1 | school)",
        {
            "Intercept": {"kind": "normal", "scale": 5},
            "sd": {"kind": "cauchy", "scale": 5},
            "sigma": {"kind": "fixed", "location": 1},
        },
        lambda values, _: schools(values),
        {"variance_weights": "precision"},
        {"acceptance": 0.95},
    ),
}
each_case = pytest.mark.parametrize("name", CASES)


def drawn(name: str, **changes: Any):
    """Draws by Stan's names, statistics of them, and what is known."""
    if not (Path(os.environ.get("WORKBENCH_DATA", "/nowhere")) / "posteriordb").is_dir():
        pytest.skip("WORKBENCH_DATA has no posteriordb")
    case, table = CASES[name], build(PosteriordbConfig(name=name))
    frame, priors = table.frame(), dict(case.priors)
    if name.startswith("eight_schools"):
        frame = frame.assign(school=list("ABCDEFGH"), precision=frame["sigma"] ** -2.0)
    if name.startswith("kilpisjarvi"):
        said = table.constants
        priors = {
            "Intercept": {"location": said["pmualpha"], "scale": said["psalpha"]},
            "x": {"location": said["pmubeta"], "scale": said["psbeta"]},
            "sigma": FLAT,
        }
    regression = regression_of(FrameTable(frame), ModelConfig(formula=case.formula, **case.glm))
    config = BayesConfig(priors=priors, **LONG | case.method | changes)
    posterior = Posterior(regression, config)
    learner = Sampler(posterior, config, seed=0)
    Program(learner, Runtime(), seed=0).run(0, config.warm_up + config.draws)
    values = case.named(posterior.constrained(learner.draws), regression.rows.design)
    return values, learner.stats, table


def assert_as_known(values, stats, table):
    assert set(values) == set(table.reference)
    data = az.convert_to_dataset(values)
    rhat, errors, sizes = az.rhat(data), az.mcse(data), az.ess(data, method="sd")
    for name, known in table.reference.items():
        sd = values[name].std()
        error = np.hypot(errors[name].item(), known["mcse_mean"])
        assert abs(values[name].mean() - known["mean"]) < 4 * error, name
        assert sd == pytest.approx(known["sd"], rel=0.05), name
        assert rhat[name] < 1.01, name
        assert sizes[name] > 2000, name
    assert not stats["diverging"].any()


@pytest.mark.study
@each_case
@pytest.mark.parametrize("sampler", ["chees", "nuts"])
def test_posterior_is_the_known_one(name, sampler):
    chains = {"chees": 64, "nuts": 16}[sampler]
    assert_as_known(*drawn(name, sampler=sampler, chains=chains))


@pytest.mark.parametrize(
    "name", ["kidiq-kidscore_interaction", "kilpisjarvi_mod-kilpisjarvi", "sblrc-blr"]
)
def test_posterior_of_a_few_coefficients_is_the_known_one(name):
    assert_as_known(*drawn(name))


def test_eight_schools_are_the_known_ones():
    assert_as_known(*drawn("eight_schools-eight_schools_noncentered"))
