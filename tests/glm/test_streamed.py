"""A table that is read block by block gives the numbers of one in memory."""

import numpy as np
import pandas as pd
import pytest

from workbench.core.config import ConfigError, build
from workbench.datasets.tables.config import FileConfig
from workbench.datasets.tables.frame import FrameTable
from workbench.glm import streamed
from workbench.glm.config import ModelConfig
from workbench.glm.formula import regression_of
from workbench.glm.search import Facts
from workbench.glm.streamed import Streamed

ROWS = 1000


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    monkeypatch.setattr(streamed, "BATCH", 600)


@pytest.fixture(scope="module")
def data():
    draws = np.random.default_rng(0)
    data = pd.DataFrame(
        {
            "y": draws.poisson(2, ROWS),
            "x": draws.normal(size=ROWS),
            "z": draws.normal(size=ROWS),
            "many": draws.uniform(1, 2, ROWS),
            "seen": draws.integers(1, 4, ROWS),
            "year": draws.integers(2000, 2004, ROWS),
            "group": draws.choice(["a", "b"], ROWS),
        }
    )
    data.loc[ROWS - 80 :, "group"] = "late"
    data.loc[[3, 500, 999], "x"] = np.nan
    return data


def both(table, formula, **model):
    """The same regression, block by block and in memory."""
    config = ModelConfig(formula=formula, family="poisson", **model)
    return Streamed.of(table, config), regression_of(table, config)


@pytest.mark.parametrize("kind", ["parquet", "csv", "npy"])
@pytest.mark.parametrize("size", [1, 70, 997, 5000])
def test_blocks_are_the_rows_of_the_table(data, kind, size, tmp_path):
    path = str(tmp_path / f"mine.{kind}")
    match kind:
        case "parquet":
            data.to_parquet(path, row_group_size=300)
        case "csv":
            data.to_csv(path, index=False)
        case "npy":
            np.save(path, data[["y", "x", "z"]])
    names = ["y", "x", "z"] if kind == "npy" else None
    found, whole = both(build(FileConfig(path=path, columns=names)), "y ~ x + z")
    assert (found.names, found.terms) == (whole.names, whole.terms)
    assert (found.count, found.dropped) == (997, 3)
    blocks = list(found.blocks(size))
    assert {array.shape[0] for block in blocks for array in block} == {size}
    design, response, _, frequency, _ = map(np.concatenate, zip(*blocks, strict=True))
    np.testing.assert_array_equal(design[:997], whole.rows.design)
    np.testing.assert_array_equal(response[:997], whole.rows.response)
    np.testing.assert_array_equal(frequency, np.arange(len(frequency)) < 997)
    assert len(blocks) == -(-997 // size)


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x + C(year) * group",
        "y ~ 0 + group:x + I(z ** 2)",
        "y ~ z + np.log(many) + C(year, Sum)",
    ],
)
def test_categories_that_come_late_are_columns_of_all_blocks(data, formula):
    model = {"exposure": "many", "offset": "z", "frequency_weights": "seen"}
    found, whole = both(FrameTable(data), formula, **model)
    assert (found.names, found.terms) == (whole.names, whole.terms)
    blocks = [np.concatenate(parts) for parts in zip(*found.blocks(90), strict=True)]
    for block, array in zip(blocks, whole.rows, strict=True):
        other = np.broadcast_to(array, [found.count, *array.shape[1:]])
        np.testing.assert_array_equal(block[: found.count], other)


def test_facts_are_those_of_all_rows(data):
    model = {"exposure": "many", "frequency_weights": "seen", "variance_weights": "many"}
    found, whole = both(FrameTable(data), "y ~ x", **model)
    facts, other = found.facts, Facts.of(whole.rows)
    np.testing.assert_allclose(
        [facts.observations, facts.mean, facts.offset],
        [other.observations, other.mean, other.offset],
    )


def test_blocks_come_again_and_in_other_precision(data):
    found, whole = both(FrameTable(data), "y ~ x")
    first, again = (next(found.blocks(10, "float32")) for _ in range(2))
    assert {array.dtype for array in first} == {np.dtype("float32")}
    np.testing.assert_array_equal(first.design, again.design)
    np.testing.assert_allclose(first.design, whole.rows.design[:10], rtol=1e-6)


def test_rows_that_fill_the_last_block_are_possible_ones(data):
    found, _ = both(FrameTable(data), "y ~ x", exposure="many")
    *_, last = found.blocks(600)
    np.testing.assert_array_equal(last.offset[397:], last.offset[0])
    assert last.weight.min() > 0


@pytest.mark.parametrize(
    ("formula", "change", "said"),
    [
        ("y ~ scale(x)", {}, r"scale\(\) needs all rows in memory"),
        ("y ~ x + (1 | group)", {}, "vary by group need all rows in memory"),
        ("y ~ xx", {}, "there is no column xx; did you mean x?"),
        ("y ~ z", {"z": 2.0}, "z is 2 in all rows"),
        ("y ~ group", {"group": "a"}, "group is the same in all rows"),
        ("y ~ x", {"x": np.nan}, "missing values in each of its rows"),
        ("y ~ x", {"y": [*[0] * 998, -1, 0]}, "y is -1 in row 999"),
        ("y ~ z", {"z": [*[0.5] * 998, np.inf, 0]}, "z is inf in row 999"),
        ("y ~ log(many)", {"many": [*[0.5] * 998, 0, 1]}, r"log\(many\) is -inf in row 999"),
    ],
)
def test_what_does_not_fit_is_refused(data, formula, change, said):
    table = FrameTable(data.assign(**change))
    with pytest.raises(ConfigError, match=said):
        list(Streamed.of(table, ModelConfig(formula=formula, family="poisson")).blocks(100))


def test_missing_values_are_counted_over_all_batches(data):
    with pytest.raises(ConfigError, match=r"missing values in 3 rows, first 4, 501, 1000 \(x: 3\)"):
        Streamed.of(FrameTable(data), ModelConfig(formula="y ~ x", family="poisson"), na="fail")


def test_a_normal_response_that_is_the_same_throughout_is_refused(data):
    with pytest.raises(ConfigError, match="y is 4 in all rows: nothing is to be explained"):
        Streamed.of(FrameTable(data.assign(y=4.0)), ModelConfig(formula="y ~ x"))
