"""A fit for readers: the table that statisticians know, warnings in words, and files."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from workbench.glm.families import Tweedie
from workbench.glm.inference import plots

if TYPE_CHECKING:
    import pandas as pd

    from workbench.glm.inference.fit import Fit

# Of the summary at the least, and what names leave of it.
WIDTH, BESIDE = 92, 76
COVARIANCES = {
    "model": "model-based",
    "hc0": "HC0 (robust)",
    "hc1": "HC1 (robust)",
    "hc2": "HC2 (robust)",
    "hc3": "HC3 (robust)",
    "cluster": "clustered",
}
SOLVERS = {"cholesky": "Fisher scoring", "qr": "Fisher scoring, QR", "lbfgs": "L-BFGS"}
# Products of numbers up to which all terms are tested by refits when a run ends.
REFITS = 5e9
# 1 / (1 - R²) of a column on the others, from which digits are few.
COLLINEAR = 1e8
FEW_CLUSTERS = 40


def frame(fit: "Fit") -> "pd.DataFrame":
    """Parameters by name."""
    import pandas as pd

    low, high = fit.intervals().T
    return pd.DataFrame(
        {
            "coefficient": fit.parameters,
            "std_err": fit.standard_errors,
            fit.test: fit.statistics,
            "p_value": fit.p_values,
            "low": low,
            "high": high,
        },
        index=pd.Index(fit.names, name="term"),
    )


def summary(fit: "Fit") -> str:
    """As plain text."""
    text = io.StringIO()
    width = max(WIDTH, BESIDE + max(map(len, fit.names)))
    console = Console(file=text, width=width, color_system=None, legacy_windows=False)
    console.print("Generalised linear model", justify="center", highlight=False)
    if formula := fit.regression.model.formula:
        console.print(formula, justify="center", highlight=False, markup=False)
    console.print(_header(fit))
    console.print(_coefficients(fit))
    for line in fit.warnings:
        console.print(f"Note: {line}.", highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _header(fit: "Fit") -> Table:
    estimate = fit.estimate
    table = Table(box=box.SIMPLE_HEAD, show_header=False, expand=True)
    for justify in ("left", "right", "left", "right"):
        table.add_column(justify=justify)  # type: ignore[arg-type]
    family = fit.family.key.replace("_", " ")
    if fit.alpha is not None:
        family += f" ({'estimated' if fit.estimates_alpha else 'given'} alpha = {fit.alpha:.5g})"
    if isinstance(fit.family, Tweedie):
        family += f" (p = {fit.family.power:g})"
    iterations = f"{estimate.iterations}{'' if estimate.converged else ', not converged'}"
    pairs = [
        ("Response", fit.regression.response),
        ("Observations", f"{fit.observations:g}"),
        ("Family", family),
        ("Df residuals", f"{fit.residual_freedom:.6g}"),
        ("Link", fit.family.link.name.replace("_", " ")),
        ("Df model", f"{fit.model_freedom - 1:.6g}"),
        ("Method", SOLVERS.get(estimate.solver, estimate.solver)),
        ("Dispersion φ", f"{fit.dispersion:.6g}"),
        ("Iterations", iterations),
        ("Log-likelihood", f"{fit.log_likelihood:.8g}"),
        ("Covariance", COVARIANCES[fit.options.covariance]),
        ("Deviance", f"{fit.deviance:.8g}"),
        ("AIC", f"{fit.aic:.8g}"),
        ("Null deviance", f"{fit.null_deviance:.8g}"),
        ("BIC", f"{fit.bic:.8g}"),
        ("Pearson χ²", f"{fit.pearson_chi2:.8g}"),
    ]
    for left, right in zip(pairs[::2], pairs[1::2], strict=True):
        table.add_row(*left, *right)
    return table


def _coefficients(fit: "Fit") -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True)
    tail = (1 - fit.options.level) / 2
    table.add_column("", no_wrap=True, min_width=max(map(len, fit.names)))
    heads = ("coef", "std err", fit.test, f"P>|{fit.test}|", f"[{tail:.4g}", f"{1 - tail:.4g}]")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, row in frame(fit).iterrows():
        value, error, statistic, chance, low, high = row
        cells = (f"{number:.5g}" for number in (value, error))
        ends = (f"{number:.5g}" for number in (low, high))
        table.add_row(str(name), *cells, f"{statistic:.3f}", _chance(chance), *ends)
    return table


def _chance(value: float) -> str:
    return f"{value:.3f}" if not value < 0.001 else "<0.001"


def warnings(fit: "Fit") -> list[str]:
    """What should keep a reader from believing the numbers as they stand."""
    found = []
    if not fit.estimate.converged:
        found.append(
            f"the estimate has not converged after {fit.estimate.iterations} iterations; raise "
            "method.iterations"
        )
    if fit.residual_freedom <= 0:
        found.append("there are as many coefficients as observations, which leaves no errors")
    if fit.penalised:
        found.append(
            "a ridge penalty shrinks the coefficients; standard errors are those of the posterior "
            "under it"
        )
    return found + _on_spread(fit) + _on_columns(fit) + _on_rows(fit)


def _on_spread(fit: "Fit") -> list[str]:
    if fit.estimates_alpha and fit.alpha is not None and fit.alpha < 1e-6:
        return ["alpha is estimated to be 0: family=poisson says the same, more simply"]
    single = fit.family.key == "binomial" and not np.any(fit.rows.weight > 1)
    if fit.dispersed or single or fit.residual_freedom <= 0:
        return []
    ratio = fit.pearson_chi2 / fit.residual_freedom
    if ratio < 1.5 or stats.chi2.sf(fit.pearson_chi2, fit.residual_freedom) > 1e-3:
        return []
    other = "glm.family=negative_binomial or " if fit.family.key == "poisson" else ""
    remedy = f"{other}method.dispersion=pearson" if fit.options.covariance == "model" else ""
    return [
        f"Pearson's χ² is {ratio:.3g} times its degrees of freedom: responses vary more than "
        f"{fit.family.key.replace('_', ' ')} ones do"
        + (f", and standard errors are too small; try {remedy}" if remedy else "")
    ]


def _on_columns(fit: "Fit") -> list[str]:
    found = []
    lengths = np.sum(np.linalg.inv(fit.upper) ** 2, 1) * np.sum(fit.upper**2, 0)
    close = [fit.regression.names[i] for i in np.flatnonzero(lengths > COLLINEAR)]
    if close:
        digits = int(np.ceil(np.log10(np.sqrt(lengths.max()))))
        found.append(
            f"{_listed(close)} nearly {'is' if len(close) == 1 else 'are'} combinations of other "
            f"columns: about {digits} digits of the coefficients are lost to rounding"
        )
    if fit.options.covariance == "cluster" and fit.clusters < FEW_CLUSTERS:
        found.append(f"{fit.clusters} clusters are few: standard errors tend to be too small")
    return found


def _on_rows(fit: "Fit") -> list[str]:
    found = []
    if fit.family.key == "binomial":
        certain = np.minimum(fit.fitted, 1 - fit.fitted) < 1e-8
        if certain.any():
            found.append(f"{np.count_nonzero(certain)} fitted shares are 0 or 1 but for rounding")
    exact = np.flatnonzero(fit.leverage > 1 - 1e-8)
    if len(exact):
        found.append(
            f"{len(exact)} rows are fitted exactly, whatever their response is, the first of them "
            f"row {fit.place(exact[0])}"
        )
    return found


def _listed(names: list[str]) -> str:
    if len(names) > 4:
        return f"{', '.join(names[:3])} and {len(names) - 3} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def write(fit: "Fit", folder: Path) -> list[Path]:
    """Tables in full precision, the summary and plots."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    tables = {
        "coefficients.csv": frame(fit),
        "covariance.csv": pd.DataFrame(
            fit.covariance, index=pd.Index(fit.names, name="term"), columns=fit.names
        ),
    }
    if fit.regression.terms:
        tables["tests.csv"] = fit.drop_one(_affordable(fit))
    paths = []
    for name, table in tables.items():
        # Numbers as repr has them, from which they come back to the last bit.
        table.to_csv(folder / name)
        paths.append(folder / name)
    (folder / "summary.txt").write_text(fit.summary(), encoding="utf-8")
    return [*paths, folder / "summary.txt", *plots.write(fit, folder / "plots")]


def _affordable(fit: "Fit") -> str:
    rows, columns = fit.rows.design.shape
    cost = rows * columns**2 * len(fit.regression.terms)
    return "likelihood_ratio" if cost <= REFITS else "wald"
