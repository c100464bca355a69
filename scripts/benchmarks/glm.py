"""The GLM suite: fits, paths and posteriors beside glum, scikit-learn, statsmodels, NumPyro."""

from frame import Case, Side

PEERS = "peers-glm.txt"
LOGISTIC = {"family": "binomial", "rows": 500_000, "columns": 50, "ridge": 0.0}
COMPILED = "from arrays to coefficients; ours are compiled for their size before"


def ours(work: dict, fits: int = 5) -> Side:
    return Side("workbench", "glm_fit.py", work | {"fits": fits})


def peer(name: str, work: dict, fits: int = 3) -> Side:
    return Side(name, "peers/glm_fit.py", work | {"peer": name, "fits": fits}, peers=PEERS)


def beside(title: str, work: dict, name: str, fits: int = 3) -> Case:
    return Case(title, sides=(ours(work), peer(name, work, fits)), by="fits/s", note=COMPILED)


def ridge(family: str) -> dict:
    return {"family": family, "rows": 600_000, "columns": 250, "ridge": 1e-3}


TITLE = "logistic regression of 500,000 x 50 to its optimum"
CASES: dict[str, Case] = {
    "logistic-glum": beside(TITLE, LOGISTIC, "glum"),
    "logistic-scikit-learn": beside(TITLE, LOGISTIC, "scikit-learn"),
    "logistic-statsmodels": beside(TITLE, LOGISTIC, "statsmodels", fits=1),
    "gamma-ridge": beside("gamma regression of 600,000 x 250, ridge", ridge("gamma"), "glum", 1),
    "poisson-ridge": beside(
        "Poisson regression of 600,000 x 250, ridge", ridge("poisson"), "glum", 1
    ),
}
