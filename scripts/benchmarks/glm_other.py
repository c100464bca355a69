"""Paths of penalised estimates, and posteriors, alone.

Takes settings as one JSON argument and prints what it measured as JSON: `family`, `rows`,
`columns`, `method` and `options` of it. Timed is the fastest of `runs` whole runs from arrays on;
compiling, which needs to be done once for a size, is told apart.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent / "peers"))
from regressions import posterior, rows

from workbench.core.config import build
from workbench.core.program import Program
from workbench.core.runtime import Runtime
from workbench.glm.config import BayesConfig, GlmConfig, ModelConfig, PathConfig
from workbench.glm.families import family_of
from workbench.glm.regression import Regression
from workbench.glm.rows import Rows


def main() -> None:
    settings = json.loads(sys.argv[1])
    measure = paths if settings["method"] == "path" else draws
    runs = [measure(settings, seed) for seed in range(settings["runs"])]
    best = {name: max(run[name] for run in runs) for name in runs[0]}
    # Of a process' first run: what is compiled later finds some of TensorFlow warm.
    best |= {name: value for name, value in runs[0].items() if "compiling" in name}
    print(json.dumps(best))


def regression(settings: dict, design: np.ndarray, response: np.ndarray, intercept: bool):
    model = ModelConfig(family=settings["family"])
    names = [f"x{number}" for number in range(design.shape[1])]
    if intercept:
        whole = np.empty([len(design), design.shape[1] + 1])
        whole[:, 0], whole[:, 1:] = 1, design
        design, names = whole, ["Intercept", *names]
    terms = {name: [column] for column, name in enumerate(names)}
    return Regression(model, family_of(model), Rows.of(design, response), names, terms, "y")


def paths(settings: dict, seed: int) -> dict[str, float]:
    design, response = rows(settings["family"], settings["rows"], settings["columns"])
    started = time.perf_counter()
    found = regression(settings, design, response, intercept=True)
    config = PathConfig(**settings["options"])
    assembly = build(config, found, GlmConfig(), seed)
    program = Program(assembly.learner, Runtime(), seed)
    ready = time.perf_counter()
    program.compile()
    compiled = time.perf_counter()
    metrics = program.run(0, assembly.learner.limit)
    ended = time.perf_counter()
    path = assembly.result()
    return {
        "paths/s": 1 / (ended - compiled + ready - started),
        "paths/s with compiling": 1 / (ended - started),
        "smallest lambda": float(path.lambdas[-1]),
        "largest |coefficient|": float(np.abs(path.coefficients[-1]).max()),
        "passes": metrics.get("passes", 0.0),
    }


def draws(settings: dict, seed: int) -> dict[str, float]:
    import arviz as az

    design, response = posterior(settings["rows"], settings["columns"])
    started = time.perf_counter()
    found = regression(settings, design, response, intercept=False)
    config = BayesConfig(
        priors={"default": {"kind": "normal", "scale": 1.0}}, **settings["options"]
    )
    assembly = build(config, found, GlmConfig(), seed)
    learner = assembly.learner
    program = Program(learner, Runtime(), seed)
    ready = time.perf_counter()
    program.compile()
    compiled = time.perf_counter()
    program.run(0, learner.limit)
    ended = time.perf_counter()
    beta = learner.posterior.constrained(learner.draws)["beta"]
    kept = az.convert_to_dataset({"beta": np.asarray(beta)})
    size = float(az.ess(kept)["beta"].min())
    return {
        "ESS/s": size / (ended - compiled + ready - started),
        "ESS/s with compiling": size / (ended - started),
        "R-hat": float(az.rhat(kept)["beta"].max()),
        "ESS": size,
    }


if __name__ == "__main__":
    main()
