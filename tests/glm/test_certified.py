"""NIST's certified linear regressions, all eleven of them, digit by digit.

Certified values are checked, too: against exact rational arithmetic. Five of the data sets are
written down here, for their numbers are few or follow a rule.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from glm.fits import fitted, names_of

from workbench.datasets.tables.config import NistConfig
from workbench.datasets.tables.nist import build
from workbench.glm.config import MleConfig, ModelConfig
from workbench.glm.families import Gaussian
from workbench.glm.formula import regression_of
from workbench.glm.inference.fit import Fit
from workbench.glm.refinement import refined
from workbench.glm.regression import Regression
from workbench.glm.rows import Rows

FILES = Path(__file__).parent / "nist_strd"
FROM_FILES = ("Longley", "Norris", "Wampler1", "Wampler2", "NoInt1", "Filip")

PONTIUS = """
.11019 .21956 .32949 .43899 .54803 .65694 .76562 .87487 .98292 1.09146 1.20001 1.30822 1.41599
1.52399 1.63194 1.73947 1.84646 1.95392 2.06128 2.16844 .11052 .22018 .32939 .43886 .54798 .65739
.76596 .87474 .98300 1.09150 1.20004 1.30818 1.41613 1.52408 1.63159 1.73965 1.84696 1.95445
2.06177 2.16829
"""
# What is added to 1 + x + … + x⁵, at x = 0, 1, …, 20: 1, 100 and 10,000 times of it.
WAMPLER = """
759 -2048 2048 -2048 2523 -2048 2048 -2048 1838 -2048 2048 -2048 1838 -2048 2048 -2048 2523 -2048
2048 -2048 759
"""


def written(name: str) -> tuple[list[list[str]], list[str], list[int]]:
    """Predictors, responses and orders of a polynomial, in decimals."""
    if name == "NoInt2":
        return [["4"], ["5"], ["6"]], ["3", "4", "4"], [1]
    if name == "Pontius":
        return [[str(150_000 * (i % 20 + 1))] for i in range(40)], PONTIUS.split(), [0, 1, 2]
    factor = {"Wampler3": 1, "Wampler4": 100, "Wampler5": 10_000}[name]
    exact = [sum(x**k for k in range(6)) for x in range(21)]
    y = [str(e + factor * int(d)) for e, d in zip(exact, WAMPLER.split(), strict=True)]
    return [[str(x)] for x in range(21)], y, list(range(6))


def read(name: str) -> tuple[list[list[str]], list[str], list[int]]:
    """The same of a file; several predictors have orders of their own."""
    text = (FILES / f"{name}.dat").read_text()
    rows = [line.split() for line in text[text.rindex("Data:") :].splitlines()[1:] if line.split()]
    orders = {"Norris": [0, 1], "NoInt1": [1], "Filip": list(range(11)), "Longley": [0, 1]}
    return [row[1:] for row in rows], [row[0] for row in rows], orders.get(name, list(range(6)))


def numbers(name: str) -> tuple[list[list[str]], list[str], list[int]]:
    return read(name) if name in FROM_FILES else written(name)


def exact(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and standard errors without rounding but for the last one."""
    x, y, orders = numbers(name)
    if len(x[0]) > 1:
        design = [[Fraction(1), *map(Fraction, row)] for row in x]
    else:
        design = [[Fraction(row[0]) ** order for order in orders] for row in x]
    response, size = list(map(Fraction, y)), len(design[0])
    gram = [[sum(r[i] * r[j] for r in design) for j in range(size)] for i in range(size)]
    right = [sum(r[i] * v for r, v in zip(design, response, strict=True)) for i in range(size)]
    unit = [[Fraction(i == j) for j in range(size)] for i in range(size)]
    inverse = solved(gram, unit)
    beta = [sum(a * b for a, b in zip(row, right, strict=True)) for row in inverse]
    rest = [
        v - sum(a * b for a, b in zip(r, beta, strict=True))
        for r, v in zip(design, response, strict=True)
    ]
    variance = sum(e * e for e in rest) / (len(design) - size)
    errors = [float(variance * inverse[i][i]) ** 0.5 for i in range(size)]
    return np.array(list(map(float, beta))), np.array(errors)


def solved(matrix: list[list[Fraction]], right: list[list[Fraction]]) -> list[list[Fraction]]:
    """By elimination of positive definite matrices."""
    size = len(matrix)
    rows = [[*matrix[i], *right[i]] for i in range(size)]
    for i in range(size):
        rows[i] = [value / rows[i][i] for value in rows[i]]
        for j in range(size):
            if j != i and rows[j][i]:
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
    return [row[size:] for row in rows]


def regression(name: str) -> Regression:
    if name in FROM_FILES:
        table = build(NistConfig(name=name.lower(), path=str(FILES)))
        return regression_of(table, ModelConfig(), "fail", None)
    x, y, orders = written(name)
    design = np.array([[float(row[0]) ** order for order in orders] for row in x])
    rows = Rows.of(design, np.array(y, float))
    names = names_of(len(orders)) if orders[0] == 0 else ["x"]
    return Regression(ModelConfig(), Gaussian(), rows, names, {}, "y")


def digits(found: np.ndarray, expected: np.ndarray) -> float:
    """How many of the worst number's are right; where 0 is, of the number itself."""
    scale = np.where(expected == 0, 1, np.abs(expected))
    with np.errstate(divide="ignore"):
        return float(np.min(-np.log10(np.abs(found - expected) / scale)))


@pytest.mark.parametrize(
    ("name", "coefficients", "errors"),
    [
        *((name, 9, 8) for name in FROM_FILES if name != "Filip"),
        *((name, 9, 8) for name in ("Wampler3", "Wampler4", "Wampler5", "Pontius", "NoInt2")),
        ("Filip", 7, 6),
    ],
)
def test_certified_digits(name, coefficients, errors):
    found = regression(name)
    estimate = fitted(Gaussian(), found.rows).estimate
    fit = Fit(found, refined(Gaussian(), found.rows, estimate), MleConfig())
    beta, spread = exact(name)
    assert digits(fit.coefficients, beta) >= coefficients
    assert digits(fit.standard_errors, spread) >= errors


@pytest.mark.parametrize("name", FROM_FILES)
def test_certified_values_are_exact(name):
    certified = build(NistConfig(name=name.lower(), path=str(FILES))).certified
    beta, spread = exact(name)
    assert digits(certified.coefficients, beta) >= 13
    assert digits(certified.errors, spread) >= 12


@pytest.mark.parametrize(
    ("name", "coefficients", "errors"),
    [
        ("Wampler3", [1, 1], [2152.32624678170, 2363.55173469681]),
        ("Wampler4", [1, 1], [215232.624678170, 236355.173469681]),
        ("Wampler5", [1, 1], [21523262.4678170, 23635517.3469681]),
        ("NoInt2", [0.727272727272727], [0.420827318078432e-01]),
        (
            "Pontius",
            [0.673565789473684e-03, 0.732059160401003e-06, -0.316081871345029e-14],
            [0.107938612033077e-03, 0.157817399981659e-09, 0.486652849992036e-16],
        ),
    ],
)
def test_data_written_down_here_have_the_certified_results(name, coefficients, errors):
    beta, spread = exact(name)
    assert digits(beta[: len(coefficients)], np.array(coefficients, float)) >= 12
    assert digits(spread[: len(errors)], np.array(errors)) >= 12
