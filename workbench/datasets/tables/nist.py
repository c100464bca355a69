"""NIST's Statistical Reference Datasets: linear regressions whose results are certified.

https://www.itl.nist.gov/div898/strd/lls/lls.shtml
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.core.config import ConfigError, located
from workbench.datasets.tables.config import NistConfig
from workbench.datasets.tables.frame import FrameTable
from workbench.datasets.tables.shared import file_of

NUMBER = r"[-+]?\d*\.?\d+(?:E[-+]?\d+)?"
CERTIFIED = re.compile(rf"^\s*B(\d+)\s+({NUMBER})\s+({NUMBER})\s*$", re.MULTILINE)
RESIDUAL = re.compile(rf"Residual\s+Standard Deviation\s+({NUMBER})")


@dataclass(frozen=True, eq=False)
class Certified:
    """Results to 15 digits.

    Attributes:
      coefficients: of the formula's columns, in order.
      errors: their standard errors.
      deviation: the residual standard deviation.
    """

    coefficients: np.ndarray
    errors: np.ndarray
    deviation: float


class NistTable(FrameTable):
    """A table with certified results of its usual model.

    Attributes:
      certified: the results.
    """

    def __init__(self, frame: pd.DataFrame, name: str, formula: str, certified: Certified):
        super().__init__(frame, name, formula, "gaussian")
        self.certified = certified


def build(config: NistConfig) -> NistTable:
    """Reads a file of the collection.

    Raises:
      ConfigError: when it is not there, or is no such file.
    """
    with located("dataset"):
        path = file_of("nist_strd", config.path, config.name, ".dat")
    text = path.read_text(encoding="latin-1")
    try:
        return _parsed(text, path)
    except (IndexError, ValueError):
        raise ConfigError(f"{path} is no file of NIST's; get it again") from None


def _parsed(text: str, path: Path) -> NistTable:
    # The last of the sections of this name; the head describes what is in it.
    header, *rows = text[text.rindex("Data:") :].strip().splitlines()
    names = header.removeprefix("Data:").split()
    values = np.array([[float(word) for word in row.split()] for row in rows])
    frame = pd.DataFrame(dict(zip(names, values.T, strict=True)))
    found = CERTIFIED.findall(text)
    orders = [int(order) for order, _, _ in found]
    numbers = np.array([[float(value) for value in pair] for _, *pair in found])
    (deviation,) = RESIDUAL.findall(text)
    certified = Certified(numbers[:, 0], numbers[:, 1], float(deviation))
    return NistTable(frame, path.stem, _formula(names, orders), certified)


def _formula(names: list[str], orders: list[int]) -> str:
    """The model: of several predictors their sum, of one a polynomial."""
    response, *predictors = names
    if len(predictors) > 1:
        terms = predictors
    else:
        (x,) = predictors
        terms = [x if order == 1 else f"I({x} ** {order})" for order in orders if order]
    return f"{response} ~ {' + '.join(terms if 0 in orders else ['0', *terms])}"
