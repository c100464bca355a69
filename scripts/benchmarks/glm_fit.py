"""Fits of a generalised linear model by maximum likelihood, alone.

Takes settings as one JSON argument and prints what it measured as JSON: `family`, `rows`,
`columns`, `ridge` (λ of (1/2n) D + (λ/2) Σ β²), `fits`. Timed is the fastest of whole fits, from
the design to coefficients; compiling, which needs to be done once for a size, is told apart.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from regressions import deviance, rows

from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.glm import links
from workbench.glm.config import MleConfig
from workbench.glm.families import FAMILIES, Family
from workbench.glm.learner import MaximumLikelihood
from workbench.glm.rows import Rows, empty


def main() -> None:
    settings = json.loads(sys.argv[1])
    design, response = rows(settings["family"], settings["rows"], settings["columns"])
    link = links.logit if settings["family"] == "binomial" else links.log
    family = FAMILIES[settings["family"]](link)
    # As it is best in memory, with the intercept's column.
    whole = empty([len(design), design.shape[1] + 1])
    whole[:, 0], whole[:, 1:] = 1, design
    seconds, compiled = [], []
    for _ in range(settings["fits"]):
        started = time.perf_counter()
        beta, compiling = fit(family, whole, response, settings["ridge"])
        seconds.append(time.perf_counter() - started - compiling)
        compiled.append(compiling)
    reached = deviance(settings["family"], response, beta[0] + design @ beta[1:])
    figures = {"fits/s": 1 / min(seconds), "deviance": reached}
    print(json.dumps(figures | {"seconds to compile": min(compiled)}))


def fit(
    family: Family, design: np.ndarray, response: np.ndarray, ridge: float
) -> tuple[np.ndarray, float]:
    """Coefficients, the intercept's first, and how long compiling took."""
    count, columns = len(design), design.shape[1] - 1
    names = ["Intercept", *(f"x{number}" for number in range(columns))]
    penalty = np.full(columns + 1, ridge * count)
    penalty[0] = 0
    config = MleConfig(tolerance=1e-10)
    learner = MaximumLikelihood(config, family, Rows.of(design, response), names, penalty)
    program = Program(learner, Runtime(), seed=0)
    started = time.perf_counter()
    program.compile()
    compiling = time.perf_counter() - started
    for step in range(config.iterations):
        metrics = program.run(step, 1)
        if learner.done(metrics):
            return learner.estimate.coefficients, compiling
        if fault := learner.fault(metrics):
            raise SystemExit(fault)
    raise SystemExit("not converged")


if __name__ == "__main__":
    main()
