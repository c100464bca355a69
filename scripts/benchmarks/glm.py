"""The GLM suite: fits, paths and posteriors beside glum, scikit-learn, statsmodels, NumPyro."""

from frame import Case, Side

PEERS = "peers-glm.txt"
LOGISTIC = {"family": "binomial", "rows": 500_000, "columns": 50, "ridge": 0.0}
COMPILED = (
    "from a design, in the memory order that each likes best; ours is compiled for its size before"
)


def ours(work: dict, fits: int = 5) -> Side:
    return Side("workbench", "glm_fit.py", work | {"fits": fits})


def peer(name: str, work: dict, fits: int = 3) -> Side:
    return Side(name, "peers/glm_fit.py", work | {"peer": name, "fits": fits}, peers=PEERS)


def beside(title: str, work: dict, name: str, fits: int = 3) -> Case:
    return Case(title, sides=(ours(work), peer(name, work, fits)), by="fits/s", note=COMPILED)


def ridge(family: str) -> dict:
    return {"family": family, "rows": 600_000, "columns": 250, "ridge": 1e-3}


def path(family: str) -> Case:
    work = {"family": family, "rows": 100_000, "columns": 100, "runs": 3}
    options = {"mix": 0.9, "lambdas": 100, "ratio": 1e-3, "folds": 0}
    own = Side("workbench", "glm_other.py", work | {"method": "path", "options": options})
    return Case(
        f"100 values of an elastic net's λ, {family} regression of 100,000 x 100",
        sides=(own, Side("glum", "peers/glum_path.py", work | options, peers=PEERS)),
        by="paths/s",
        note=COMPILED,
    )


def posterior(by: str, chains: int, draws: int, warm_up: int) -> Case:
    """Beside NumPyro at its best: with a diagonal mass, it takes six times as long."""
    work = {"family": "binomial", "rows": 1000, "columns": 25, "runs": 2}
    options = {"chains": 64, "draws": 500, "warm_up": 100}
    own = Side("workbench", "glm_other.py", work | {"method": "bayes", "options": options})
    nuts = {"chains": chains, "draws": draws, "warm_up": warm_up, "dense": True}
    return Case(
        "draws of a logistic regression's posterior, 1000 x 25: smallest effective sample size",
        sides=(own, Side("NumPyro", "peers/numpyro_nuts.py", work | nuts, peers=PEERS)),
        by=by,
        note="warming up is timed; ESS is ArviZ' bulk one of the worst coefficient, on both sides",
    )


def parquet(rows: int) -> Side:
    return Side(f"{rows:,} rows", "glm_parquet.py", {"rows": rows, "columns": 20})


TITLE = "logistic regression of 500,000 x 50 to its optimum"
CASES: dict[str, Case] = {
    "logistic-glum": beside(TITLE, LOGISTIC, "glum"),
    "logistic-scikit-learn": beside(TITLE, LOGISTIC, "scikit-learn"),
    "logistic-statsmodels": beside(TITLE, LOGISTIC, "statsmodels", fits=1),
    "gamma-ridge": beside("gamma regression of 600,000 x 250, ridge", ridge("gamma"), "glum", 1),
    "poisson-ridge": beside(
        "Poisson regression of 600,000 x 250, ridge", ridge("poisson"), "glum", 1
    ),
    "path-gaussian": path("gaussian"),
    "path-binomial": path("binomial"),
    "posterior": posterior("ESS/s", 16, 1000, 300),
    "posterior-compiling": posterior("ESS/s with compiling", 64, 500, 200),
    "parquet": Case(
        "logistic regression of a Parquet file with 20 columns, to its optimum",
        sides=(parquet(50_000_000), parquet(5_000_000)),
        by="million rows/s",
    ),
}
