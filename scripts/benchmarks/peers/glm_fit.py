"""Fits of glum, scikit-learn or statsmodels, alone: run by the peers' own Python.

Takes settings as one JSON argument and prints what it measured as JSON: `peer`, `family`, `rows`,
`columns`, `ridge` (λ of (1/2n) D + (λ/2) Σ β²), `fits`. Timed is the fastest of whole fits.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
from regressions import deviance, rows


def fitter(peer: str, family: str, ridge: float) -> Callable[..., np.ndarray]:
    """From design and response to coefficients with the intercept first."""
    if peer == "glum":
        from glum import GeneralizedLinearRegressor

        link = {"binomial": "logit", "poisson": "log", "gamma": "log"}[family]

        def fit(design: np.ndarray, response: np.ndarray) -> np.ndarray:
            found = GeneralizedLinearRegressor(
                family=family, link=link, alpha=ridge, l1_ratio=0, gradient_tol=1e-7
            ).fit(design, response)
            return np.append(found.intercept_, found.coef_)

    elif peer == "scikit-learn":
        from sklearn.linear_model import LogisticRegression

        def fit(design: np.ndarray, response: np.ndarray) -> np.ndarray:
            found = LogisticRegression(C=np.inf, tol=1e-6, max_iter=1000).fit(design, response)
            return np.append(found.intercept_, found.coef_)

    else:
        import statsmodels.api as sm

        kinds = sm.families
        kind = {"binomial": kinds.Binomial, "poisson": kinds.Poisson, "gamma": kinds.Gamma}[family]
        chosen = kind() if family != "gamma" else kind(kinds.links.Log())

        def fit(design: np.ndarray, response: np.ndarray) -> np.ndarray:
            return sm.GLM(response, sm.add_constant(design), family=chosen).fit().params

    return fit


def main() -> None:
    settings = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    design, response = rows(settings["family"], settings["rows"], settings["columns"])
    fit = fitter(settings["peer"], settings["family"], settings["ridge"])
    if settings["peer"] == "glum":
        design = np.asfortranarray(design)  # which it is quicker with
    seconds = []
    for _ in range(settings["fits"]):
        started = time.perf_counter()
        beta = fit(design, response)
        seconds.append(time.perf_counter() - started)
    reached = deviance(settings["family"], response, beta[0] + design @ beta[1:])
    print(json.dumps({"fits/s": 1 / min(seconds), "deviance": reached}))


if __name__ == "__main__":
    main()
