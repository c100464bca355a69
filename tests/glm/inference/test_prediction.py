"""Predictions against statsmodels, and where means end."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from glm.inference.fits import fitted, regression

import workbench
from workbench.core.config import ConfigError


def drawn(family="poisson", link="log"):
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(80), rng.uniform(size=(80, 2))])
    mean = {"log": np.exp, "inverse": lambda eta: 1 / eta}[link](design @ [1, 0.5, -0.3])
    y = rng.poisson(mean) if family == "poisson" else rng.gamma(4, mean / 4)
    return regression(design, y, family=family, link=link), rng.uniform(size=(9, 3))


@pytest.mark.parametrize(
    ("family", "link", "theirs"),
    [
        ("poisson", "log", sm.families.Poisson()),
        ("gamma", "inverse", sm.families.Gamma()),
    ],
)
def test_predictions_are_statsmodels(family, link, theirs):
    model, new = drawn(family, link)
    found = fitted(model).predict(new, offset=0.1, level=0.9)
    theirs = sm.GLM(model.rows.response, model.rows.design, family=theirs).fit(tol=1e-13)
    wanted = theirs.get_prediction(new, offset=np.full(9, 0.1)).summary_frame(alpha=0.1)
    wanted = np.column_stack([wanted["mean"], wanted["mean_se"], np.sort(wanted.iloc[:, 2:], 1)])
    np.testing.assert_allclose(found[["mean", "se", "low", "high"]], wanted, rtol=1e-5)


def test_the_rows_themselves_are_predicted_with_their_offset():
    model, _ = drawn()
    rows = model.rows._replace(offset=np.linspace(0, 1, 80))
    fit = fitted(
        regression(rows.design, rows.response, rows={"offset": rows.offset}, family="poisson")
    )
    frame = fit.predict()
    np.testing.assert_allclose(frame["mean"], fit.fitted)
    np.testing.assert_allclose(np.log(frame["mean"]), frame["linear"])


def test_robust_errors_are_those_of_predictions():
    model, new = drawn()
    fit = fitted(model, covariance="hc1")
    wanted = np.sqrt(np.einsum("ij,jk,ik->i", new, fit.covariance, new))
    np.testing.assert_allclose(fit.predict(new)["linear_se"], wanted)


def test_an_interval_past_the_end_of_means_has_no_number():
    model, _ = drawn("gamma", "inverse")
    frame = fitted(model).predict(np.array([[0.0, 0.0, 1.0]]))
    assert np.isnan(frame["mean"][0])


def test_columns_must_be_the_models():
    model, new = drawn()
    with pytest.raises(ConfigError, match=r"shape \(9, 2\) do not have the model's 3 columns"):
        fitted(model).predict(new[:, :2])


def test_new_tables_are_read_by_the_formula():
    frame = pd.DataFrame({"x": [0.0, 1, 2, 3, 4, 5], "g": list("abcabc"), "y": [1, 2, 2, 5, 6, 9]})
    fit = workbench.fit("y ~ x + C(g)", frame, family="poisson")
    new = frame.drop(columns="y").iloc[[4, 1]]
    found = fit.predict(new)
    assert list(found.index) == [4, 1]
    np.testing.assert_allclose(found["mean"], fit.fitted[[4, 1]])
