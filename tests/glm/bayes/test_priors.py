"""What may be said of priors, and what they are where nothing was said."""

import numpy as np
import pytest

from workbench.core.config import ConfigError
from workbench.glm.bayes.priors import priors_of
from workbench.glm.config import BayesConfig, ModelConfig, PriorConfig
from workbench.glm.families import Binomial, Gaussian, NegativeBinomial
from workbench.glm.regression import Grouping, Regression
from workbench.glm.rows import Rows

X = np.column_stack([np.ones(50), np.linspace(-20, 40, 50), np.arange(50) % 2])
Y = 100 + 30 * np.sin(np.arange(50))
NAMES = ["Intercept", "x", "C(g)[T.b]"]
TERMS = {"1": [0], "x": [1], "C(g)": [2]}


def regression(family=None, response=Y, groupings=(), **said):
    family = family or Gaussian()
    model = ModelConfig(formula="y ~ x + C(g)", family=family.key, **said)
    rows = Rows.of(X, response)
    return Regression(model, family, rows, NAMES, TERMS, "y", groupings=list(groupings))


def priors(said=None, **changes):
    return priors_of(regression(**changes), BayesConfig(priors=said))


def test_a_column_s_own_prior_goes_before_its_term_s_and_that_before_the_default():
    said = {"default": {"scale": 1}, "C(g)": {"scale": 2}, "x": {"kind": "flat"}}
    found = priors(said).coefficients
    assert [(prior.kind, prior.scale) for prior in found] == [
        ("normal", 1),
        ("flat", 2.5),
        ("normal", 2),
    ]


def test_usual_priors_are_of_the_data_s_scale():
    intercept, x, _ = priors().coefficients
    assert intercept.at_means
    assert intercept.location == pytest.approx(Y.mean())
    assert intercept.scale == pytest.approx(2.5 * Y.std())
    assert x.scale == pytest.approx(2.5 * Y.std() / X[:, 1].std())
    assert priors().dispersion == PriorConfig("exponential", scale=Y.std())


def test_usual_priors_of_other_families_are_of_the_columns_scale():
    intercept, x, _ = priors(family=Binomial(), response=X[:, 2]).coefficients
    assert intercept.location == pytest.approx(0)
    assert x.scale == pytest.approx(2.5 / X[:, 1].std())


def test_groups_have_one_scale_for_each_coefficient():
    grouping = Grouping("g", ["a", "b"], np.zeros(50, np.int32), ["Intercept", "x"], X[:, :2])
    usual = priors(groupings=[grouping]).groups["g"]
    assert [prior.kind for prior in usual] == ["student_t", "student_t"]
    assert usual[1].scale == pytest.approx(usual[0].scale / X[:, 1].std())
    said = {"sd": {"kind": "exponential"}}
    assert priors(said, groupings=[grouping]).groups["g"][0].kind == "exponential"
    said |= {"sd_g": {"kind": "cauchy"}}
    assert priors(said, groupings=[grouping]).groups["g"][0].kind == "cauchy"


def test_an_alpha_that_is_given_has_no_prior():
    counts = np.arange(50.0)
    assert priors(family=NegativeBinomial(), response=counts).dispersion is not None
    assert priors(family=NegativeBinomial(2.0), response=counts, alpha=2.0).dispersion is None


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"xx": {}}, r"priors.xx is of nothing here; did you mean x\?"),
        ({"shape": {}}, "priors.shape is of nothing here"),
        ({"sd": {}}, "priors.sd is of nothing here"),
        ({"sigma": {"kind": "horseshoe"}}, "priors.sigma.kind=horseshoe is none of a scale"),
        ({"x": {"kind": "fixed", "location": 1}}, "priors.x.kind=fixed is none of a coefficient"),
    ],
)
def test_names_and_kinds_that_do_not_fit_are_refused(said, message):
    with pytest.raises(ConfigError, match=message):
        priors(said)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (3, "priors=3 is no mapping"),
        ({"x": 3}, "priors.x=3 is no mapping"),
        ({"x": {"knd": "flat"}}, r"priors.x.knd is unknown; did you mean kind\?"),
        ({"x": {"kind": "nrmal"}}, r"priors.x.kind=nrmal is not a choice; did you mean normal\?"),
        ({"x": {"scale": 0}}, "priors.x.scale=0 is out of range"),
        ({"sigma": {"kind": "fixed"}}, "priors.sigma.location=0 is no scale"),
    ],
)
def test_what_is_not_understood_is_refused_before_a_run(said, message):
    with pytest.raises(ConfigError, match=message):
        BayesConfig(priors=said)
