"""The tables of statsmodels, NIST and posteriordb come with what they are known for."""

import json
import subprocess
import sys

import numpy as np
import pytest

from workbench.core.config import ConfigError, build
from workbench.datasets.tables.config import (
    STATSMODELS,
    NistConfig,
    PosteriordbConfig,
    StatsmodelsConfig,
)
from workbench.datasets.tables.statsmodels import KNOWN
from workbench.glm.config import ModelConfig
from workbench.glm.formula import regression_of

# As NIST lays such files out; y = 1 + 2 x², twice, with errors of ±1.
POLYNOMIAL = """NIST/ITL StRD
Dataset Name:  Mine (Mine.dat)

File Format:   ASCII
               Certified Values  (lines 31 to 44)
               Data              (lines 61 to 64)

Data:          1 Response Variable (y)
               1 Predictor Variable (x)

Model:         Polynomial Class
               y = B0 + B1*x + B2*(x**2)

     Parameter         Estimate               of Estimate

        B0        1.00000000000000         0.500000000000000E-01
        B1       -0.000000000000000        0.250000000000000
        B2        2.00000000000000         0.125000000000000E+00

     Residual
     Standard Deviation   0.100000000000000E+01

     R-Squared            1.00000000000000

Data:          y       x
               0.00    0
               2.00    0
               2.00    1
               4.0E+00    -1.0
"""
POSTERIOR = {
    "data_values": {"N": 2, "y": [1, 2], "X": [[1, 2], [3, 4]]},
    "summary": {"beta[1]": {"mean": 0.5, "sd": 0.1, "mcse_mean": 0.001}},
    "n_chains": 10,
    "n_draws_per_chain": 1000,
}


def refusal(config):
    with pytest.raises(ConfigError) as error:
        config.check()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", STATSMODELS)
def test_every_table_of_statsmodels_has_a_model_that_fits_it(name):
    regression = regression_of(build(StatsmodelsConfig(name=name)), ModelConfig())
    assert (regression.model.formula, regression.family.key) == (
        KNOWN[name].formula,
        KNOWN[name].family,
    )
    assert regression.dropped == 0
    assert len(regression.rows.response) > regression.rows.design.shape[1]


def test_nists_polynomials_become_formulas_with_their_certified_results(tmp_path):
    (tmp_path / "Mine.dat").write_text(POLYNOMIAL)
    table = build(NistConfig(name="mine", path=str(tmp_path)))
    assert table.formula == "y ~ x + I(x ** 2)"
    np.testing.assert_array_equal(table.frame(), [[0, 0], [2, 0], [2, 1], [4, -1]])
    np.testing.assert_array_equal(table.certified.coefficients, [1, 0, 2])
    np.testing.assert_array_equal(table.certified.errors, [0.05, 0.25, 0.125])
    assert table.certified.deviation == 1


def test_a_model_of_nists_without_b0_has_no_intercept(tmp_path):
    text = POLYNOMIAL.replace("        B0        1.00000000000000         0.50", "        . ")
    (tmp_path / "Mine.dat").write_text(text)
    assert build(NistConfig(name="mine", path=str(tmp_path))).formula == "y ~ 0 + x + I(x ** 2)"


def test_several_predictors_of_nists_add_up(tmp_path):
    text = POLYNOMIAL.replace("y       x\n", "y       x1\n").split("Data:          y")[0]
    (tmp_path / "Mine.dat").write_text(f"{text}Data:  y  x1  x2\n 1 2 3\n 4 5 6\n")
    assert build(NistConfig(name="mine", path=str(tmp_path))).formula == "y ~ x1 + x2"


def test_posteriordbs_arrays_become_columns_and_the_rest_constants(tmp_path):
    (tmp_path / "mine-model.json").write_text(json.dumps(POSTERIOR))
    table = build(PosteriordbConfig(name="mine-model", path=str(tmp_path)))
    assert table.columns == ["y", "X1", "X2"]
    assert table.frame()["X2"].tolist() == [2, 4]
    assert table.constants == {"N": 2}
    assert table.reference["beta[1]"]["mean"] == 0.5
    assert table.draws == 10_000


def test_collections_are_found_where_workbench_data_says(tmp_path, monkeypatch):
    (tmp_path / "nist_strd").mkdir()
    (tmp_path / "nist_strd" / "Mine.dat").write_text(POLYNOMIAL)
    monkeypatch.setenv("WORKBENCH_DATA", str(tmp_path))
    assert build(NistConfig(name="mine")).name == "Mine"


def test_a_name_that_is_not_there_is_refused_with_the_nearest(tmp_path, monkeypatch):
    (tmp_path / "Longley.dat").write_text(POLYNOMIAL)
    assert "did you mean longley?" in refusal(NistConfig(name="longly", path=str(tmp_path)))
    assert "set WORKBENCH_DATA" in refusal(PosteriordbConfig(path=str(tmp_path)))
    with pytest.raises(ConfigError, match="did you mean star98"):
        StatsmodelsConfig(name="star89")


@pytest.mark.parametrize("content", ["", "Data: y x\n1 2\n", POLYNOMIAL.replace("2.00    0", "2")])
def test_a_file_that_is_none_of_nists_is_refused(tmp_path, content):
    (tmp_path / "mine.dat").write_text(content)
    with pytest.raises(ConfigError, match="is no file of NIST's"):
        build(NistConfig(name="mine", path=str(tmp_path)))


def test_a_file_that_is_none_of_posteriordbs_is_refused(tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(ConfigError, match="is no file of posteriordb's"):
        build(PosteriordbConfig(name="mine", path=str(tmp_path)))


def test_configurations_of_tables_import_no_pandas():
    code = "import sys, workbench.schema; print(*{'pandas', 'tensorflow'} & {*sys.modules})"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""
