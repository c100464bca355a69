"""What a user gets of a path: tables, plots, predictions, and errors in words."""

import numpy as np
import pandas as pd
import pytest
from glm.paths.small import path_of, regression, walked
from glm.paths.test_optimality import CASES, sample

from workbench.cli import main
from workbench.core.config import ConfigError
from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.glm.config import ModelConfig, PathConfig
from workbench.runs import load_run


@pytest.fixture(scope="module")
def fit():
    x, y, weights = sample(CASES["binomial"])
    return walked(regression(x, y, CASES["binomial"], **weights), lambdas=12, ratio=1e-3, folds=5)


def test_run_leaves_tables_and_plots(tmp_path, capfd):
    folder = tmp_path / "run"
    overrides = ["experiment=glm/path_star98", "method.lambdas=20", "method.folds=3"]
    assert main([*overrides, f"run.dir={folder}"]) == 0
    said = capfd.readouterr().out
    assert "by 3-fold cross-validation (min): deviance" in said
    assert "of 20 columns are in" in said
    path = pd.read_csv(folder / "path.csv")
    assert len(path) == 20
    assert path["chosen"].sum() == 1
    coefficients = pd.read_csv(folder / "coefficients.csv", index_col="lambda")
    assert coefficients.shape == (20, 21)
    assert np.count_nonzero(coefficients.iloc[0]) == 1
    for name in ("path.png", "cross_validation.png"):
        assert (folder / "plots" / name).read_bytes().startswith(b"\x89PNG")
    run = load_run(folder)
    chosen = run.summary["metrics"]
    assert chosen["evaluate/lambda"] == pytest.approx(path["lambda"][path["chosen"]].item())
    assert chosen["evaluate/deviance"] == pytest.approx(path["deviance"].min())
    assert (folder / "summary.txt").read_text().count("chosen") == 1


def test_summary_shows_the_path_and_what_is_chosen(fit):
    text = fit.summary()
    assert "Path of y: lasso (binomial, logit)" in text
    assert f"{fit.held_mean[fit.chosen]:.5g}" in text
    assert f"At λ = {fit.lambda_:.5g}" in text
    for name in fit.inside:
        assert f"\n  {name} " in text
    assert fit.sizes[fit.chosen] == len(fit.inside)


def test_predictions_between_two_lambdas_are_on_a_line(fit):
    new = np.column_stack([np.ones(3), np.arange(18.0).reshape(3, 6)])
    beta = 0.25 * fit.coefficients[4] + 0.75 * fit.coefficients[5]
    strength = 0.25 * fit.lambdas[4] + 0.75 * fit.lambdas[5]
    expected = 1 / (1 + np.exp(-(new @ beta + 0.5)))
    np.testing.assert_allclose(fit.predict(new, strength, offset=0.5), expected, rtol=1e-9)
    assert fit.predict().shape == (150,)
    with pytest.raises(ConfigError, match="lambda=9 is beyond the path, which goes from"):
        fit.predict(new, 9)
    with pytest.raises(ConfigError, match="do not have the model's 7 columns"):
        fit.predict(new[:, 1:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"values": [0.1, -0.2]}, "values=-0.2 is out of range: it must be at least 0"),
        ({"values": []}, "values are none"),
        ({"folds": 1}, "folds=1 leaves nothing to estimate from"),
        ({"folds": 200}, "folds=200 are more than the 150 rows; take at most 150"),
        ({"factors": {"x11": 0}}, "factors has x11, which is no column; did you mean x1?"),
        ({"factors": {"x1": -1}}, "factors.x1=-1 is out of range: it must be at least 0"),
        ({"factors": {f"x{j}": 0 for j in range(1, 7)}}, "all factors are 0"),
    ],
)
def test_paths_that_cannot_be_are_refused(settings, message):
    x, y, weights = sample(CASES["gaussian"])
    with pytest.raises(ConfigError) as error:
        path_of(regression(x, y, CASES["gaussian"], **weights), **settings)
    assert message in str(error.value)


def test_columns_and_responses_that_do_not_vary_are_refused():
    x, y, _ = sample(CASES["gaussian"])
    with pytest.raises(ConfigError, match="y is 1 in all rows"):
        path_of(regression(x, np.ones_like(y), CASES["gaussian"]))
    x[:, 2] = 4
    with pytest.raises(ConfigError, match="x3 is 4 in every row that counts"):
        path_of(regression(x, y, CASES["gaussian"]))


def test_negative_binomial_needs_its_alpha():
    x, y, _ = sample(CASES["negative-binomial"])
    with pytest.raises(ConfigError, match=r"glm\.alpha has to be given for a path"):
        path_of(regression(x, y, ModelConfig(family="negative_binomial")))


def test_model_without_a_null_mean_is_said_in_words():
    x, y, _ = sample(CASES["gamma"])
    learner = path_of(regression(np.abs(x), y, CASES["gamma"], intercept=False), folds=0)
    metrics = Program(learner, Runtime(), 0).run(0, 1)
    assert "a formula with an intercept" in learner.fault(metrics)


def test_too_few_iterations_are_said_in_words():
    x, y, _ = sample(CASES["poisson"])
    learner = path_of(regression(x, y, CASES["poisson"]), folds=0, iterations=1)
    metrics = Program(learner, Runtime(), 0).run(0, 2)
    assert "does not settle within iterations=1" in learner.fault(metrics)


def test_separated_responses_have_finite_estimates():
    x, _, _ = sample(CASES["binomial"])
    y = (x[:, 0] > np.median(x[:, 0])).astype(float)
    found = walked(regression(x, y, CASES["binomial"]), lambdas=20, ratio=1e-3, folds=3)
    assert np.all(np.isfinite(found.coefficients))
    assert found.explained[-1] > 0.95


def test_shares_of_the_path_are_checked_before_anything_is_read():
    with pytest.raises(ConfigError, match=r"mix=1\.5 is out of range"):
        PathConfig(mix=1.5)
