"""A path of penalised estimates by glum, alone: run by the peers' own Python.

Takes settings as one JSON argument and prints what it measured as JSON.
"""

import json
import sys
import time
import warnings

import numpy as np
from glum import GeneralizedLinearRegressor
from regressions import rows


def main() -> None:
    settings = json.loads(sys.argv[1])
    warnings.simplefilter("ignore")
    design, response = rows(settings["family"], settings["rows"], settings["columns"])
    family = {"gaussian": "normal"}.get(settings["family"], settings["family"])
    seconds = []
    for _ in range(settings["runs"]):
        model = GeneralizedLinearRegressor(
            family=family,
            alpha_search=True,
            n_alphas=settings["lambdas"],
            min_alpha_ratio=settings["ratio"],
            l1_ratio=settings["mix"],
            scale_predictors=True,
        )
        started = time.perf_counter()
        model.fit(design, response)
        seconds.append(time.perf_counter() - started)
    figures = {
        "paths/s": 1 / min(seconds),
        "smallest lambda": float(model._alphas[-1]),
        "largest |coefficient|": float(np.abs(model.coef_path_[-1]).max()),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
