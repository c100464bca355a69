"""The tables that come with statsmodels, each with the model that it is known for."""

import importlib
from dataclasses import dataclass

from workbench.datasets.tables.config import StatsmodelsConfig
from workbench.datasets.tables.frame import FrameTable


@dataclass(frozen=True)
class Known:
    """What a table is known for.

    Attributes:
      formula: what is explained by what.
      family: the distribution of the response.
    """

    formula: str
    family: str = "gaussian"


# Where statsmodels' tests have published results, they are those of the same formula.
KNOWN = {
    "anes96": Known("vote ~ TVnews + selfLR + PID + age + educ + income + logpopul", "binomial"),
    "cancer": Known("cancer ~ np.log(population)", "poisson"),
    "ccard": Known("AVGEXP ~ AGE + INCOME + INCOMESQ + OWNRENT"),
    "committee": Known(
        "BILLS104 ~ SIZE + SUBS * np.log(STAFF) + PRESTIGE + BILLS103", "negative_binomial"
    ),
    "copper": Known("WORLDCONSUMPTION ~ ."),
    "cpunish": Known(
        "EXECUTIONS ~ INCOME + PERPOVERTY + PERBLACK + np.log(VC100k96) + SOUTH + DEGREE", "poisson"
    ),
    "engel": Known("foodexp ~ income"),
    "fair": Known("affairs ~ 0 + rate_marriage + age + yrs_married", "tweedie"),
    "grunfeld": Known("invest ~ value + capital + firm"),
    "longley": Known("TOTEMP ~ ."),
    "randhie": Known("mdvis ~ .", "poisson"),
    "scotland": Known("YES ~ .", "gamma"),
    "spector": Known("GRADE ~ GPA + TUCE + PSI", "binomial"),
    "stackloss": Known("STACKLOSS ~ ."),
    "star98": Known("NABOVE + NBELOW ~ .", "binomial"),
    "statecrime": Known("murder ~ urban + poverty + hs_grad + single"),
    "strikes": Known("duration ~ iprod", "gamma"),
}


def build(config: StatsmodelsConfig) -> FrameTable:
    """The table of a name; names of districts and states are left out, as statsmodels does."""
    module = importlib.import_module(f"statsmodels.datasets.{config.name}")
    known = KNOWN[config.name]
    return FrameTable(module.load_pandas().data, config.name, known.formula, known.family)
