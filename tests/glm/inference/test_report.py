"""What a reader of a fit sees."""

import numpy as np
import pandas as pd
import pytest
from glm.inference.fits import fitted, regression
from PIL import Image

from workbench.glm.config import MleConfig
from workbench.glm.inference.fit import Fit
from workbench.glm.search import Estimate


def drawn(rows=120, **options):
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(rows), rng.normal(size=(rows, 2))])
    y = rng.poisson(np.exp(design @ [1, 0.5, 0]))
    names = ["Intercept", "age", "C(drug)[T.b]"]
    return fitted(
        regression(design, y, names, family="poisson", formula="y ~ age + drug"), **options
    )


def test_summary_is_the_table_that_statisticians_know():
    fit = drawn()
    text = fit.summary()
    for said in ("y ~ age + drug", "poisson", "log", "Deviance", "AIC", "model-based"):
        assert said in text
    head, *lines = text[text.index("coef") :].splitlines()
    assert head.split() == ["coef", "std", "err", "z", "P>|z|", "[0.025", "0.975]"]
    row = next(line.split() for line in lines if line.split()[:1] == ["C(drug)[T.b]"])
    shown = [fit.coefficients[2], fit.standard_errors[2], fit.statistics[2], fit.p_values[2]]
    np.testing.assert_allclose([float(cell) for cell in row[1:5]], shown, rtol=0.02)
    assert max(map(len, text.splitlines())) <= 92
    assert str(fit) == text


def test_frame_has_a_row_for_each_parameter():
    frame = drawn(level=0.9).to_frame()
    assert list(frame.index) == ["Intercept", "age", "C(drug)[T.b]"]
    assert list(frame.columns) == ["coefficient", "std_err", "z", "p_value", "low", "high"]
    width = (frame["high"] - frame["low"]) / frame["std_err"]
    np.testing.assert_allclose(width, 2 * 1.6448536269514722)


def test_files_keep_every_digit(tmp_path):
    fit = drawn()
    paths = fit.write(tmp_path)
    assert all(path.exists() for path in paths)
    names = {str(path.relative_to(tmp_path)) for path in paths}
    assert {"coefficients.csv", "covariance.csv", "tests.csv", "summary.txt"} <= names
    frame = pd.read_csv(tmp_path / "coefficients.csv", index_col=0, float_precision="round_trip")
    assert np.array_equal(frame["coefficient"], fit.coefficients)
    matrix = pd.read_csv(tmp_path / "covariance.csv", index_col=0, float_precision="round_trip")
    assert np.array_equal(matrix, fit.covariance)
    assert (tmp_path / "summary.txt").read_text(encoding="utf-8") == fit.summary()


def test_plots_are_pictures_of_a_readable_size(tmp_path):
    drawn().write(tmp_path)
    pictures = sorted((tmp_path / "plots").iterdir())
    names = ["coefficients.png", "influence.png", "quantiles.png", "residuals.png"]
    assert [path.name for path in pictures] == names
    for path in pictures:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width >= 800
            assert len(image.getcolors(1 << 20)) > 10


def test_counts_that_vary_too_much_are_told():
    rng = np.random.default_rng(0)
    y = rng.poisson(3 * rng.gamma(0.5, 2, 200))
    model = regression(np.ones((200, 1)), y, family="poisson")
    assert any("negative_binomial" in warning for warning in fitted(model).warnings)
    assert not fitted(model, dispersion="pearson").warnings
    assert not drawn().warnings


def test_quasi_likelihood_scales_errors():
    plain, quasi = drawn(), drawn(dispersion="pearson")
    ratio = plain.pearson_chi2 / plain.residual_freedom
    assert quasi.dispersion == pytest.approx(ratio)
    np.testing.assert_allclose(quasi.standard_errors, plain.standard_errors * np.sqrt(ratio))
    assert quasi.log_likelihood == plain.log_likelihood


def test_what_did_not_converge_says_so():
    fit = drawn()
    estimate = Estimate(fit.coefficients, np.zeros(3), fit.deviance, 7, False, None, "cholesky")
    stopped = Fit(fit.regression, estimate, MleConfig())
    assert "not converged after 7 iterations" in stopped.warnings[0]
    assert "7, not converged" in stopped.summary()


def test_few_clusters_are_told():
    model = drawn().regression
    clusters = np.arange(120, dtype=np.int32) % 6
    fit = fitted(
        regression(model.rows.design, model.rows.response, clusters=clusters, family="poisson"),
        covariance="cluster",
        clusters="g",
    )
    assert any("6 clusters are few" in warning for warning in fit.warnings)


def test_rows_that_only_fit_themselves_are_told():
    design = np.column_stack([np.ones(9), np.arange(9) == 4])
    y = np.array([2, 3, 1, 4, 9, 2, 1, 3, 2])
    warnings = fitted(regression(design, y, family="poisson")).warnings
    assert any("row 5" in warning for warning in warnings)


def test_rows_are_numbered_as_in_the_data():
    fit = drawn()
    object.__setattr__(fit.regression, "source", np.arange(120) * 2)
    assert fit.place(3) == 7


def test_a_mean_alone_has_its_files(tmp_path):
    fit = fitted(regression(np.ones((9, 1)), np.arange(9), family="poisson"))
    assert fit.deviance == pytest.approx(fit.null_deviance)
    assert all(path.exists() for path in fit.write(tmp_path))


def test_alpha_is_shown_with_its_error():
    rng = np.random.default_rng(0)
    y = rng.poisson(3 * rng.gamma(0.5, 2, 200))
    fit = fitted(regression(np.ones((200, 1)), y, family="negative_binomial"))
    assert "estimated alpha" in fit.summary()
    assert fit.to_frame().loc["alpha", "coefficient"] == fit.alpha
    assert fit.to_frame().loc["alpha", "std_err"] > 0
