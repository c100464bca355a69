"""Models from Python: `workbench.fit` needs no run folder and says in one line what is wrong."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

import workbench
from workbench.compose import compose_experiment, experiments, parse_overrides
from workbench.core.config import ConfigError

DRAWS = np.random.default_rng(0)
DATA = pd.DataFrame(
    {
        "x": DRAWS.normal(size=60),
        "group": DRAWS.choice(["a", "b", "c"], 60),
        "time": DRAWS.uniform(1, 3, 60),
        "times": DRAWS.integers(1, 4, 60),
    }
)
DATA["y"] = DRAWS.poisson(DATA["time"] * np.exp(0.5 + 0.3 * DATA["x"]))
FORMULA = "y ~ x + C(group)"


def refusal(*args, **options):
    with pytest.raises(ConfigError) as error:
        workbench.fit(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def fit():
    return workbench.fit(FORMULA, DATA, "poisson", exposure="time", frequency_weights="times")


def test_a_fit_is_statsmodels(fit):
    other = smf.glm(
        FORMULA,
        DATA,
        family=sm.families.Poisson(),
        exposure=DATA["time"].to_numpy(),
        freq_weights=DATA["times"].to_numpy(),
    ).fit(tol=1e-14)
    places = [
        fit.names.index(name) for name in ("Intercept", "x", "C(group)[T.b]", "C(group)[T.c]")
    ]
    names = ["Intercept", "x", "C(group)[T.b]", "C(group)[T.c]"]
    np.testing.assert_allclose(fit.coefficients[places], other.params[names], rtol=1e-8)
    assert "x" in str(fit.summary())


def test_a_fit_predicts_new_rows(fit):
    new = pd.DataFrame({"x": [0.5], "group": ["b"], "time": [2.0]})
    b = dict(zip(fit.names, fit.coefficients, strict=True))
    mean = 2 * np.exp(b["Intercept"] + 0.5 * b["x"] + b["C(group)[T.b]"])
    np.testing.assert_allclose(fit.predict(new)["mean"], mean)
    with pytest.raises(ConfigError, match="group has categories that the estimation has not seen"):
        fit.predict(new.assign(group="d"))


def test_data_are_a_frame_or_arrays_or_a_path_and_weights_are_columns_or_arrays(fit, tmp_path):
    DATA.to_csv(tmp_path / "mine.csv", index=False)
    columns = {"exposure": "time", "frequency_weights": "times"}
    arrays = {role: DATA[name].to_numpy() for role, name in columns.items()}
    for data, roles in [
        ({name: DATA[name].to_numpy() for name in DATA}, columns),
        (tmp_path / "mine.csv", columns),
        (DATA[["y", "x", "group"]], arrays),
    ]:
        found = workbench.fit(FORMULA, data, "poisson", **roles)
        np.testing.assert_allclose(found.coefficients, fit.coefficients, rtol=1e-9)


def test_options_are_the_methods():
    strong = workbench.fit(FORMULA, DATA, "poisson", ridge=1e6)
    assert np.abs(strong.coefficients[1:]).max() < 1e-3


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        ((FORMULA, DATA, "poison"), {}, "did you mean poisson?"),
        ((FORMULA, DATA), {"method": "mlee"}, "method=mlee is not a choice; did you mean mle?"),
        ((FORMULA, DATA), {"rigde": 1}, "there is no option rigde; did you mean ridge?"),
        ((FORMULA, DATA), {"ridge": "much"}, "an option is of the wrong kind"),
        ((FORMULA, DATA), {"link": "logg"}, "did you mean log?"),
        ((FORMULA, [1, 2]), {}, "data is list: give a data frame"),
        ((FORMULA, {"y": [1], "x": [1, 2]}), {}, "data: "),
        ((FORMULA, "none.csv"), {}, "none.csv is not there"),
        ((FORMULA, DATA), {"offset": np.ones(3)}, "(offset): Length of values"),
        ((FORMULA, DATA), {"offset": "tiem"}, "did you mean time?"),
        (("y ~ xx", DATA), {}, "there is no column xx"),
        (("y ~ x * C(x)", DATA), {}, "columns are too many for 60 rows"),
        (("I(x > 0) ~ x", DATA, "binomial"), {}, "perfect separation: x"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, options, said):
    assert said in refusal(*arguments, **options)


def test_importing_workbench_imports_neither_tensorflow_nor_pandas():
    code = "import workbench, sys; print(*{'pandas', 'tensorflow'}.intersection(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


@pytest.mark.parametrize("name", [name for name in experiments() if name.startswith("glm/")])
def test_experiments_say_what_they_are(name):
    config = compose_experiment([f"experiment={name}"])
    assert config.name == name
    assert config.description


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + C(group)",
        "a + b ~ x * z - 1 + I(x ** 2)",
        "y ~ x + (1 + x | group)",
        'y ~ C(group, Treatment("b"))',
        "y ~ C(group, levels=['a', 'b'])",
        "y ~ `my column`",
    ],
)
def test_formulas_need_no_quotes_beyond_the_shells(formula):
    config = compose_experiment(["experiment=glm/csv", f"glm.formula={formula}"])
    assert config.glm.formula == formula


def test_quoted_formulas_are_choices_of_a_sweep():
    (override,) = parse_overrides(["glm.formula='y ~ x','y ~ z'"])
    assert override.is_sweep_override()
